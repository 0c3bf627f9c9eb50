//! When connections are read: by their schedules, one replica at a time, missed times caught up once.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Error, Extent, Reconciler};
use crate::clock::Micros;
use crate::config::schedule::Schedule;
use crate::domain::{Connection, ConnectionId};
use crate::store::{self, runs, settings};

/// How often it is looked whether a connection is due.
const LOOK: Duration = Duration::from_secs(15);

/// Runs connections when they are due.
#[derive(Debug)]
pub struct Scheduler {
    reconciler: Reconciler,
    /// Cron looks for its next time after this where there was no run yet.
    started_at: Micros,
}

impl Scheduler {
    /// A scheduler; call [`Scheduler::run`].
    pub fn new(reconciler: Reconciler) -> Self {
        let started_at = reconciler.now();
        Self {
            reconciler,
            started_at,
        }
    }

    /// The connections that are due now. One that missed several times is due once.
    pub async fn due(&self) -> Result<Vec<Connection>, store::Error> {
        let (now, started_at) = (self.reconciler.now(), self.started_at);
        self.reconciler
            .store
            .read(move |conn| -> Result<Vec<Connection>, store::Error> {
                let mut due = Vec::new();
                for connection in settings::load(conn)?.connections {
                    let Some(schedule) = schedule(&connection) else {
                        continue;
                    };
                    let state = runs::state(conn, &connection.id)?;
                    let next = match (&schedule, state.scheduled_at) {
                        (_, Some(last)) => schedule.next_after(last),
                        (Schedule::Every(_), None) => Some(now),
                        (Schedule::Cron(_), None) => schedule.next_after(started_at),
                    };
                    let busy = state.lease_until.is_some_and(|until| until >= now);
                    if !busy && next.is_some_and(|next| next <= now) {
                        due.push(connection);
                    }
                }
                Ok(due)
            })
            .await
    }

    /// Runs until it is told to stop. A run under way is cut off: the next one makes up for it.
    pub async fn run(self, stop: CancellationToken) {
        let mut under_way: JoinSet<ConnectionId> = JoinSet::new();
        let mut names: Vec<ConnectionId> = Vec::new();
        loop {
            match self.due().await {
                Err(error) => tracing::error!(%error, "cannot see which connections are due"),
                Ok(due) => {
                    for connection in due {
                        if names.contains(&connection.id) {
                            continue;
                        }
                        names.push(connection.id.clone());
                        let reconciler = self.reconciler.clone();
                        under_way.spawn(async move {
                            run_once(&reconciler, &connection).await;
                            connection.id
                        });
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
                Some(ended) = under_way.join_next(), if !under_way.is_empty() => match ended {
                    Ok(id) => names.retain(|it| *it != id),
                    Err(error) => {
                        tracing::error!(%error, "a run ended unexpectedly");
                        if under_way.is_empty() {
                            names.clear();
                        }
                    }
                },
            }
        }
    }
}

/// One scheduled run; what goes wrong is in the table of runs.
async fn run_once(reconciler: &Reconciler, connection: &Connection) {
    let name = &connection.settings.name;
    match reconciler
        .run(connection, Extent::AsDue, "schedule", true, None)
        .await
    {
        Ok(_) | Err(Error::Busy) => {}
        Err(error) => tracing::error!(connection = %name, %error, "a scheduled run failed"),
    }
}

fn schedule(connection: &Connection) -> Option<Schedule> {
    connection
        .settings
        .pull
        .as_ref()?
        .schedule
        .as_deref()?
        .parse()
        .ok()
}
