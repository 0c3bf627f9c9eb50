//! Who calls: inbound credentials, and the connection that each of them speaks for.
//!
//! The credential decides the connection. Tokens and passwords are made by Usher from 256 random bits, so
//! their SHA-256 digest is all that is stored, and looking a digest up compares nothing secret byte by byte.

pub mod credential;
pub mod domain_token;

mod attempts;
pub mod authorization;
mod grant;
mod issuer;
pub mod seat;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

pub use self::grant::{AccessToken, Client, Grant, Refused};
pub use self::issuer::{Issuer, LIFETIME_S};

use self::attempts::Attempts;
use crate::clock::{Clock, Micros};
use crate::domain::{ConnectionId, ConnectionKind, ConnectionSettings};
use crate::store::tokens::{self, By, Found};
use crate::store::{self, Store};

/// Recognisable in a paste, for people and for secret scanners.
const PREFIX: &str = "usher_";
/// How long a recognised credential is remembered. A revoked one is refused after this at the latest; an
/// expired one at once.
const REMEMBERED: Micros = 5_000_000;
/// How many credentials are remembered at the most.
const REMEMBERED_MAX: usize = 1024;

/// An authenticated caller. Handlers that take one cannot be reached without a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub connection: ConnectionId,
    /// Its name.
    pub name: String,
    /// How it speaks SCIM.
    pub kind: ConnectionKind,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `Authorization` header.
    #[error("no credential: send `Authorization: Bearer <token>` or `Authorization: Basic`")]
    Missing,
    /// It cannot be read.
    #[error("the Authorization header is malformed")]
    Malformed,
    /// Nobody has it. Says no more, so that nothing can be learned by trying.
    #[error("the credential is not known")]
    Unknown,
    /// It ended.
    #[error("the credential has expired")]
    Expired,
    /// This server makes no access tokens.
    #[error(
        "this server makes no access tokens: start it with --master-key-file or USHER_MASTER_KEY"
    )]
    NoIssuer,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes a secret: 256 random bits behind a recognisable prefix.
pub fn new_secret() -> SecretString {
    let bytes: [u8; 32] = rand::rng().random();
    SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is stored of a bearer token.
pub fn bearer_digest(token: &SecretString) -> String {
    hex(&Sha256::digest(token.expose_secret().as_bytes()))
}

/// What is stored of a user name and password. The separator cannot be part of a user name (RFC 7617).
pub fn basic_digest(username: &str, password: &SecretString) -> String {
    hex(&Sha256::digest(
        format!("basic:{username}:{}", password.expose_secret()).as_bytes(),
    ))
}

/// What is stored of a hook credential.
pub fn hook_digest(token: &SecretString) -> String {
    hex(&Sha256::digest(
        format!("hook:{}", token.expose_secret()).as_bytes(),
    ))
}

/// What is stored of a client id and client secret.
pub fn client_digest(id: &str, secret: &SecretString) -> String {
    hex(&Sha256::digest(
        format!("client:{id}:{}", secret.expose_secret()).as_bytes(),
    ))
}

/// Reads access tokens that identity domains signed for their own clients.
#[async_trait::async_trait]
pub trait DomainTokens: Send + Sync {
    /// The connection that a token may push for.
    async fn client(&self, token: &str) -> Result<Caller, Error>;
}

/// Recognises credentials.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    clock: Clock,
    issuer: Option<Issuer>,
    domains: Option<Arc<dyn DomainTokens>>,
    attempts: Attempts,
    remembered: Arc<Mutex<HashMap<By, Remembered>>>,
}

#[derive(Clone)]
struct Remembered {
    caller: Caller,
    expires_at: Option<Micros>,
    until: Micros,
}

impl Authenticator {
    /// Looks credentials up in `store`.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            issuer: None,
            domains: None,
            attempts: Attempts::default(),
            remembered: Arc::default(),
        }
    }

    /// The same, taking access tokens of domains as well.
    #[must_use]
    pub fn with_domains(mut self, domains: Arc<dyn DomainTokens>) -> Self {
        self.domains = Some(domains);
        self
    }

    /// The same, making and taking access tokens as well.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Recognises the caller by the value of the `Authorization` header.
    pub async fn authenticate(&self, header: Option<&str>) -> Result<Caller, Error> {
        match shown(header.ok_or(Error::Missing)?)? {
            Shown::Secret(digest) => self.known(By::Digest(digest)).await,
            Shown::AccessToken(token) if domain_token::is_signed_so(&token) => {
                let domains = self.domains.as_ref().ok_or(Error::Unknown)?;
                domains.client(&token).await
            }
            Shown::AccessToken(token) => {
                let issuer = self.issuer.as_ref().ok_or(Error::Unknown)?;
                let mut caller = Err(Error::Unknown);
                // The last one speaks for the connection; all are of the same one.
                for credential in issuer.read(&token).await? {
                    caller = Ok(self.known(By::Id(credential)).await?);
                }
                caller
            }
        }
    }

    /// Recognises an integration by its hook credential, which opens nothing but the login hook.
    pub async fn hook(&self, token: &str) -> Result<Caller, Error> {
        let digest = hook_digest(&SecretString::from(token));
        self.known(By::Digest(digest)).await
    }

    /// The caller of a credential that has not ended.
    async fn known(&self, by: By) -> Result<Caller, Error> {
        let now = self.clock.now();
        let known = {
            let remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            remembered.get(&by).filter(|r| r.until > now).cloned()
        };
        let known = match known {
            Some(known) => known,
            None => self.look_up(by, now).await?,
        };
        if known.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::Expired);
        }
        Ok(known.caller)
    }

    async fn find(&self, by: &By) -> Result<Option<Found>, Error> {
        let wanted = by.clone();
        Ok(self
            .store
            .read(move |conn| tokens::find(conn, &wanted))
            .await?)
    }

    async fn look_up(&self, by: By, now: Micros) -> Result<Remembered, Error> {
        let found = self.find(&by).await?.ok_or(Error::Unknown)?;
        let settings: ConnectionSettings = serde_json::from_str(&found.settings).map_err(|e| {
            store::Error::Corrupt(format!("settings of {}: {e}", found.connection_id))
        })?;
        let known = Remembered {
            caller: Caller {
                connection: found.connection_id,
                name: settings.name,
                kind: settings.kind,
            },
            expires_at: found.expires_at,
            until: now + REMEMBERED,
        };
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(by, known.clone());
        Ok(known)
    }
}

/// What a request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// A secret, by its digest.
    Secret(String),
    /// A JWT.
    AccessToken(String),
}

fn shown(header: &str) -> Result<Shown, Error> {
    let (scheme, rest) = header.trim().split_once(' ').ok_or(Error::Malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        // Our secrets have no dot, and every JWT has two.
        return Ok(if rest.matches('.').count() == 2 {
            Shown::AccessToken(rest.to_owned())
        } else {
            Shown::Secret(bearer_digest(&SecretString::from(rest)))
        });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest).map_err(|_| Error::Malformed)?;
        let pair = String::from_utf8(pair).map_err(|_| Error::Malformed)?;
        let (username, password) = pair.split_once(':').ok_or(Error::Malformed)?;
        let password = SecretString::from(password);
        return Ok(Shown::Secret(basic_digest(username, &password)));
    }
    Err(Error::Malformed)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_256_bits_and_differ() {
        let (a, b) = (new_secret(), new_secret());
        assert_eq!(a.expose_secret().len(), PREFIX.len() + 43);
        assert_ne!(a.expose_secret(), b.expose_secret());
    }

    #[test]
    fn digests_are_lower_case_hex() {
        assert_eq!(hex(&[0x00, 0x1f, 0xa0, 0xff]), "001fa0ff");
    }

    #[test]
    fn both_schemes_are_read_whatever_their_case() {
        let token = SecretString::from("usher_x");
        assert_eq!(
            shown("bearer usher_x"),
            Ok(Shown::Secret(bearer_digest(&token)))
        );
        let header = format!("BASIC {}", STANDARD.encode("ada:pass:word"));
        assert_eq!(
            shown(&header),
            Ok(Shown::Secret(basic_digest(
                "ada",
                &SecretString::from("pass:word")
            )))
        );
    }

    #[test]
    fn nonsense_is_malformed() {
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Digest x",
            "Basic !!!",
            "Basic YQ==",
        ] {
            assert_eq!(shown(header), Err(Error::Malformed), "{header:?}");
        }
    }
}
