//! Signing in at the seat with an identity domain that a connection reads: OpenID Connect (Core 1.0) by the
//! authorization code flow with PKCE.
//!
//! The domain only says who somebody is. What they may do is their entry among the administrators, which has to be
//! there before: nobody gets in because the domain knows them. A sign-in that was begun is kept in the browser alone,
//! encrypted, so that whoever is not signed in cannot fill the database.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::tokens::Tokens;
use crate::auth::authorization::{self, Answer};
use crate::auth::domain_token::{Claims, Refused, TokenKind};
use crate::auth::new_secret;
use crate::clock::{Clock, Micros};
use crate::domain::Connection;
use crate::idcs;
use crate::reconcile::{self, Reconciler};
use crate::store::admins::{self, Admin, DomainLogin};
use crate::store::{self, Store};
use crate::vault::{self, Vault};

/// How long a sign-in may take.
pub const LIFETIME: Micros = 10 * 60 * 1_000_000;
/// What the vault binds sign-ins to.
const ROW: &str = "sign-in";

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody signs in there.
    #[error("nobody is signed in with the domain of a connection {0:?}: use your password")]
    NoConnection(String),
    /// The domain says no.
    #[error("the domain did not sign you in: {0}")]
    Refused(String),
    /// What came back is no answer.
    #[error("the address holds neither a code nor an error of the domain: begin again")]
    NoAnswer,
    /// The domain does not take the code, or cannot be asked.
    #[error("the domain cannot be asked: {0}")]
    Domain(String),
    /// The ID token is not the domain's, or not for this sign-in.
    #[error("the answer of the domain cannot be trusted: {0}")]
    Token(String),
    /// The domain knows this person, and Usher does not.
    #[error(
        "the domain knows you as {0:?}, and no administrator of Usher signs in so: an administrator adds you on the \
         page Settings"
    )]
    Nobody(String),
    /// The login name was given to somebody else.
    #[error(
        "{0:?} is somebody else in the domain now than at the last sign-in: an administrator sets the login name anew \
         on the page Settings"
    )]
    SomebodyElse(String),
    /// May not sign in.
    #[error("this administrator is disabled")]
    Disabled,
    /// The master key is another one, or cannot be used.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A sign-in that was begun.
#[derive(Debug)]
pub struct Begun {
    /// The page of the domain.
    pub url: String,
    /// What the browser has to show at the end.
    pub kept: SecretString,
}

/// Somebody has proved who they are.
#[derive(Debug)]
pub struct Proved {
    /// Who.
    pub admin: Admin,
    /// Where they wanted to go.
    pub next: String,
}

/// A sign-in that was begun in a browser, which keeps it, encrypted.
#[derive(Serialize, Deserialize)]
pub struct Pending {
    connection: String,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    next: String,
    ends_at: Micros,
}

/// Begins and ends sign-ins. Clones share the keys of the domains.
#[derive(Clone)]
pub struct SignOn {
    store: Store,
    clock: Clock,
    vault: Vault,
    reconciler: Reconciler,
    tokens: Tokens,
}

impl std::fmt::Debug for SignOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignOn")
    }
}

impl SignOn {
    /// Shares what the hook knows of the domains.
    pub(super) fn new(login: &super::Login, vault: Vault) -> Self {
        Self {
            store: login.store.clone(),
            clock: login.clock.clone(),
            vault,
            reconciler: login.reconciler.clone(),
            tokens: login.tokens.clone(),
        }
    }

    /// The connections whose domains sign administrators in.
    ///
    /// # Errors
    /// The database fails.
    pub async fn choices(&self) -> Result<Vec<String>, store::Error> {
        self.store.look_up(admins::domains).await
    }

    /// Begins one. `redirect_uri`: where the domain sends the browser back to; `next`: where to go then.
    ///
    /// # Errors
    /// [`Error`] says why it cannot begin.
    pub async fn begin(&self, name: &str, redirect_uri: &str, next: &str) -> Result<Begun, Error> {
        if !self.choices().await?.iter().any(|it| it == name) {
            return Err(Error::NoConnection(name.to_owned()));
        }
        let client = self.client(&self.connection(name).await?).await?;
        let (state, nonce, verifier) = (new_secret(), new_secret(), authorization::verifier());
        let challenge = authorization::challenge(&verifier);
        let url = client.sign_in_url(
            redirect_uri,
            state.expose_secret(),
            &challenge,
            nonce.expose_secret(),
        );
        let kept = Pending {
            connection: name.to_owned(),
            state: state.expose_secret().to_owned(),
            nonce: nonce.expose_secret().to_owned(),
            verifier: verifier.expose_secret().to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            next: next.to_owned(),
            ends_at: self.clock.now() + LIFETIME,
        };
        let text = serde_json::to_string(&kept).unwrap_or_default();
        Ok(Begun {
            url,
            kept: SecretString::from(self.vault.seal(ROW, text.as_bytes())?),
        })
    }

    /// The sign-in that a browser keeps, if this is the answer to it and comes in time.
    pub fn pending(&self, kept: &SecretString, answer: &Answer) -> Option<Pending> {
        let text = self.vault.unseal(ROW, kept.expose_secret()).ok()?;
        let pending: Pending = serde_json::from_slice(text.expose_secret()).ok()?;
        let is_its_own = answer.state.as_ref()?.expose_secret() == pending.state;
        (is_its_own && self.clock.now() < pending.ends_at).then_some(pending)
    }

    /// Ends one with what the domain sent back.
    ///
    /// # Errors
    /// [`Error`] says why nobody is signed in.
    pub async fn end(&self, kept: Pending, answer: Answer) -> Result<Proved, Error> {
        if let Some(words) = answer.refusal() {
            return Err(Error::Refused(words));
        }
        let code = answer.code.ok_or(Error::NoAnswer)?;
        let connection = self.connection(&kept.connection).await?;
        let verifier = SecretString::from(kept.verifier);
        let token = self
            .client(&connection)
            .await?
            .id_token(code.expose_secret(), &verifier, &kept.redirect_uri)
            .await
            .map_err(|e| Error::Domain(e.to_string()))?;
        let claims = self
            .tokens
            .identity(&connection, token.expose_secret())
            .await
            .map_err(|e| Error::Token(e.to_string()))?;
        if claims.nonce.as_deref() != Some(kept.nonce.as_str()) {
            return Err(Error::Token("it answers another sign-in".to_owned()));
        }
        let who = DomainLogin {
            connection: kept.connection,
            login: claims.sub,
        };
        let admin = self.admin(who, claims.user_id).await?;
        Ok(Proved {
            admin,
            next: kept.next,
        })
    }

    /// The administrator who signs in so, from now on by the id that the domain states.
    async fn admin(&self, who: DomainLogin, id: Option<String>) -> Result<Admin, Error> {
        self.store
            .write(move |tx| -> Result<Result<Admin, Error>, store::Error> {
                let found = admins::in_domain(tx.conn(), &who)?;
                let outcome = match found {
                    None => Err(Error::Nobody(who.login.clone())),
                    Some((admin, _)) if admin.disabled => Err(Error::Disabled),
                    Some((_, Some(known))) if id.as_ref() != Some(&known) => {
                        Err(Error::SomebodyElse(who.login.clone()))
                    }
                    Some((admin, known)) => {
                        if let (None, Some(id)) = (known, &id) {
                            admins::bind(tx, &admin.id, id)?;
                        }
                        Ok(admin)
                    }
                };
                if outcome.is_err() {
                    tx.discard();
                }
                Ok(outcome)
            })
            .await?
    }

    async fn client(&self, connection: &Connection) -> Result<idcs::Idcs, Error> {
        let client = self.reconciler.client(connection).await;
        client.map_err(|e: reconcile::Error| Error::Domain(e.to_string()))
    }

    async fn connection(&self, name: &str) -> Result<Connection, Error> {
        let configuration = self
            .tokens
            .configuration()
            .await
            .map_err(|e| Error::Domain(e.to_string()))?;
        let mut connections = configuration.connections.iter();
        let found = connections.find(|it| it.settings.name == name);
        found
            .cloned()
            .ok_or_else(|| Error::NoConnection(name.to_owned()))
    }
}

impl Tokens {
    /// What an ID token of this domain says, given to the application that reads it.
    async fn identity(&self, connection: &Connection, token: &str) -> Result<Claims, super::Error> {
        let Some(pull) = &connection.settings.pull else {
            return Err(Refused::Audience.into());
        };
        let audiences = [pull.client_id.clone()];
        let claims = self
            .of_domain(connection, pull, &audiences, token, &[TokenKind::Identity])
            .await?;
        if claims.sub_type.as_deref() == Some("client") {
            return Err(Refused::Kind.into());
        }
        Ok(claims)
    }
}
