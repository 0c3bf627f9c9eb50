//! Tokens of the domains that connections read: whose they are, checked with the keys of that domain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::jwk::JwkSet;

use super::Error;
use crate::auth::domain_token::{self, Claims, Expected, Refused, TokenKind};
use crate::clock::{Clock, Micros};
use crate::domain::{Connection, ConnectionId, PullSettings};
use crate::reconcile::Reconciler;
use crate::store::settings::{self, Configuration};
use crate::store::{self, Store};

/// The issuer that every domain may state.
const ISSUER: &str = "https://identity.oraclecloud.com/";
/// After how long the keys of a domain are read again.
const KEYS_FOR: Micros = 24 * 3600 * 1_000_000;
/// How often at the most keys are read: a token with a wrong signature may be one with a new key.
const KEYS_AFTER: Micros = 60 * 1_000_000;

/// Reads tokens. Clones share the keys.
#[derive(Clone)]
pub(super) struct Tokens {
    store: Store,
    clock: Clock,
    reconciler: Reconciler,
    keys: Arc<Mutex<HashMap<ConnectionId, Keys>>>,
    configuration: Arc<Mutex<Option<Arc<Configuration>>>>,
}

#[derive(Clone)]
struct Keys {
    set: Arc<JwkSet>,
    read_at: Micros,
}

impl Tokens {
    pub(super) fn new(store: Store, clock: Clock, reconciler: Reconciler) -> Self {
        Self {
            store,
            clock,
            reconciler,
            keys: Arc::default(),
            configuration: Arc::default(),
        }
    }

    /// The configuration as it is now, read only when it changed.
    pub(super) async fn configuration(&self) -> Result<Arc<Configuration>, Error> {
        let generation = self.store.look_up(settings::generation).await?;
        let known = {
            let known = self
                .configuration
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.clone().filter(|known| known.generation == generation)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let read = Arc::new(self.store.read(settings::load).await?);
        *self
            .configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }

    /// Whose token it is, and what it says.
    pub(super) async fn verify(
        &self,
        token: &str,
        kinds: &[TokenKind],
    ) -> Result<(Connection, Claims), Error> {
        let stated = domain_token::stated_audiences(token);
        let configuration = self.configuration().await?;
        let mut refused = Error::Token(Refused::Audience);
        if stated.is_empty() {
            // Says what is wrong with it, if that can be told without a key.
            let nobody = JwkSet { keys: Vec::new() };
            let expected = self.expected(&[], None, kinds);
            return Err(domain_token::verify(token, &nobody, &expected)
                .err()
                .map_or(refused, Error::Token));
        }
        for connection in &configuration.connections {
            let Some(pull) = &connection.settings.pull else {
                continue;
            };
            let audiences = audiences(connection, pull);
            if !stated.iter().any(|audience| audiences.contains(audience)) {
                continue;
            }
            match self
                .of_domain(connection, pull, &audiences, token, kinds)
                .await
            {
                Ok(claims) => return Ok((connection.clone(), claims)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// What a token says, if it is one of this domain for one of these audiences.
    pub(super) async fn of_domain(
        &self,
        connection: &Connection,
        pull: &PullSettings,
        audiences: &[String],
        token: &str,
        kinds: &[TokenKind],
    ) -> Result<Claims, Error> {
        let mut expected = self.expected(audiences, Some(connection), kinds);
        expected.issuers = vec![
            ISSUER.to_owned(),
            pull.base_url.clone(),
            format!("{}/", pull.base_url),
        ];
        self.check(connection, token, &expected).await
    }

    fn expected(
        &self,
        audiences: &[String],
        connection: Option<&Connection>,
        kinds: &[TokenKind],
    ) -> Expected {
        Expected {
            issuers: vec![ISSUER.to_owned()],
            audiences: audiences.to_vec(),
            tenant: connection.and_then(tenant),
            kinds: kinds.to_vec(),
            now_s: self.clock.now().div_euclid(1_000_000),
        }
    }

    /// Checks a token with the keys of one domain, and once more with newer ones: their id never changes.
    async fn check(
        &self,
        connection: &Connection,
        token: &str,
        expected: &Expected,
    ) -> Result<Claims, Error> {
        let keys = self.keys(connection, KEYS_FOR).await?;
        match domain_token::verify(token, &keys, expected) {
            Ok(claims) => Ok(claims),
            Err(Refused::Signature | Refused::UnknownKey) => {
                let keys = self.keys(connection, KEYS_AFTER).await?;
                Ok(domain_token::verify(token, &keys, expected)?)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// The keys of a domain, not older than this if it answers.
    async fn keys(&self, connection: &Connection, max_age: Micros) -> Result<Arc<JwkSet>, Error> {
        let now = self.clock.now();
        let known = {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.get(&connection.id).cloned()
        };
        if let Some(known) = known.as_ref().filter(|known| now - known.read_at < max_age) {
            return Ok(known.set.clone());
        }
        let read = match self.reconciler.client(connection).await {
            Ok(client) => client.keys().await.map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        let read = read
            .and_then(|value| serde_json::from_value::<JwkSet>(value).map_err(|e| e.to_string()));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match (read, known) {
            (Ok(set), _) => {
                let set = Arc::new(set);
                let read = Keys {
                    set: set.clone(),
                    read_at: now,
                };
                keys.insert(connection.id.clone(), read);
                Ok(set)
            }
            // Old keys are better than none: whoever has them still signs with them.
            (Err(error), Some(known)) => {
                tracing::warn!(connection = %connection.settings.name, error, "the keys of the domain could not be read again");
                let again = Keys {
                    set: known.set.clone(),
                    read_at: known.read_at.max(now - KEYS_FOR + KEYS_AFTER),
                };
                keys.insert(connection.id.clone(), again);
                Ok(known.set)
            }
            (Err(error), None) => {
                tracing::warn!(connection = %connection.settings.name, error, "the keys of the domain could not be read");
                Err(Error::NoKeys)
            }
        }
    }

    /// The connection of a credential.
    pub(super) async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, Error> {
        let configuration = self.configuration().await?;
        Ok(configuration
            .connections
            .iter()
            .find(|c| c.id == *id)
            .cloned())
    }
}

/// For whom a token of the domain may be to be taken: the domain itself, the application that reads it, and whoever
/// the configuration names.
fn audiences(connection: &Connection, pull: &PullSettings) -> Vec<String> {
    let mut all = vec![
        pull.base_url.clone(),
        format!("{}/", pull.base_url),
        format!("{}:443", pull.base_url),
        pull.client_id.clone(),
    ];
    all.extend(connection.settings.login.audiences.iter().cloned());
    all
}

/// The name of the tenant: as configured, or the first part of the domain's address.
fn tenant(connection: &Connection) -> Option<String> {
    let configured = connection.settings.login.tenant.clone();
    configured.or_else(|| {
        let address = &connection.settings.pull.as_ref()?.base_url;
        let host = address.split_once("://")?.1;
        let label = host.split(['.', ':', '/']).next()?;
        label.starts_with("idcs-").then(|| label.to_owned())
    })
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}
