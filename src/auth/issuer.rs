//! Access tokens that Usher makes for identity providers that ask for one (RFC 6749) before they push.
//!
//! A token is a JWT signed with HMAC-SHA-256: only Usher makes them and only Usher reads them, so no public key is
//! needed. It names the credential that it was made for, and ends with it: whoever revokes the credential ends its
//! tokens within five seconds. Keys are changed every 30 days; one that signs no more is kept until the last of its
//! tokens has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::clock::{Clock, Micros};
use crate::store::signing_keys::{self, SigningKey};
use crate::store::{self, Store};
use crate::vault::{self, Vault};

/// How long a token is valid, in seconds.
pub const LIFETIME_S: i64 = 3600;
/// How long a key signs.
const SIGNS_FOR: Micros = 30 * 86_400 * 1_000_000;
/// How many keys are remembered at the most.
const REMEMBERED_MAX: usize = 64;
const ISSUER: &str = "usher";
const AUDIENCE: &str = "usher/scim";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The credential of the client.
    sub: String,
    /// The credential whose user name and password were shown, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Makes and reads access tokens. Clones share the keys they know.
#[derive(Clone)]
pub struct Issuer {
    store: Store,
    clock: Clock,
    vault: Vault,
    keys: Arc<Mutex<HashMap<String, Key>>>,
}

#[derive(Clone)]
struct Key {
    id: String,
    secret: SecretSlice<u8>,
    created_at: Micros,
}

impl Issuer {
    /// Keeps its keys in `store`, encrypted by `vault`.
    pub fn new(store: Store, clock: Clock, vault: Vault) -> Self {
        Self {
            store,
            clock,
            vault,
            keys: Arc::default(),
        }
    }

    /// A token for a client's credential, and for the one of a user name where there is one; and for how many
    /// seconds it is valid.
    pub async fn issue(
        &self,
        client: &str,
        user: Option<&str>,
        ends_at: Option<Micros>,
    ) -> Result<(String, i64), Error> {
        let key = self.signing_key().await?;
        let now = self.clock.now().div_euclid(1_000_000);
        let end = ends_at.map_or(i64::MAX, |at| at.div_euclid(1_000_000));
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: client.to_owned(),
            user: user.map(ToOwned::to_owned),
            iat: now,
            exp: end.min(now + LIFETIME_S),
            jti: crate::domain::new_id(),
        };
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let encoding = EncodingKey::from_secret(key.secret.expose_secret());
        let token = jsonwebtoken::encode(&header, &claims, &encoding)
            .map_err(|e| store::Error::Corrupt(format!("signing an access token: {e}")))?;
        Ok((token, claims.exp - now))
    }

    /// The credentials that a token of ours was made for; it is good as long as all of them are.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a token that is none of ours, [`Error::Expired`] for one that has ended.
    pub async fn read(&self, token: &str) -> Result<Vec<String>, Error> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::Unknown)?;
        let (Algorithm::HS256, Some(kid)) = (header.alg, header.kid) else {
            return Err(Error::Unknown);
        };
        let key = self.key(&kid).await?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // By our own clock, below.
        rules.validate_exp = false;
        let decoding = DecodingKey::from_secret(key.secret.expose_secret());
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &rules)
            .map_err(|_| Error::Unknown)?
            .claims;
        if claims.exp <= self.clock.now().div_euclid(1_000_000) {
            return Err(Error::Expired);
        }
        Ok([Some(claims.sub), claims.user]
            .into_iter()
            .flatten()
            .collect())
    }

    /// The key that signs now: a new one if the newest is too old. Two servers may make one each at the same
    /// moment; both are good.
    async fn signing_key(&self) -> Result<Key, Error> {
        let now = self.clock.now();
        let newest = self.store.read(signing_keys::newest).await?;
        if let Some(stored) = newest.filter(|key| now - key.created_at < SIGNS_FOR)
            && let Ok(key) = self.open(&stored)
        {
            return Ok(key);
        }
        let bytes: [u8; 32] = rand::rng().random();
        let id = crate::domain::new_id();
        let new = SigningKey {
            sealed: self.vault.seal(&row(&id), &bytes).map_err(unreadable)?,
            id,
            created_at: now,
        };
        let stored = new.clone();
        let oldest = now - SIGNS_FOR - 2 * LIFETIME_S * 1_000_000;
        self.store
            .write(move |tx| signing_keys::rotate(tx, &stored, oldest))
            .await?;
        self.open(&new)
    }

    async fn key(&self, id: &str) -> Result<Key, Error> {
        let known = {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.get(id).cloned()
        };
        if let Some(key) = known {
            return Ok(key);
        }
        if id.len() > 64 || id.contains('\0') {
            return Err(Error::Unknown);
        }
        let wanted = id.to_owned();
        let stored = self
            .store
            .read(move |conn| signing_keys::get(conn, &wanted))
            .await?
            .ok_or(Error::Unknown)?;
        self.open(&stored)
    }

    fn open(&self, stored: &SigningKey) -> Result<Key, Error> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&stored.id) {
            return Ok(key.clone());
        }
        let secret = self.vault.unseal(&row(&stored.id), &stored.sealed);
        let key = Key {
            id: stored.id.clone(),
            secret: secret.map_err(|e| {
                tracing::warn!(key = %stored.id, "{e}");
                Error::Unknown
            })?,
            created_at: stored.created_at,
        };
        // Keys that sign no more are few; whoever needs a forgotten one reads it again.
        if keys.len() >= REMEMBERED_MAX {
            keys.retain(|_, known| known.created_at >= key.created_at);
        }
        keys.insert(key.id.clone(), key.clone());
        Ok(key)
    }
}

fn row(id: &str) -> String {
    format!("signing_key/{id}")
}

fn unreadable(error: vault::Error) -> Error {
    Error::Store(store::Error::Corrupt(error.to_string()))
}
