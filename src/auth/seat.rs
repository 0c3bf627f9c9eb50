//! Who sits at the seat: sign-in with a password, sessions of browsers, tokens of programs.
//!
//! Passwords are hashed with Argon2id (RFC 9106); cookies and tokens are 256 random bits, of which the SHA-256
//! digest is stored. Failed sign-ins are counted by name and by address, in the database, so that servers
//! share the count.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::{bearer_digest, new_secret};
use crate::clock::{Clock, Micros};
use crate::domain::{Role, new_id};
use crate::store::admins::{self, ApiToken, NewAdmin, Refused};
use crate::store::{self, Store};

const MINUTE: Micros = 60_000_000;
/// How long a session lasts at the most.
const SESSION: Micros = 12 * 60 * MINUTE;
/// How long a session lasts that nobody uses.
const IDLE: Micros = 2 * 60 * MINUTE;
/// How many failed sign-ins a name has before it is made to wait.
const FREE_OF_NAME: i32 = 5;
/// How many failed sign-ins an address has before it is made to wait: several people may share one.
const FREE_OF_ADDRESS: i32 = 20;
/// Shortest and longest password, in characters.
const PASSWORD: std::ops::RangeInclusive<usize> = 12..=200;
/// A hash takes 19 MiB, so their number is limited.
const HASHES_AT_ONCE: usize = 2;

/// Whoever makes a request at the seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Name of the administrator, or label of the token: as the audit shows it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The session, if it is a browser: its digest.
    pub session: Option<String>,
}

/// Why somebody is not signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Says no more, so that nothing can be learned by trying.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many failures.
    #[error("too many failed sign-ins: try again in {} min", minutes(*.left))]
    Locked {
        /// How long still, in microseconds.
        left: Micros,
    },
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why an administrator was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetUpError {
    /// Somebody was quicker, or it is an old one.
    #[error("this set-up code is not valid (any more): the server's log has the present one")]
    Code,
    /// The password or the name is no good.
    #[error("{0}")]
    Input(String),
    /// Somebody else has the name, or the database did not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

fn minutes(micros: Micros) -> Micros {
    (micros + MINUTE - 1) / MINUTE
}

/// The door to the seat. Cheap to clone.
#[derive(Clone)]
pub struct Seat {
    store: Store,
    clock: Clock,
    hashing: Arc<Semaphore>,
}

impl Seat {
    /// Over a database.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
        }
    }

    /// A new code for making the first administrator; `None` if there is somebody already.
    pub async fn setup_code(&self) -> Result<Option<SecretString>, store::Error> {
        let code = new_secret();
        let digest = bearer_digest(&code);
        let now = self.clock.now();
        let wanted = self
            .store
            .write(move |tx| -> Result<bool, store::Error> {
                if admins::any(tx.conn())? {
                    tx.discard();
                    return Ok(false);
                }
                admins::put_setup_code(tx, &digest, now)?;
                Ok(true)
            })
            .await?;
        Ok(wanted.then_some(code))
    }

    /// Whether somebody has to make the first administrator.
    pub async fn is_empty(&self) -> Result<bool, store::Error> {
        Ok(!self.store.read(admins::any).await?)
    }

    /// Makes the first administrator. Of several who try with the same code one succeeds.
    pub async fn set_up(
        &self,
        code: &SecretString,
        name: &str,
        password: &SecretString,
    ) -> Result<(), SetUpError> {
        let name = good_name(name).map_err(SetUpError::Input)?;
        let digest = bearer_digest(code);
        let new = NewAdmin {
            password: Some(
                self.hash(&name, password)
                    .await
                    .map_err(SetUpError::Input)?,
            ),
            name,
            role: Role::Administrator,
            domain: None,
        };
        let now = self.clock.now();
        self.store
            .write(move |tx| -> Result<Result<(), SetUpError>, Refused> {
                if admins::any(tx.conn())? || !admins::use_setup_code(tx, &digest)? {
                    tx.discard();
                    return Ok(Err(SetUpError::Code));
                }
                admins::insert(tx, &new, now)?;
                Ok(Ok(()))
            })
            .await?
    }

    /// The hash of a password that is good enough, or what is wrong with it.
    pub async fn hash(&self, name: &str, password: &SecretString) -> Result<String, String> {
        good_password(name, password.expose_secret())?;
        let password = password.clone();
        self.hashed(move || {
            Argon2::default()
                .hash_password(password.expose_secret().as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|e| format!("the password cannot be hashed: {e}"))
        })
        .await
        .unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    /// Signs a browser in. Returns the value of its cookie.
    pub async fn sign_in(
        &self,
        name: &str,
        password: SecretString,
        address: &str,
        agent: &str,
    ) -> Result<SecretString, SignInError> {
        let now = self.clock.now();
        let keys = [
            (format!("name:{}", name.trim().to_lowercase()), FREE_OF_NAME),
            (format!("address:{address}"), FREE_OF_ADDRESS),
        ];
        let (wanted, asked) = (name.to_owned(), keys.clone());
        let (locked, found) = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                let mut locked = None;
                for (key, _) in &asked {
                    locked = locked.max(admins::locked_until(conn, key, now)?);
                }
                Ok((locked, admins::named(conn, &wanted)?))
            })
            .await?;
        if let Some(until) = locked {
            return Err(SignInError::Locked { left: until - now });
        }
        let (admin, hash) = match found {
            Some((admin, hash)) if !admin.disabled => (Some(admin), hash),
            _ => (None, None),
        };
        // Somebody who does not exist takes as long as somebody who does.
        let hash = match hash {
            Some(hash) => hash,
            None => NOBODY.to_owned(),
        };
        let right = self
            .hashed(move || {
                PasswordHash::new(&hash).is_ok_and(|hash| {
                    Argon2::default()
                        .verify_password(password.expose_secret().as_bytes(), &hash)
                        .is_ok()
                })
            })
            .await
            .unwrap_or(false);
        let Some(admin) = admin.filter(|admin| right && admin.has_password) else {
            self.store
                .write(move |tx| -> Result<(), store::Error> {
                    for (key, free) in &keys {
                        admins::sign_in_failed(tx, key, *free, now)?;
                    }
                    Ok(())
                })
                .await?;
            tracing::warn!(address, "a sign-in failed");
            return Err(SignInError::Wrong);
        };
        let [(name_key, _), _] = keys;
        self.store
            .write(move |tx| admins::sign_in_succeeded(tx, &name_key))
            .await?;
        Ok(self.open_session(&admin.id, agent).await?)
    }

    /// Opens a session for somebody who has proved who they are. Returns the value of its cookie.
    pub async fn open_session(
        &self,
        admin_id: &str,
        agent: &str,
    ) -> Result<SecretString, store::Error> {
        let cookie = new_secret();
        let digest = bearer_digest(&cookie);
        let now = self.clock.now();
        let (admin_id, agent) = (
            admin_id.to_owned(),
            agent.chars().take(200).collect::<String>(),
        );
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                admins::purge(tx, now)?;
                admins::insert_session(tx, &digest, &admin_id, &agent, now, now + SESSION)
            })
            .await?;
        Ok(cookie)
    }

    /// Who the cookie belongs to, if it is good.
    pub async fn by_cookie(&self, cookie: &SecretString) -> Result<Option<Actor>, store::Error> {
        let digest = bearer_digest(cookie);
        let now = self.clock.now();
        let wanted = digest.clone();
        let Some(session) = self
            .store
            .look_up(move |conn| admins::session(conn, &wanted))
            .await?
        else {
            return Ok(None);
        };
        if session.admin.disabled || session.expires_at <= now || session.seen_at + IDLE <= now {
            return Ok(None);
        }
        if session.seen_at + MINUTE <= now {
            let digest = digest.clone();
            self.store
                .write(move |tx| admins::session_seen(tx, &digest, now))
                .await?;
        }
        Ok(Some(Actor {
            name: session.admin.name,
            role: session.admin.role,
            session: Some(digest),
        }))
    }

    /// Who the token belongs to, if it is good.
    pub async fn by_token(&self, token: &SecretString) -> Result<Option<Actor>, store::Error> {
        let digest = bearer_digest(token);
        let now = self.clock.now();
        let found = self
            .store
            .look_up(move |conn| admins::token(conn, &digest))
            .await?;
        Ok(found
            .filter(|token| token.expires_at.is_none_or(|at| at > now))
            .map(|token| Actor {
                name: format!("token {:?}", token.label),
                role: token.role,
                session: None,
            }))
    }

    /// Ends a session.
    pub async fn sign_out(&self, digest: &str) -> Result<(), store::Error> {
        let digest = digest.to_owned();
        self.store
            .write(move |tx| admins::end_session(tx, &digest))
            .await?;
        Ok(())
    }

    /// Makes a token for a program. Returns it with its secret, which cannot be had again.
    pub async fn new_token(
        &self,
        label: &str,
        role: Role,
        created_by: &str,
        expires_at: Option<Micros>,
    ) -> Result<(ApiToken, SecretString), store::Error> {
        let secret = new_secret();
        let digest = bearer_digest(&secret);
        let token = ApiToken {
            id: new_id(),
            label: label.to_owned(),
            role,
            created_by: created_by.to_owned(),
            created_at: self.clock.now(),
            expires_at,
        };
        let row = token.clone();
        self.store
            .write(move |tx| admins::insert_token(tx, &row, &digest))
            .await?;
        Ok((token, secret))
    }

    /// Runs something slow off the async threads, few at a time. `None`: the server is stopping.
    async fn hashed<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = self.hashing.clone().acquire_owned().await.ok()?;
        tokio::task::spawn_blocking(move || {
            let result = f();
            drop(permit);
            result
        })
        .await
        .ok()
    }
}

/// The hash of a password that nobody has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A name as it is stored, or what is wrong with it.
pub fn good_name(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(
            "the name should have 1 to 100 characters, without control characters".to_owned(),
        );
    }
    Ok(name.to_owned())
}

/// Says what is wrong with a login name in a domain.
pub fn good_login(login: &str) -> Result<(), String> {
    if login.is_empty()
        || login.trim() != login
        || login.chars().count() > 256
        || login.contains(char::is_control)
    {
        return Err(
            "the login name in the domain should have 1 to 256 characters, no space at its ends and no control \
             characters"
                .to_owned(),
        );
    }
    Ok(())
}

fn good_password(name: &str, password: &str) -> Result<(), String> {
    let length = password.chars().count();
    if !PASSWORD.contains(&length) {
        return Err(format!(
            "the password should have {} to {} characters",
            PASSWORD.start(),
            PASSWORD.end()
        ));
    }
    let folded = password.to_lowercase();
    if folded.contains(&name.to_lowercase()) || folded.chars().all(|c| folded.starts_with(c)) {
        return Err(
            "the password should not contain the name, and not be one character repeated"
                .to_owned(),
        );
    }
    Ok(())
}
