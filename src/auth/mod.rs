//! Who calls: inbound credentials, and the connection that each of them speaks for.
//!
//! The credential decides the connection. Tokens and passwords are made by Usher from 256 random bits, so
//! their SHA-256 digest is all that is stored, and looking a digest up compares nothing secret byte by byte.

pub mod seat;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Micros};
use crate::domain::{ConnectionId, ConnectionKind, ConnectionSettings};
use crate::store::{self, Store, tokens};

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

/// Recognises credentials.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    clock: Clock,
    remembered: Arc<Mutex<HashMap<String, Remembered>>>,
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
            remembered: Arc::default(),
        }
    }

    /// Recognises the caller by the value of the `Authorization` header.
    pub async fn authenticate(&self, header: Option<&str>) -> Result<Caller, Error> {
        let digest = digest_of(header.ok_or(Error::Missing)?)?;
        let now = self.clock.now();
        let known = {
            let remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            remembered.get(&digest).filter(|r| r.until > now).cloned()
        };
        let known = match known {
            Some(known) => known,
            None => self.look_up(digest, now).await?,
        };
        if known.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::Expired);
        }
        Ok(known.caller)
    }

    async fn look_up(&self, digest: String, now: Micros) -> Result<Remembered, Error> {
        let wanted = digest.clone();
        let found = self
            .store
            .read(move |conn| tokens::find(conn, &wanted))
            .await?
            .ok_or(Error::Unknown)?;
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
        remembered.insert(digest, known.clone());
        Ok(known)
    }
}

fn digest_of(header: &str) -> Result<String, Error> {
    let (scheme, rest) = header.trim().split_once(' ').ok_or(Error::Malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(bearer_digest(&SecretString::from(rest)));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest).map_err(|_| Error::Malformed)?;
        let pair = String::from_utf8(pair).map_err(|_| Error::Malformed)?;
        let (username, password) = pair.split_once(':').ok_or(Error::Malformed)?;
        return Ok(basic_digest(username, &SecretString::from(password)));
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
        assert_eq!(digest_of("bearer usher_x"), Ok(bearer_digest(&token)));
        let header = format!("BASIC {}", STANDARD.encode("ada:pass:word"));
        assert_eq!(
            digest_of(&header),
            Ok(basic_digest("ada", &SecretString::from("pass:word")))
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
            assert_eq!(digest_of(header), Err(Error::Malformed), "{header:?}");
        }
    }
}
