//! Hands out work: claims what is due, within each target's concurrency and breaker, and waits for more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::batch::{self, Batch, Seat};
use super::drift;
use super::live::{Connect, Live, LiveTarget};
use super::roster::Rosters;
use super::sweep;
use crate::clock::{Clock, Micros};
use crate::domain::{TargetId, TargetSettings};
use crate::metrics::Metrics;
use crate::store::drift::{self as drift_work, ClaimedComparison};
use crate::store::group_work::ClaimedGroup;
use crate::store::work::{Claimed, Wanted};
use crate::store::{self, Store, audit, brakes, group_work, pause, runs, settings, users, work};
use crate::targets::Check;
use crate::telemetry;

/// How often the engine looks for work that nobody woke it for: retries that became due, and marks made by
/// other processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the engine rests between two looks: a thousand pushes in a second are worth a few looks, not one
/// each.
const REST: Duration = Duration::from_millis(5);
/// The same while there is more to do than there is room for: then looks are not wasted, and work without a request
/// takes no longer than this.
const SHORT_REST: Duration = Duration::from_millis(1);
/// How often the engine looks for grace periods that have ended.
const WAKE_EVERY: Duration = Duration::from_secs(30);
/// How often the engine asks which targets are paused: together with its own rhythm, less than a second passes
/// between `usher pause` and the last operation that begins.
const LOOK_FOR_PAUSES_EVERY: Duration = Duration::from_millis(250);
/// How long removals stay written down: the longest window of a brake.
const REMEMBER_REMOVALS: Micros = 8 * 24 * PURGE_EVERY;
/// How often a target that has enough to do is looked at for somebody who loses access.
const LOOK_FOR_LEAVERS: Duration = Duration::from_millis(100);
/// How often tombstones that nothing needs any more are removed.
const PURGE_EVERY: Micros = 60 * 60 * 1_000_000;

/// How many rows of audit and runs are removed in one transaction.
const PURGE_AT_A_TIME: i64 = 1000;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a worker may hold an item without a sign of life: so long is the work of a crashed server
    /// left alone by the others. Longer than the clocks of the servers may differ.
    pub lease: Duration,
    /// How long the audit and what runs did are kept. `None`: for ever.
    pub audit_retention: Option<Duration>,
}

/// The lease unless something else is asked for. Workers renew it three times as often, so it limits how
/// soon another server takes over, not how long an operation may take.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// How long the audit is kept unless something else is asked for: a year and the time to look back at it.
pub const DEFAULT_AUDIT_RETENTION: Duration = Duration::from_hours(400 * 24);

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: DEFAULT_LEASE,
            audit_retention: Some(DEFAULT_AUDIT_RETENTION),
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
    /// In microseconds.
    audit_retention: Option<Micros>,
    connect: Connect,
    wake: Arc<Notify>,
    live: Arc<Mutex<Arc<Live>>>,
    busy: Arc<Mutex<HashMap<TargetId, u32>>>,
    paused: Arc<Mutex<HashSet<TargetId>>>,
    /// Until when nothing is begun, see [`Engine::rest`].
    rests_until: Arc<AtomicI64>,
    pub(super) rosters: Arc<Rosters>,
    metrics: Metrics,
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
            lease: micros(options.lease),
            audit_retention: options.audit_retention.map(micros),
            connect,
            wake,
            live: Arc::new(Mutex::new(Arc::new(Live {
                generation: -1,
                targets: Vec::new(),
            }))),
            busy: Arc::default(),
            paused: Arc::default(),
            rests_until: Arc::default(),
            rosters: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    /// Works until `stop` is cancelled, then lets the operations in flight end.
    pub async fn run(&self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut purge_at = self.clock.now();
        let mut known = Known::default();
        while !stop.is_cancelled() {
            let is_full = match self.hand_out(&tasks, &mut known).await {
                Ok(started) => started.is_full,
                Err(error) => {
                    tracing::error!(%error, "cannot look for work");
                    false
                }
            };
            if self.clock.now() >= purge_at {
                purge_at = self.clock.now() + PURGE_EVERY;
                self.purge().await;
            }
            let rest = async {
                tokio::time::sleep(if is_full { SHORT_REST } else { REST }).await;
                tokio::time::timeout(LOOK_EVERY, self.wake.notified()).await
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = rest => {}
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
            let started = self.hand_out(&tasks, &mut Known::default()).await?;
            tasks.close();
            tasks.wait().await;
            worked += started.items;
            if started.items + started.comparisons == 0 {
                return Ok(worked);
            }
        }
    }

    /// Begins nothing for as long as the database is likely not to take what is done: of whatever is done at a target
    /// and cannot be recorded, the outcome has to be found out again, of one item after the other.
    pub(super) fn rest(&self, error: &store::Error) {
        if let Some((_, seconds)) = error.passing() {
            let until = self.clock.now() + Micros::from(seconds) * 1_000_000;
            self.rests_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// Claims what there is room for and starts it, all of it under the present configuration.
    async fn hand_out(
        &self,
        tasks: &TaskTracker,
        known: &mut Known,
    ) -> Result<Started, store::Error> {
        let mut started = Started::default();
        if self.clock.now() < self.rests_until.load(Ordering::Relaxed) {
            return Ok(started);
        }
        while !self.hand_out_known(tasks, known, &mut started).await? {
            known.configuration = Fresh::default();
        }
        Ok(started)
    }

    /// The same under the configuration as it is known. Returns whether that is the present one.
    async fn hand_out_known(
        &self,
        tasks: &TaskTracker,
        known: &mut Known,
        started: &mut Started,
    ) -> Result<bool, store::Error> {
        if !known.configuration.still_holds() {
            self.refresh().await?;
            known.configuration.holds_for(LOOK_EVERY);
        }
        if !known.nothing_rests.still_holds() {
            self.wake_what_rests().await?;
            known.nothing_rests.holds_for(WAKE_EVERY);
        }
        if !known.pauses.still_holds() {
            self.look_for_pauses().await?;
            known.pauses.holds_for(LOOK_FOR_PAUSES_EVERY);
        }
        let live = self.live();
        for target in &live.targets {
            if self.is_paused(&target.id) {
                continue;
            }
            let Some(room) = self.room(target, known) else {
                continue;
            };
            let down = known.down.entry(target.id.clone()).or_default();
            let Some(items) = self.claim((target, live.generation), room, down).await? else {
                return Ok(false);
            };
            started.items += items.len();
            let is_full = items.len() >= usize::try_from(room.items).unwrap_or(usize::MAX);
            started.is_full |= is_full;
            let rests = down.still_holds();
            self.start(tasks, target, items, room);
            // Groups come after people.
            if is_full || room.leavers_only || rests {
                continue;
            }
            let no_group = known.no_group.entry(target.id.clone()).or_default();
            if no_group.still_holds() {
                continue;
            }
            let Some(group) = self.claim_group(target, live.generation).await? else {
                return Ok(false);
            };
            match group {
                Some(item) => {
                    started.items += 1;
                    self.start_sweep(tasks, target.clone(), item);
                }
                // Comparisons come last.
                None => match self.claim_comparison(target).await? {
                    Some(item) => {
                        started.comparisons += 1;
                        self.start_comparison(tasks, target.clone(), item);
                    }
                    None => no_group.holds_for(LOOK_EVERY),
                },
            }
        }
        Ok(true)
    }

    /// `None`: the configuration is not that of `generation` any more. Whoever changed it marked the items, and
    /// they must not be brought to an end under the rules of before.
    async fn claim(
        &self,
        (target, generation): (&LiveTarget, i64),
        room: Room,
        down: &mut Fresh,
    ) -> Result<Option<Vec<Claimed>>, store::Error> {
        let connections = target.claimable();
        if connections.is_empty() || down.still_holds() {
            return Ok(Some(Vec::new()));
        }
        let now = self.clock.now();
        let id = target.id.clone();
        let health = self.store.read(move |conn| work::health(conn, &id)).await?;
        let Some(health) = health else {
            return Ok(Some(Vec::new()));
        };
        if let Some(at) = health.retry_at
            && at > now
        {
            let rest = Duration::from_micros(u64::try_from(at - now).unwrap_or(0));
            down.holds_for(rest.min(LOOK_EVERY));
            return Ok(Some(Vec::new()));
        }
        // A target that is not up is asked by one item at a time until it answers.
        let probe = health.state != "up";
        if probe && self.running(&target.id) > 0 {
            return Ok(Some(Vec::new()));
        }
        let wanted = Wanted {
            target: target.id.clone(),
            connections,
            owner: crate::domain::new_id(),
            now,
            lease_until: now + self.lease,
            limit: if probe { 1 } else { i64::from(room.items) },
            probe,
            leavers_only: room.leavers_only,
        };
        self.store
            .write(move |tx| -> Result<_, store::Error> {
                if settings::generation(tx.conn())? != generation {
                    tx.discard();
                    return Ok(None);
                }
                let claimed = work::claim(tx, &wanted)?;
                if claimed.is_empty() {
                    tx.discard();
                }
                Ok(Some(claimed))
            })
            .await
    }

    /// How much may be claimed for a target now.
    fn room(&self, target: &LiveTarget, known: &mut Known) -> Option<Room> {
        let (running, concurrency) = (self.running(&target.id), target.settings.concurrency);
        let room = |items, leavers_only| Room {
            items,
            leavers_only,
        };
        if running < concurrency {
            let items = if target.takes_many() {
                batch::ITEMS
            } else {
                concurrency - running
            };
            return Some(room(items, false));
        }
        // Nobody's loss of access waits for a whole batch.
        let most = batch::ITEMS + 2 * concurrency;
        if !target.takes_many() || running >= most {
            return None;
        }
        let looked = known.leavers.entry(target.id.clone()).or_default();
        if looked.still_holds() {
            return None;
        }
        looked.holds_for(LOOK_FOR_LEAVERS);
        Some(room(concurrency.min(most - running), true))
    }

    /// As [`Engine::claim`], of a group.
    async fn claim_group(
        &self,
        target: &LiveTarget,
        generation: i64,
    ) -> Result<Option<Option<ClaimedGroup>>, store::Error> {
        let (id, now) = (target.id.clone(), self.clock.now());
        let is_worth_it = self
            .store
            .read(move |conn| -> Result<bool, store::Error> {
                // Whether a target is back is for people's items to find out.
                let is_up = work::health(conn, &id)?.is_some_and(|health| health.state == "up");
                // People first: what they are given tells who should be in a group.
                Ok(is_up
                    && group_work::is_due(conn, &id, now)?
                    && (!work::is_busy(conn, &id, now)?
                        || group_work::is_due(conn, &id, now - sweep::PATIENCE)?))
            })
            .await?;
        if !is_worth_it {
            return Ok(Some(None));
        }
        let id = target.id.clone();
        self.store
            .write(move |tx| -> Result<_, store::Error> {
                if settings::generation(tx.conn())? != generation {
                    tx.discard();
                    return Ok(None);
                }
                let owner = crate::domain::new_id();
                let claimed = group_work::claim(tx, &id, &owner, now, now + sweep::LEASE)?;
                if claimed.is_none() {
                    tx.discard();
                }
                Ok(Some(claimed))
            })
            .await
    }

    async fn claim_comparison(
        &self,
        target: &LiveTarget,
    ) -> Result<Option<ClaimedComparison>, store::Error> {
        let (id, now) = (target.id.clone(), self.clock.now());
        let is_worth_it = self
            .store
            .read(move |conn| -> Result<bool, store::Error> {
                let is_up = work::health(conn, &id)?.is_some_and(|health| health.state == "up");
                Ok(is_up
                    && drift_work::is_due(conn, &id, now)?
                    && (!work::is_busy(conn, &id, now)?
                        || drift_work::is_due(conn, &id, now - drift::PATIENCE)?))
            })
            .await?;
        if !is_worth_it {
            return Ok(None);
        }
        let id = target.id.clone();
        self.store
            .write(move |tx| -> Result<_, store::Error> {
                let owner = crate::domain::new_id();
                let claimed = drift_work::claim(tx, &id, &owner, now, now + drift::LEASE)?;
                if claimed.is_none() {
                    tx.discard();
                }
                Ok(claimed)
            })
            .await
    }

    fn start_comparison(
        &self,
        tasks: &TaskTracker,
        target: Arc<LiveTarget>,
        item: ClaimedComparison,
    ) {
        let place = Place::take(self, &target.id);
        let span = tracing::info_span!(
            "comparison",
            target_name = %target.settings.name,
            run = %item.run,
        );
        let engine = self.clone();
        tasks.spawn(
            async move {
                engine.compare(&target, item).await;
                drop(place);
            }
            .instrument(span),
        );
    }

    fn start_sweep(&self, tasks: &TaskTracker, target: Arc<LiveTarget>, item: ClaimedGroup) {
        let place = Place::take(self, &target.id);
        let span = tracing::info_span!(
            "group_item",
            target_name = %target.settings.name,
            group = %item.name,
            cause = %item.cause,
        );
        telemetry::follow(&span, &item.cause);
        let engine = self.clone();
        tasks.spawn(
            async move {
                engine.sweep(&target, item).await;
                drop(place);
            }
            .instrument(span),
        );
    }

    /// Starts what was claimed: each item for itself or, where the target takes many members at once, together.
    fn start(
        &self,
        tasks: &TaskTracker,
        target: &Arc<LiveTarget>,
        items: Vec<Claimed>,
        room: Room,
    ) {
        let client = target.client.as_ref().ok().filter(|_| target.takes_many());
        let Some(client) = client.filter(|_| !items.is_empty()) else {
            for item in items {
                self.start_one(tasks, target.clone(), item, None);
            }
            return;
        };
        // Leavers who are claimed beside a batch do not wait for its slots.
        let batch = Batch::new((!room.leavers_only).then(|| target.slots.clone()));
        let seats: Vec<Seat> = items.iter().map(|_| batch.seat()).collect();
        for (item, seat) in items.into_iter().zip(seats) {
            self.start_one(tasks, target.clone(), item, Some(seat));
        }
        tasks.spawn(batch.run(self.clone(), client.clone()));
    }

    fn start_one(
        &self,
        tasks: &TaskTracker,
        target: Arc<LiveTarget>,
        item: Claimed,
        mut seat: Option<Seat>,
    ) {
        let place = Place::take(self, &target.id);
        let span = tracing::info_span!(
            "work_item",
            target_name = %target.settings.name,
            user = %item.user_id,
            cause = %item.cause,
        );
        telemetry::follow(&span, &item.cause);
        let engine = self.clone();
        tasks.spawn(
            async move {
                engine.converge(&target, item, seat.as_mut()).await;
                drop(seat);
                drop(place);
            }
            .instrument(span),
        );
    }

    /// Connects to a target and asks what it is and what the credential may do there; or says, in words, why not.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub async fn check(&self, target: &TargetSettings) -> Result<Check, String> {
        let client = (self.connect)(target)?;
        client.check().await.map_err(|failure| failure.to_string())
    }

    /// How long rows of the audit and results of runs are kept; `None`: for ever.
    pub fn audit_retention(&self) -> Option<Duration> {
        let micros = u64::try_from(self.audit_retention?).unwrap_or_default();
        Some(Duration::from_micros(micros))
    }

    /// What was done so far, and what else this process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts that somebody is in step at a target.
    pub(super) fn in_step(&self, target: &LiveTarget, item: &Claimed) {
        let time = self.clock.now().saturating_sub(item.marked_at);
        let time = Duration::from_micros(u64::try_from(time).unwrap_or(0));
        self.metrics.effect(target.labels(), time);
    }

    /// How targets are connected to.
    pub(super) fn connector(&self) -> &Connect {
        &self.connect
    }

    fn live(&self) -> Arc<Live> {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn look_for_pauses(&self) -> Result<(), store::Error> {
        let paused = self.store.look_up(pause::paused).await?;
        let paused = paused.into_iter().map(|(id, _)| id).collect();
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
        Ok(())
    }

    /// Whether a person has stopped the target, as of a moment ago.
    pub(super) fn is_paused(&self, target: &TargetId) -> bool {
        self.paused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(target)
    }

    /// Reads the configuration again if it changed.
    async fn refresh(&self) -> Result<(), store::Error> {
        let known = self.live().generation;
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
            return Ok(());
        };
        tracing::info!(
            targets = configuration.targets.len(),
            mappings = configuration.mappings.len(),
            "configuration loaded"
        );
        let fresh = Arc::new(Live::build(configuration, &self.connect));
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
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

    /// Makes what waited for its hour due.
    async fn wake_what_rests(&self) -> Result<(), store::Error> {
        let now = self.clock.now();
        if self
            .store
            .read(move |conn| work::is_time(conn, now))
            .await?
        {
            let woken = self.store.write(move |tx| work::wake(tx, now)).await?;
            tracing::info!(woken, "grace periods ended");
        }
        Ok(())
    }

    /// Removes what nothing needs any more.
    pub async fn purge(&self) {
        self.purge_audit().await;
        // Old enough that a worker which read it before cannot be at it any more.
        let before = self.clock.now() - PURGE_EVERY;
        let purged = self
            .store
            .write(move |tx| -> Result<usize, store::Error> {
                let purged = users::purge(tx, before)?;
                let forgotten = brakes::purge(tx, before - REMEMBER_REMOVALS)?;
                if purged + forgotten == 0 {
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

    /// A few at a time, so that nobody waits long for the database.
    async fn purge_audit(&self) {
        let Some(retention) = self.audit_retention else {
            return;
        };
        let before = self.clock.now() - retention;
        let mut removed = 0;
        loop {
            let some = self
                .store
                .write(move |tx| -> Result<usize, store::Error> {
                    let some = audit::purge(tx, before, PURGE_AT_A_TIME)?
                        + runs::purge(tx, before, PURGE_AT_A_TIME)?;
                    if some == 0 {
                        tx.discard();
                    }
                    Ok(some)
                })
                .await;
            match some {
                Ok(0) => break,
                Ok(some) => removed += some,
                Err(error) => {
                    tracing::error!(%error, "old rows of audit and runs could not be removed");
                    break;
                }
            }
        }
        if removed > 0 {
            tracing::info!(removed, "old rows of audit and runs removed");
        }
    }
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// What the engine read a moment ago and need not read again for every push. Other processes change it
/// (`usher apply`, `usher retry`), so it is believed no longer than [`LOOK_EVERY`]; the configuration is
/// compared once more whenever something is claimed.
#[derive(Debug, Default)]
struct Known {
    /// The configuration.
    configuration: Fresh,
    /// That nothing has rested for as long as it should.
    nothing_rests: Fresh,
    /// Which targets are paused.
    pauses: Fresh,
    /// That no group of a target is due.
    no_group: HashMap<TargetId, Fresh>,
    /// That a target is down and not to be asked yet.
    down: HashMap<TargetId, Fresh>,
    /// That nobody loses access at a target which has enough to do.
    leavers: HashMap<TargetId, Fresh>,
}

/// What was begun.
#[derive(Debug, Clone, Copy, Default)]
struct Started {
    /// Work items and looks at groups.
    items: usize,
    /// Comparisons with the ledger, which write nothing themselves.
    comparisons: usize,
    /// There was as much of it as there was room for.
    is_full: bool,
}

/// How much may be claimed.
#[derive(Debug, Clone, Copy)]
struct Room {
    items: u32,
    leavers_only: bool,
}

/// Until when something is believed. By the process's own clock: it goes on where a test's stands still, and
/// never back.
#[derive(Debug, Default)]
struct Fresh(Option<Instant>);

impl Fresh {
    fn holds_for(&mut self, time: Duration) {
        self.0 = Some(Instant::now() + time);
    }

    fn still_holds(&self) -> bool {
        self.0.is_some_and(|until| until > Instant::now())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::DatabaseUrl;
    use crate::domain::{
        ConnectionKind, ConnectionSettings, MappingSettings, SecretRef, TargetAuth, TargetKind,
    };
    use crate::targets::memory::Memory;

    #[test]
    fn nothing_is_believed_before_it_was_read_or_for_longer_than_said() {
        let mut fresh = Fresh::default();
        assert!(!fresh.still_holds());
        fresh.holds_for(Duration::from_secs(3600));
        assert!(fresh.still_holds());
        fresh.holds_for(Duration::ZERO);
        assert!(!fresh.still_holds());
    }

    /// An item that is brought to an end under the rules of before stays as it is until something else marks it:
    /// a mapping that goes live would leave people behind, silently.
    #[tokio::test]
    async fn nothing_is_claimed_under_the_rules_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
        let store = Store::open(&url).unwrap();
        let connect: Connect = Arc::new(|_| Ok(Arc::new(Memory::new())));
        let wake = Arc::new(Notify::new());
        let options = Options::default();
        let engine = Engine::new(store.clone(), Clock::manual(1), connect, wake, &options);
        store
            .write(|tx| -> Result<(), store::Error> {
                let connection = ConnectionSettings::new("corp", ConnectionKind::Scim);
                let (connection, _) = settings::put_connection(tx, &connection, 1)?;
                let target = TargetSettings {
                    name: "jira".to_owned(),
                    kind: TargetKind::JiraDc,
                    base_url: "http://127.0.0.1:1".to_owned(),
                    auth: TargetAuth::Token(SecretRef::Env("NONE".to_owned())),
                    token_expires: None,
                    concurrency: 1,
                    requests_per_second: None,
                    timeout_s: 1,
                };
                let (target, _) = settings::put_target(tx, &target, 1)?;
                let rules = MappingSettings::default();
                settings::put_mapping(tx, &connection, &target, &rules, 1)?;
                settings::bump(tx)
            })
            .await
            .unwrap();
        engine.refresh().await.unwrap();
        let live = engine.live();
        let room = Room {
            items: 1,
            leavers_only: false,
        };
        let claim = async || {
            let known = (live.targets[0].as_ref(), live.generation);
            engine
                .claim(known, room, &mut Fresh::default())
                .await
                .unwrap()
        };
        assert!(claim().await.is_some());
        store.write(settings::bump).await.unwrap();
        assert!(claim().await.is_none());
    }
}
