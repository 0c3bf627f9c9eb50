//! Pull: reads the domain of a connection and brings the mirror in step, through the same door as a push.
//!
//! Silence is not removal. Whatever is read is taken in as it comes; nothing is removed because it was not read.
//! A user, a group or a membership that a complete and plausible reading did not show is asked about by itself,
//! from another side, and only the domain's own word about that very one removes it.

mod counts;
mod one;
mod run;
mod schedule;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::idcs::Step;
pub use counts::Counts;
pub use one::{Synced, Who};
pub use run::{Begun, Extent, OnProgress, Progress, Report};
pub use schedule::Scheduler;

use crate::clock::{Clock, Micros};
use crate::domain::{Connection, ConnectionId, ConnectionSettings, Mapping, PullSettings};
use crate::idcs::{self, Idcs};
use crate::intake::{self, Intake, Source};
use crate::store::{self, Store, settings};

/// Makes the client of a connection that reads these attributes along with each user.
pub type Connect = Arc<dyn Fn(&Connection, &[String]) -> Result<Idcs, String> + Send + Sync>;

/// A client, and what it was made of.
struct Known {
    /// Of the configuration in which this was seen last.
    generation: i64,
    settings: ConnectionSettings,
    attributes: Vec<String>,
    client: Idcs,
}

/// Why a run, or the reading of one user, did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("{0}")]
    Setup(String),
    /// The domain could not be read.
    #[error(transparent)]
    Domain(#[from] idcs::Error),
    /// What was read is not to be trusted: nothing is removed.
    #[error("{0}")]
    Implausible(String),
    /// Much of what is known was not shown. A person may say that this is right.
    #[error("the domain shows {} of the {known} {what} that are known", if *seen == 0 { "none".to_owned() } else { format!("only {seen}") })]
    Shrunk {
        /// Users, groups or grants.
        what: &'static str,
        /// So many are known.
        known: i64,
        /// So many of them were shown.
        seen: i64,
    },
    /// A run of this connection is under way.
    #[error("a run of this connection is under way: wait for its end (`usher runs`)")]
    Busy,
    /// The lease of this run ran out, and another run took over.
    #[error("another run took over: this one was without a sign of life for too long")]
    Overtaken,
    /// Nobody of that name or id is in the domain or in the mirror.
    #[error("neither the domain nor the mirror has a user {0:?}")]
    NoSuchUser(String),
    /// The user kept changing while it was read.
    #[error("the user kept changing while it was read: try again")]
    Unsettled,
    /// The mirror did not take it.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The reconciler. Clones share their clients, and with them tokens and pace.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    intake: Intake,
    clock: Clock,
    connect: Connect,
    clients: Arc<Mutex<HashMap<ConnectionId, Known>>>,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reconciler")
    }
}

impl Reconciler {
    /// Reads with clients made by `connect`, and writes through `intake`.
    pub fn new(store: Store, intake: Intake, clock: Clock, connect: Connect) -> Self {
        Self {
            store,
            intake,
            clock,
            connect,
            clients: Arc::default(),
        }
    }

    /// The client of a connection: the same one for as long as its settings, and what is read of each user, are the
    /// same.
    ///
    /// # Errors
    /// [`Error::Setup`] if the connection is not read, or its settings cannot be used.
    pub async fn client(&self, connection: &Connection) -> Result<Idcs, Error> {
        let generation = self.store.look_up(settings::generation).await?;
        if let Some(known) = self.clients().get(&connection.id)
            && known.generation == generation
            && known.settings == connection.settings
        {
            return Ok(known.client.clone());
        }
        let configuration = self.store.read(settings::load).await?;
        let attributes = attributes(connection, &configuration.mappings);
        let mut clients = self.clients();
        if let Some(known) = clients.get_mut(&connection.id)
            && known.settings == connection.settings
            && known.attributes == attributes
        {
            known.generation = generation;
            return Ok(known.client.clone());
        }
        let client = (self.connect)(connection, &attributes).map_err(Error::Setup)?;
        let known = Known {
            generation,
            settings: connection.settings.clone(),
            attributes,
            client: client.clone(),
        };
        clients.insert(connection.id.clone(), known);
        Ok(client)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ConnectionId, Known>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries what reading a connection needs, one thing after the other.
    pub async fn check(&self, connection: &Connection) -> Vec<Step> {
        match self.client(connection).await {
            Ok(client) => client.check().await,
            Err(error) => vec![Step {
                what: "settings",
                outcome: Err(error.to_string()),
            }],
        }
    }

    /// Forgets a client whose secret the domain refused: the next one reads the secret anew.
    fn drop_client(&self, connection: &Connection) {
        self.clients().remove(&connection.id);
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }
}

/// The attributes that groups are made of, by the connection or by one of its mappings. A path may go into a list
/// (`emails[…].value`); the domain is asked for the whole of it.
fn attributes(connection: &Connection, mappings: &[Mapping]) -> Vec<String> {
    let of_mappings = mappings
        .iter()
        .filter(|mapping| mapping.connection_id == connection.id)
        .flat_map(|mapping| &mapping.settings.groups.group_attributes);
    let all = connection
        .settings
        .group_attributes
        .iter()
        .chain(of_mappings);
    let names = all.filter_map(|it| it.path.split('[').next());
    let names: BTreeSet<String> = names.map(ToOwned::to_owned).collect();
    names.into_iter().collect()
}

/// How a connection is read.
fn pull_of(connection: &Connection) -> Result<&PullSettings, Error> {
    connection.settings.pull.as_ref().ok_or_else(|| {
        Error::Setup(format!(
            "connection {} does not say how its domain is read: add base_url, client_id and client_secret",
            connection.settings.name
        ))
    })
}

fn source_of(connection: &Connection, cause: &str) -> Source {
    Source {
        connection: connection.id.clone(),
        dialect: intake::dialect(connection.settings.kind),
        cause: cause.to_owned(),
    }
}
