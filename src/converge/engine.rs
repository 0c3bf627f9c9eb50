//! Hands out work: claims what is due, within each target's concurrency and breaker, and waits for more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::live::{Connect, Live, LiveTarget};
use crate::clock::{Clock, Micros};
use crate::domain::TargetId;
use crate::store::work::{Claimed, Wanted};
use crate::store::{self, Store, settings, users, work};

/// How often the engine looks for work that nobody woke it for: retries that became due, and marks made by
/// other processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often tombstones that nothing needs any more are removed.
const PURGE_EVERY: Micros = 60 * 60 * 1_000_000;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a worker may hold an item without a sign of life: so long is the work of a crashed server
    /// left alone by the others. Longer than the clocks of the servers may differ.
    pub lease: Duration,
}

/// The lease unless something else is asked for. Workers renew it three times as often, so it limits how
/// soon another server takes over, not how long an operation may take.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: DEFAULT_LEASE,
        }
    }
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// In microseconds.
    pub(super) lease: Micros,
    connect: Connect,
    wake: Arc<Notify>,
    live: Arc<Mutex<Arc<Live>>>,
    busy: Arc<Mutex<HashMap<TargetId, u32>>>,
}

impl Engine {
    /// `wake` is the notifier that `intake` rings.
    pub fn new(
        store: Store,
        clock: Clock,
        connect: Connect,
        wake: Arc<Notify>,
        options: &Options,
    ) -> Self {
        Self {
            store,
            clock,
            lease: i64::try_from(options.lease.as_micros()).unwrap_or(i64::MAX / 4),
            connect,
            wake,
            live: Arc::new(Mutex::new(Arc::new(Live {
                generation: -1,
                targets: Vec::new(),
            }))),
            busy: Arc::default(),
        }
    }

    /// Works until `stop` is cancelled, then lets the operations in flight end.
    pub async fn run(&self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut purge_at = self.clock.now();
        while !stop.is_cancelled() {
            if let Err(error) = self.hand_out(&tasks).await {
                tracing::error!(%error, "cannot look for work");
            }
            if self.clock.now() >= purge_at {
                purge_at = self.clock.now() + PURGE_EVERY;
                self.purge().await;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Works until nothing is due any more, and returns how many items were worked on: for tests and for
    /// commands that run once. Items that are put off stay put off.
    pub async fn drain(&self) -> Result<usize, store::Error> {
        let mut worked = 0;
        loop {
            let tasks = TaskTracker::new();
            let started = self.hand_out(&tasks).await?;
            tasks.close();
            tasks.wait().await;
            worked += started;
            if started == 0 {
                return Ok(worked);
            }
        }
    }

    /// Claims what there is room for and starts it.
    async fn hand_out(&self, tasks: &TaskTracker) -> Result<usize, store::Error> {
        let live = self.refresh().await?;
        let mut started = 0;
        for target in &live.targets {
            let room = target
                .settings
                .concurrency
                .saturating_sub(self.running(&target.id));
            if room == 0 {
                continue;
            }
            for item in self.claim(target, room).await? {
                started += 1;
                self.start(tasks, target.clone(), item);
            }
        }
        Ok(started)
    }

    async fn claim(&self, target: &LiveTarget, room: u32) -> Result<Vec<Claimed>, store::Error> {
        let connections = target.claimable();
        if connections.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let id = target.id.clone();
        let health = self.store.read(move |conn| work::health(conn, &id)).await?;
        let Some(health) = health else {
            return Ok(Vec::new());
        };
        if health.retry_at.is_some_and(|at| at > now) {
            return Ok(Vec::new());
        }
        // A target that is not up is asked by one item at a time until it answers.
        let probe = health.state != "up";
        if probe && self.running(&target.id) > 0 {
            return Ok(Vec::new());
        }
        let wanted = Wanted {
            target: target.id.clone(),
            connections,
            owner: crate::domain::new_id(),
            now,
            lease_until: now + self.lease,
            limit: if probe { 1 } else { i64::from(room) },
            probe,
        };
        self.store
            .write(move |tx| -> Result<_, store::Error> {
                let claimed = work::claim(tx, &wanted)?;
                if claimed.is_empty() {
                    tx.discard();
                }
                Ok(claimed)
            })
            .await
    }

    fn start(&self, tasks: &TaskTracker, target: Arc<LiveTarget>, item: Claimed) {
        let place = Place::take(self, &target.id);
        let span = tracing::info_span!(
            "work_item",
            target_name = %target.settings.name,
            user = %item.user_id,
            cause = %item.cause,
        );
        let engine = self.clone();
        tasks.spawn(
            async move {
                engine.converge(&target, item).await;
                drop(place);
            }
            .instrument(span),
        );
    }

    /// The configuration, read again if it changed.
    async fn refresh(&self) -> Result<Arc<Live>, store::Error> {
        let live = self
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let known = live.generation;
        let newer = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                if settings::generation(conn)? == known {
                    Ok(None)
                } else {
                    settings::load(conn).map(Some)
                }
            })
            .await?;
        let Some(configuration) = newer else {
            return Ok(live);
        };
        tracing::info!(
            targets = configuration.targets.len(),
            mappings = configuration.mappings.len(),
            "configuration loaded"
        );
        let fresh = Arc::new(Live::build(configuration, &self.connect));
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    /// Reads the configuration again at the next look although it did not change: what it refers to, such as
    /// the file with a token, may have.
    pub(super) fn forget_configuration(&self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        *live = Arc::new(Live {
            generation: -1,
            targets: live.targets.clone(),
        });
    }

    fn running(&self, target: &TargetId) -> u32 {
        self.busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(target)
            .copied()
            .unwrap_or(0)
    }

    async fn purge(&self) {
        // Old enough that a worker which read it before cannot be at it any more.
        let before = self.clock.now() - PURGE_EVERY;
        let purged = self
            .store
            .write(move |tx| -> Result<usize, store::Error> {
                let purged = users::purge(tx, before)?;
                if purged == 0 {
                    tx.discard();
                }
                Ok(purged)
            })
            .await;
        match purged {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "tombstones removed"),
            Err(error) => tracing::error!(%error, "tombstones could not be removed"),
        }
    }
}

/// A place among the items of one target that are worked on; given back when dropped, even by a panic.
struct Place {
    engine: Engine,
    target: TargetId,
}

impl Place {
    fn take(engine: &Engine, target: &TargetId) -> Self {
        let mut busy = engine.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy.entry(target.clone()).or_default() += 1;
        Self {
            engine: engine.clone(),
            target: target.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self
            .engine
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.target) {
            *count = count.saturating_sub(1);
        }
        drop(busy);
        // There is room for the next one.
        self.engine.wake.notify_one();
    }
}
