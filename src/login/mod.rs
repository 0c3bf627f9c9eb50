//! People who log in: administrators at the seat (see [`sign_on`]), and everybody at the products, by the login hook.
//!
//! The hook: a person is about to enter a product. Reads that one person from the domain, lets the engine bring it in
//! step ahead of everything else, and says whether to let it in; all of it within a deadline.
//!
//! There is no path of its own to a target: the mirror changes through the intake, work is hurried, and the outcome
//! is read from the queue. When the domain or a product is slow, the mirror answers. A thousand logins at once are
//! at most [`AT_ONCE`] readings of the domain, and several of one person are one.

pub mod sign_on;
mod tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::sign_on::SignOn;
use self::tokens::Tokens;
use crate::auth::domain_token::{Refused, TokenKind};
use crate::auth::{self, Caller};
use crate::clock::{Clock, Micros};
use crate::domain::{Connection, ConnectionId, LoginFallback, UserId};
use crate::intake::{self, Intake};
use crate::reconcile::{self, Reconciler, Who};
use crate::store::{self, AnyConn, Store, users, work};
use crate::vault::Vault;

/// How many people are read from the domains at the same time.
const AT_ONCE: usize = 16;
/// How long what was read of a person is good for.
const GOOD_FOR: Micros = 5 * 1_000_000;
/// How long a domain is left alone that did not answer in time: nobody has to wait for it meanwhile.
const QUIET_FOR: Micros = 10 * 1_000_000;
/// How many people are remembered at the most.
const REMEMBERED_MAX: usize = 10_000;
/// How often the queue is looked at while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a login cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token is none of ours.
    #[error(transparent)]
    Token(#[from] Refused),
    /// The credential is none of ours.
    #[error(transparent)]
    Credential(#[from] auth::Error),
    /// The keys of the domain are not known yet, and it does not answer.
    #[error("the domain does not say which keys it signs with: `usher check` says why")]
    NoKeys,
    /// The connection has no mapping to a target of that name.
    #[error("there is no target {0:?} that this connection is mapped to")]
    NoTarget(String),
    /// The mirror did not take it.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// The database did not answer.
    #[error(transparent)]
    Store(store::Error),
}

/// Who logs in, and by which connection.
#[derive(Debug, Clone)]
pub struct Person {
    /// The connection.
    pub connection: Connection,
    /// Login name.
    pub name: String,
    /// Id in the domain, if it is known.
    pub source_id: Option<String>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether to let the person in.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: &'static str,
    /// Login name.
    pub user: String,
    /// `domain` if it was asked in time, else `mirror`.
    pub from: &'static str,
    /// How the person stands at each target.
    pub targets: Vec<At>,
}

/// How a person stands at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct At {
    /// Name of the target.
    pub target: String,
    /// `in step`, or the state of the work: `pending`, `waiting`, `rejected`, `held`, `shadow`.
    pub state: String,
}

/// What came of reading a person.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    /// The mirror is as the domain says.
    Fresh(Option<UserId>),
    /// The domain does not have the person.
    Gone,
    /// It did not work.
    Failed,
}

#[derive(Clone)]
struct Flight {
    result: watch::Receiver<Option<(Read, Micros)>>,
}

/// The hook. Clones share what they know.
#[derive(Clone)]
pub struct Login {
    store: Store,
    clock: Clock,
    intake: Intake,
    reconciler: Reconciler,
    tokens: Tokens,
    permits: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<(ConnectionId, String), Flight>>>,
    /// Until when domains are left alone.
    quiet: Arc<Mutex<HashMap<ConnectionId, Micros>>>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// Reads people by `reconciler`.
    pub fn new(store: Store, clock: Clock, intake: Intake, reconciler: Reconciler) -> Self {
        Self {
            tokens: Tokens::new(store.clone(), clock.clone(), reconciler.clone()),
            store,
            clock,
            intake,
            reconciler,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            flights: Arc::default(),
            quiet: Arc::default(),
        }
    }

    /// Signs administrators in with the same domains.
    pub fn sign_on(&self, vault: Vault) -> SignOn {
        SignOn::new(self, vault)
    }

    /// Who an ID or access token of a domain speaks of.
    ///
    /// # Errors
    /// [`Error::Token`] says what is wrong with it.
    pub async fn bearer(&self, token: &str) -> Result<Person, Error> {
        let kinds = [TokenKind::Access, TokenKind::Identity];
        let (connection, claims) = self.tokens.verify(token, &kinds).await?;
        if claims.sub_type.as_deref() == Some("client") {
            return Err(Refused::Kind.into());
        }
        Ok(Person {
            connection,
            name: claims.sub,
            source_id: claims.user_id,
        })
    }

    /// Whom an integration that holds a hook credential names.
    ///
    /// # Errors
    /// [`Error::Credential`] if its connection is gone.
    pub async fn named(&self, caller: &Caller, name: &str) -> Result<Person, Error> {
        let connection = self.connection(caller).await?;
        Ok(Person {
            connection,
            name: name.to_owned(),
            source_id: None,
        })
    }

    /// The connection of a caller.
    ///
    /// # Errors
    /// [`Error::Credential`] if it is gone.
    pub async fn connection(&self, caller: &Caller) -> Result<Connection, Error> {
        let found = self.tokens.connection(&caller.connection).await?;
        found.ok_or(Error::Credential(auth::Error::Unknown))
    }

    /// Brings a person in step at some targets, or at all if none is named, and says whether to let it in.
    ///
    /// # Errors
    /// [`Error::NoTarget`], or another one if our own database does not answer.
    pub async fn judge(
        &self,
        person: &Person,
        targets: &[String],
        cause: &str,
    ) -> Result<Verdict, Error> {
        let targets = self.targets(&person.connection, targets).await?;
        let login = &person.connection.settings.login;
        let deadline = Instant::now() + Duration::from_millis(login.deadline_ms);
        let read = self.read(person, cause, deadline).await;
        let (from, fresh_id) = match &read {
            Some(Read::Fresh(id)) => ("domain", id.clone()),
            Some(Read::Gone) => ("domain", None),
            Some(Read::Failed) | None => ("mirror", None),
        };
        let verdict = |allowed, reason, targets| Verdict {
            allowed,
            reason,
            user: person.name.clone(),
            from,
            targets,
        };
        let (connection, name) = (person.connection.id.clone(), person.name.clone());
        let source = person.source_id.clone();
        let found = self
            .store
            .look_up(move |conn| -> Result<_, store::Error> {
                match (fresh_id, source) {
                    (Some(id), _) => users::admission(conn, &connection, users::Called::Id(&id)),
                    (None, _) => users::admission(conn, &connection, users::Called::Name(&name)),
                }
            })
            .await?;
        let Some(user) = found else {
            return Ok(match login.fallback {
                LoginFallback::Open if from == "mirror" => verdict(
                    true,
                    "the domain did not answer in time, and unknown people are let in",
                    Vec::new(),
                ),
                _ if from == "mirror" => verdict(
                    false,
                    "not known here, and the domain did not answer in time",
                    Vec::new(),
                ),
                _ => verdict(false, "not known", Vec::new()),
            });
        };
        if !user.active {
            self.intake.hurry(&user.id).await?;
            return Ok(verdict(false, "deactivated", Vec::new()));
        }
        if !user.granted {
            self.intake.hurry(&user.id).await?;
            return Ok(verdict(false, "the application is not granted", Vec::new()));
        }
        let targets = self.settle(&targets, &user.id, deadline).await?;
        let is_pending = targets.iter().any(|at| at.state == "pending");
        Ok(if !is_pending {
            verdict(true, "in step", targets)
        } else if login.fallback == LoginFallback::Open {
            verdict(true, "not yet in step, and let in all the same", targets)
        } else {
            verdict(false, "not yet in step; try again in a moment", targets)
        })
    }

    /// Reads a person from the domain, unless that was just done or is being done. `None`: not in time.
    async fn read(&self, person: &Person, cause: &str, deadline: Instant) -> Option<Read> {
        person.connection.settings.pull.as_ref()?;
        let mut result = self.flight(person, cause)?.result;
        let landed = tokio::time::timeout_at(deadline, result.wait_for(Option::is_some)).await;
        let Ok(landed) = landed else {
            self.leave_alone(&person.connection);
            return None;
        };
        landed.ok()?.as_ref().map(|(read, _)| read.clone())
    }

    fn leave_alone(&self, connection: &Connection) {
        let until = self.clock.now() + QUIET_FOR;
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.insert(connection.id.clone(), until);
    }

    fn is_left_alone(&self, connection: &Connection) -> bool {
        let quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet
            .get(&connection.id)
            .is_some_and(|until| self.clock.now() < *until)
    }

    /// The reading of a person that is under way or still good, or a new one. `None`: too many are under way.
    fn flight(&self, person: &Person, cause: &str) -> Option<Flight> {
        let now = self.clock.now();
        let is_good = |flight: &Flight| {
            flight
                .result
                .borrow()
                .as_ref()
                .is_none_or(|(_, at)| now - at < GOOD_FOR)
        };
        let called = person
            .source_id
            .clone()
            .unwrap_or_else(|| person.name.to_lowercase());
        let key = (person.connection.id.clone(), called);
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let has_landed = |flight: &Flight| flight.result.borrow().is_some();
        let is_left_alone = self.is_left_alone(&person.connection);
        if let Some(flight) = flights
            .get(&key)
            .filter(|flight| is_good(flight) && (has_landed(flight) || !is_left_alone))
        {
            return Some(flight.clone());
        }
        if is_left_alone {
            return None;
        }
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        if flights.len() >= REMEMBERED_MAX {
            flights.retain(|_, flight| is_good(flight));
            if flights.len() >= REMEMBERED_MAX {
                return None;
            }
        }
        let (land, result) = watch::channel(None);
        let flight = Flight { result };
        flights.insert(key, flight.clone());
        let (this, person, cause) = (self.clone(), person.clone(), cause.to_owned());
        // In a task of its own: it goes on when whoever waits for it gives up.
        tokio::spawn(async move {
            let read = this.read_now(&person, &cause).await;
            if read == Read::Failed {
                this.leave_alone(&person.connection);
            }
            let _ = land.send(Some((read, this.clock.now())));
            drop(permit);
        });
        Some(flight)
    }

    async fn read_now(&self, person: &Person, cause: &str) -> Read {
        let who = match &person.source_id {
            Some(id) => Who::Id(id.clone()),
            None => Who::Name(person.name.clone()),
        };
        let read = self
            .reconciler
            .one_user(&person.connection, &who, cause, false)
            .await;
        match read {
            Ok(synced) if synced.removed || synced.revoked => Read::Gone,
            Ok(synced) => Read::Fresh(synced.user_id),
            Err(reconcile::Error::NoSuchUser(_)) => Read::Gone,
            Err(error) => {
                tracing::warn!(connection = %person.connection.settings.name, %error, "a person could not be read at login");
                Read::Failed
            }
        }
    }

    /// Ids and names of the targets that a connection is mapped to, of all or of those that are named.
    async fn targets(
        &self,
        connection: &Connection,
        named: &[String],
    ) -> Result<Vec<(String, String)>, Error> {
        let configuration = self.tokens.configuration().await?;
        let mapped: Vec<(String, String)> = configuration
            .mappings
            .iter()
            .filter(|mapping| mapping.connection_id == connection.id)
            .filter_map(|mapping| {
                configuration
                    .targets
                    .iter()
                    .find(|t| t.id == mapping.target_id)
            })
            .map(|target| (target.id.0.clone(), target.settings.name.clone()))
            .collect();
        match named
            .iter()
            .find(|name| mapped.iter().all(|(_, known)| known != *name))
        {
            Some(unknown) => Err(Error::NoTarget(unknown.clone())),
            None => Ok(mapped
                .into_iter()
                .filter(|(_, name)| named.is_empty() || named.contains(name))
                .collect()),
        }
    }

    /// Hurries the work of a user and waits until none is pending at these targets.
    async fn settle(
        &self,
        targets: &[(String, String)],
        user: &UserId,
        deadline: Instant,
    ) -> Result<Vec<At>, Error> {
        let mut is_hurried = false;
        loop {
            let wanted = user.clone();
            let items = self
                .store
                .look_up(move |conn: &mut AnyConn| work::of_user(conn, &wanted))
                .await?;
            let standing: Vec<At> = targets
                .iter()
                .map(|(id, name)| At {
                    target: name.clone(),
                    state: items
                        .iter()
                        .find(|item| item.target_id == *id)
                        .map_or_else(|| "in step".to_owned(), |item| item.state.clone()),
                })
                .collect();
            if standing.iter().all(|at| at.state != "pending") || Instant::now() >= deadline {
                return Ok(standing);
            }
            if !is_hurried {
                is_hurried = true;
                self.intake.hurry(user).await?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[async_trait::async_trait]
impl auth::DomainTokens for Login {
    async fn client(&self, token: &str) -> Result<Caller, auth::Error> {
        let (connection, claims) = match self.tokens.verify(token, &[TokenKind::Access]).await {
            Ok(verified) => verified,
            Err(Error::Token(Refused::Expired)) => return Err(auth::Error::Expired),
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::info!(%error, "a token of a domain is not taken");
                return Err(auth::Error::Unknown);
            }
        };
        // A person's token opens doors to products; it must not open the mirror.
        let clients = &connection.settings.login.push_clients;
        let is_client = claims.sub_type.as_deref() == Some("client");
        if !is_client
            || !claims
                .client_id
                .as_ref()
                .is_some_and(|id| clients.contains(id))
        {
            return Err(auth::Error::Unknown);
        }
        Ok(Caller {
            connection: connection.id,
            name: connection.settings.name,
            kind: connection.settings.kind,
        })
    }
}
