//! An administrator consents once that a domain is read in their name: the authorization code grant with PKCE (RFC 6749
//! section 4.1, RFC 7636), and the refresh token that comes of it.
//!
//! What a consent is known again by (`state`) is good once and for ten minutes. One that was begun in a browser has to
//! end in the same browser, so that nobody can be made to end somebody else's. The refresh token is stored encrypted,
//! and of all processes one alone uses it at a time.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::auth::authorization::{self, Answer};
use crate::auth::{bearer_digest, new_secret};
use crate::clock::{Clock, Micros};
use crate::domain::{Connection, ConnectionId, Grant};
use crate::idcs::RefreshTokens;
use crate::reconcile::{self, Reconciler};
use crate::store::audit::{self, NewAudit};
use crate::store::consents::{self, Consent};
use crate::store::{self, Store, settings};
use crate::vault::{self, Vault};

/// How long a consent may take.
pub const LIFETIME: Micros = 10 * 60 * 1_000_000;
/// Where domains send the answer, below the address of the server.
pub const CALLBACK: &str = "/oauth/callback";
/// For how long a process may use the refresh token: longer than a request may take.
const ALONE: Micros = 90 * 1_000_000;
/// How often it is looked whether somebody else has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked at the most.
const LOOKS: usize = 1000;

/// Why a consent cannot begin or end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no master key.
    #[error(
        "there is no master key, which the consent is to be encrypted with: start the server with --master-key-file \
         or USHER_MASTER_KEY, and give this command the same"
    )]
    NoKey,
    /// No such connection.
    #[error("there is no connection {0:?}")]
    NoConnection(String),
    /// It does not ask for a consent.
    #[error("connection {0:?} does not say grant = \"refresh-token\": it needs nobody's consent")]
    OtherGrant(String),
    /// Used, too old, or never begun.
    #[error(
        "this consent is not known: it was used already, or was begun more than ten minutes ago; begin again"
    )]
    Unknown,
    /// It was begun elsewhere.
    #[error("this consent was begun in another browser; begin again in this one")]
    OtherBrowser,
    /// The domain says no.
    #[error("the domain did not give its consent: {0}")]
    Refused(String),
    /// What came back is no answer.
    #[error("the address holds neither a code nor an error of the domain; begin again")]
    NoAnswer,
    /// The domain does not take the code, or cannot be asked.
    #[error(transparent)]
    Domain(#[from] reconcile::Error),
    /// The master key is another one, or cannot be used.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A consent that was begun.
#[derive(Debug)]
pub struct Begun {
    /// The page of the domain on which an administrator consents.
    pub url: String,
    /// What the browser has to show at the end, if it has to be the same.
    pub browser: Option<SecretString>,
}

/// Begins and ends consents. Cheap to clone.
#[derive(Clone)]
pub struct Consents {
    store: Store,
    clock: Clock,
    vault: Option<Vault>,
    reconciler: Reconciler,
}

impl std::fmt::Debug for Consents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Consents")
    }
}

impl Consents {
    /// Reads domains by `reconciler`; without a vault no consent is possible.
    pub fn new(store: Store, clock: Clock, vault: Option<Vault>, reconciler: Reconciler) -> Self {
        Self {
            store,
            clock,
            vault,
            reconciler,
        }
    }

    /// Begins one for the connection of that name. `server`: the address of the server, which the answer goes to;
    /// `in_browser`: it has to end where it is begun.
    ///
    /// # Errors
    /// [`Error`] says what is missing.
    pub async fn begin(
        &self,
        name: &str,
        server: &str,
        actor: &str,
        in_browser: bool,
    ) -> Result<Begun, Error> {
        let vault = self.vault.as_ref().ok_or(Error::NoKey)?;
        let connection = self.connection(|it| it.settings.name == name).await?;
        let connection = connection.ok_or_else(|| Error::NoConnection(name.to_owned()))?;
        let client = self.reconciler.client(&connection).await?;
        let (state, verifier) = (new_secret(), authorization::verifier());
        let browser = in_browser.then(new_secret);
        let redirect_uri = format!("{}{CALLBACK}", server.trim_end_matches('/'));
        let url = client.consent_url(
            &redirect_uri,
            state.expose_secret(),
            &authorization::challenge(&verifier),
        );
        let digest = bearer_digest(&state);
        let now = self.clock.now();
        let new = Consent {
            verifier: vault.seal(&row_of(&digest), verifier.expose_secret().as_bytes())?,
            state: digest,
            connection_id: connection.id.0.clone(),
            redirect_uri,
            browser: browser.as_ref().map(bearer_digest),
            actor: actor.to_owned(),
            expires_at: now + LIFETIME,
        };
        self.store
            .write(move |tx| consents::begin(tx, &new, now))
            .await?;
        Ok(Begun { url, browser })
    }

    /// Ends one with what the domain sent back, in a browser that shows this. Returns the name of the connection.
    ///
    /// # Errors
    /// [`Error`] says why it came to nothing. It is used up all the same.
    pub async fn end(
        &self,
        answer: Answer,
        browser: Option<SecretString>,
    ) -> Result<String, Error> {
        let vault = self.vault.as_ref().ok_or(Error::NoKey)?;
        let digest = bearer_digest(answer.state.as_ref().ok_or(Error::Unknown)?);
        let now = self.clock.now();
        let consent = self
            .store
            .write(move |tx| consents::take(tx, &digest, now))
            .await?
            .ok_or(Error::Unknown)?;
        let shown = browser.as_ref().map(bearer_digest);
        if consent.browser.is_some() && consent.browser != shown {
            return Err(Error::OtherBrowser);
        }
        if let Some(words) = answer.refusal() {
            return Err(Error::Refused(words));
        }
        let code = answer.code.ok_or(Error::NoAnswer)?;
        let connection = self
            .connection(|it| it.id.as_str() == consent.connection_id)
            .await?
            .ok_or(Error::Unknown)?;
        let verifier = vault.unseal(&row_of(&consent.state), &consent.verifier)?;
        let verifier = String::from_utf8_lossy(verifier.expose_secret()).into_owned();
        self.reconciler
            .client(&connection)
            .await?
            .exchange(
                code.expose_secret(),
                &SecretString::from(verifier),
                &consent.redirect_uri,
            )
            .await
            .map_err(reconcile::Error::from)?;
        let name = connection.settings.name.clone();
        let mut row = NewAudit::act(
            self.clock.now(),
            &consent.actor,
            "authorize_connection",
            &json!({"connection": name}),
            "a consent at the domain",
        );
        row.connection_id = Some(connection.id.clone());
        self.store.write(move |tx| audit::append(tx, &row)).await?;
        Ok(name)
    }

    /// Forgets the consent to read a connection. False: there was none.
    ///
    /// # Errors
    /// [`Error::NoConnection`], or the database does not answer.
    pub async fn forget(&self, name: &str, actor: &str, cause: &str) -> Result<bool, Error> {
        let found = self.find(|it| it.settings.name == name).await?;
        let connection = found.ok_or_else(|| Error::NoConnection(name.to_owned()))?;
        let mut row = NewAudit::act(
            self.clock.now(),
            actor,
            "forget_authorization",
            &json!({"connection": name}),
            cause,
        );
        row.connection_id = Some(connection.id.clone());
        Ok(self
            .store
            .write(move |tx| -> Result<bool, store::Error> {
                let forgotten = consents::forget(tx, &connection.id)?;
                if forgotten {
                    audit::append(tx, &row)?;
                }
                Ok(forgotten)
            })
            .await?)
    }

    /// A connection that needs a consent.
    async fn connection(
        &self,
        wanted: impl Fn(&Connection) -> bool,
    ) -> Result<Option<Connection>, Error> {
        let Some(connection) = self.find(wanted).await? else {
            return Ok(None);
        };
        let grant = connection.settings.pull.as_ref().map(|pull| pull.grant);
        if grant == Some(Grant::RefreshToken) {
            Ok(Some(connection))
        } else {
            Err(Error::OtherGrant(connection.settings.name))
        }
    }

    async fn find(
        &self,
        wanted: impl Fn(&Connection) -> bool,
    ) -> Result<Option<Connection>, store::Error> {
        let configuration = self.store.read(settings::load).await?;
        Ok(configuration.connections.into_iter().find(|it| wanted(it)))
    }
}

/// The refresh token of one connection, in the database.
#[derive(Clone)]
pub struct Kept {
    store: Store,
    clock: Clock,
    vault: Vault,
    connection: ConnectionId,
}

impl Kept {
    /// Of this connection.
    pub fn new(store: Store, clock: Clock, vault: Vault, connection: ConnectionId) -> Self {
        Self {
            store,
            clock,
            vault,
            connection,
        }
    }

    fn row(&self) -> String {
        format!("pull/{}", self.connection.as_str())
    }
}

#[async_trait]
impl RefreshTokens for Kept {
    async fn lock(&self) -> Result<(), String> {
        for _ in 0..LOOKS {
            let (id, now) = (self.connection.clone(), self.clock.now());
            let locked = self
                .store
                .write(move |tx| -> Result<bool, store::Error> {
                    let locked = consents::lock(tx, &id, now, now + ALONE)?;
                    if !locked {
                        tx.discard();
                    }
                    Ok(locked)
                })
                .await
                .map_err(|e| e.to_string())?;
            if locked {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("another server asks for a token and does not end".to_owned())
    }

    async fn load(&self) -> Result<Option<SecretString>, String> {
        let id = self.connection.clone();
        let sealed = self
            .store
            .read(move |conn| consents::refresh_token(conn, &id))
            .await
            .map_err(|e| e.to_string())?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let token = self
            .vault
            .unseal(&self.row(), &sealed)
            .map_err(|e| e.to_string())?;
        let token = String::from_utf8_lossy(token.expose_secret()).into_owned();
        Ok(Some(SecretString::from(token)))
    }

    async fn unlock(&self, new: Option<SecretString>) -> Result<(), String> {
        let sealed = new
            .map(|token| {
                self.vault
                    .seal(&self.row(), token.expose_secret().as_bytes())
            })
            .transpose()
            .map_err(|e| e.to_string())?;
        let id = self.connection.clone();
        self.store
            .write(move |tx| consents::unlock(tx, &id, sealed.as_deref()))
            .await
            .map_err(|e| e.to_string())
    }
}

fn row_of(state: &str) -> String {
    format!("consent/{state}")
}
