//! Tokens that an identity domain signed: is this one of that domain, for us, and still good?
//!
//! Neither issuer nor key id tells domains apart: both are the same for all of them. What does is the key itself,
//! which is pinned to the address of the domain, together with audience and tenant. Only RS256 is read: a public
//! key must never be taken for a shared secret.

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// How much the clock of the domain may be ahead, in seconds.
const SKEW_S: i64 = 60;
/// The longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 32 * 1024;

/// What a token is for (`tok_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TokenKind {
    /// Access token.
    #[serde(rename = "AT")]
    Access,
    /// ID token.
    #[serde(rename = "IT")]
    Identity,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// What it is for.
    pub tok_type: TokenKind,
    /// Login name of the user, or the client.
    pub sub: String,
    /// `user` or `client`.
    #[serde(default)]
    pub sub_type: Option<String>,
    /// Id of the user in the domain.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The client that it was given to.
    #[serde(default)]
    pub client_id: Option<String>,
    /// What a sign-in is known again by.
    #[serde(default)]
    pub nonce: Option<String>,
    /// Name of the domain.
    #[serde(default)]
    tenant: Option<String>,
    /// The same, of the user.
    #[serde(default)]
    user_tenantname: Option<String>,
    exp: i64,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    nbf: Option<i64>,
}

/// What a token must be to be taken.
#[derive(Debug, Clone)]
pub struct Expected {
    /// One of these issuers.
    pub issuers: Vec<String>,
    /// For one of these audiences.
    pub audiences: Vec<String>,
    /// Of this tenant, where its name is known.
    pub tenant: Option<String>,
    /// Of one of these kinds.
    pub kinds: Vec<TokenKind>,
    /// At this moment, in seconds.
    pub now_s: i64,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No JWT with the claims that are needed.
    #[error("the token cannot be read")]
    Malformed,
    /// `alg` is not RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// The domain has no key of that id.
    #[error("the token is signed with a key that the domain does not have")]
    UnknownKey,
    /// It was signed with another key, or changed.
    #[error("the signature of the token is not that of the domain")]
    Signature,
    /// Of somebody else.
    #[error("the token was issued by somebody else")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Of another domain.
    #[error("the token is of another tenant")]
    Tenant,
    /// Of another kind.
    #[error("the token is of a kind that is not taken here")]
    Kind,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet: compare the clocks of this machine and of the domain")]
    NotYet,
}

/// Checks a token.
///
/// # Errors
/// [`Refused`] names the first thing that is wrong.
pub fn verify(token: &str, keys: &JwkSet, expected: &Expected) -> Result<Claims, Refused> {
    use jsonwebtoken::errors::ErrorKind;
    if token.len() > MAX_LENGTH {
        return Err(Refused::Malformed);
    }
    if let Some(refused) = algorithm_of(token) {
        return Err(refused);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
    let kid = header.kid.ok_or(Refused::UnknownKey)?;
    let key = keys.find(&kid).ok_or(Refused::UnknownKey)?;
    if !matches!(key.algorithm, AlgorithmParameters::RSA(_)) {
        return Err(Refused::UnknownKey);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_| Refused::UnknownKey)?;
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&expected.issuers);
    rules.set_audience(&expected.audiences);
    rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    // By our own clock, below.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &rules)
        .map_err(|e| match e.kind() {
            ErrorKind::InvalidSignature => Refused::Signature,
            ErrorKind::InvalidIssuer => Refused::Issuer,
            ErrorKind::InvalidAudience => Refused::Audience,
            ErrorKind::InvalidAlgorithm => Refused::Algorithm,
            _ => Refused::Malformed,
        })?
        .claims;
    if claims.exp <= expected.now_s {
        return Err(Refused::Expired);
    }
    let begins = claims.iat.max(claims.nbf).unwrap_or(0);
    if begins > expected.now_s.saturating_add(SKEW_S) {
        return Err(Refused::NotYet);
    }
    let own = expected.tenant.as_deref();
    let stated = [&claims.tenant, &claims.user_tenantname];
    if own.is_some() && stated.iter().all(|name| name.is_none()) {
        return Err(Refused::Tenant);
    }
    if own.is_some()
        && stated
            .into_iter()
            .flatten()
            .any(|name| Some(name.as_str()) != own)
    {
        return Err(Refused::Tenant);
    }
    if !expected.kinds.contains(&claims.tok_type) {
        return Err(Refused::Kind);
    }
    Ok(claims)
}

/// What is wrong with the algorithm, if anything: before any library has a say in it.
fn algorithm_of(token: &str) -> Option<Refused> {
    use base64::Engine;
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let header = token
        .split('.')
        .next()
        .and_then(|part| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(part)
                .ok()
        })
        .and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok());
    match header {
        Some(header) if header.alg == "RS256" => None,
        Some(_) => Some(Refused::Algorithm),
        None => Some(Refused::Malformed),
    }
}

/// Whether a token is signed as domains sign theirs.
pub(super) fn is_signed_so(token: &str) -> bool {
    token.len() <= MAX_LENGTH && algorithm_of(token).is_none()
}

/// The audiences that a token states, before anything about it is known: to choose whose keys to check it with.
pub fn stated_audiences(token: &str) -> Vec<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    #[derive(Deserialize)]
    struct Stated {
        aud: Audience,
    }
    if token.len() > MAX_LENGTH || algorithm_of(token).is_some() {
        return Vec::new();
    }
    match jsonwebtoken::dangerous::insecure_decode_claims::<Stated>(token) {
        Ok(Stated {
            aud: Audience::One(one),
        }) => vec![one],
        Ok(Stated {
            aud: Audience::Many(many),
        }) => many,
        Err(_) => Vec::new(),
    }
}
