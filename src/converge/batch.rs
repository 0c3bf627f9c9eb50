//! Items that are worked on together, for targets that take many members of a group in one request.
//!
//! Each item goes its own way up to its memberships, and waits there for the others. When all of them wait or have
//! ended, or those that wait have waited long enough, what they want is sent group by group, and each item gets the
//! answers to its own. A membership that fails fails only its own item.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::Engine;
use crate::domain::{Applied, Failure};
use crate::scim::fold::fold_text;
use crate::store;
use crate::store::work::{self, Claimed};
use crate::targets::{Member, Target};

/// How many items are worked on together at most: so many people of one group may share a request.
pub(super) const ITEMS: u32 = 300;

/// The others are not waited for when none of them has come any further for so long: one may be in for a time-out.
const STANDSTILL: Duration = Duration::from_secs(3);

/// Nobody waits for longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// A membership that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) group: String,
    pub(super) member: Member,
}

/// What became of a wish.
pub(super) type Answer = Result<Applied, Failure>;

/// Items that are worked on together.
pub(super) struct Batch {
    state: Mutex<State>,
    changed: Notify,
    /// How many of them are at the target at the same time.
    slots: Option<Arc<Semaphore>>,
}

#[derive(Default)]
struct State {
    /// Items that neither wait nor have ended.
    under_way: usize,
    waiting: Vec<Waiting>,
    /// When an item began to wait or ended last.
    moved_at: Option<Instant>,
}

impl State {
    /// When what waits is sent even if others are under way.
    fn sent_at(&self) -> Option<Instant> {
        let first = self.waiting.first()?.since;
        let still = self.moved_at.unwrap_or(first) + STANDSTILL;
        Some(still.min(first + LONGEST))
    }
}

struct Waiting {
    item: Claimed,
    since: Instant,
    wishes: Vec<Wish>,
    /// With the answers the item is under way again. `None`: its lease was lost.
    answer: oneshot::Sender<(Option<Vec<Answer>>, UnderWay)>,
}

/// Counts an item that is under way.
struct UnderWay(Arc<Batch>);

impl UnderWay {
    fn count(batch: &Arc<Batch>) -> Self {
        batch.state().under_way += 1;
        Self(Arc::clone(batch))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.moved_at = Some(Instant::now());
        drop(state);
        self.0.changed.notify_one();
    }
}

/// An item's place in a batch.
pub(super) struct Seat {
    batch: Arc<Batch>,
    under_way: Option<UnderWay>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// Waits until the item may go to the target.
    pub(super) async fn begin(&mut self) {
        if let Some(slots) = &self.batch.slots {
            // It is never closed.
            self.slot = slots.clone().acquire_owned().await.ok();
        }
    }

    /// Waits for the others, and for the answers. `None`: the lease was lost before anything was sent.
    pub(super) async fn send(&mut self, item: &Claimed, wishes: Vec<Wish>) -> Option<Vec<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.batch.state().waiting.push(Waiting {
            item: item.clone(),
            since: Instant::now(),
            wishes,
            answer,
        });
        self.slot = None;
        self.under_way = None;
        let (answers, under_way) = answered.await.ok()?;
        self.under_way = Some(under_way);
        answers
    }
}

impl Batch {
    /// `slots`: how many items may be at the target at the same time.
    pub(super) fn new(slots: Option<Arc<Semaphore>>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            slots,
        })
    }

    /// A place in it. All are taken before [`Batch::run`] begins.
    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        Seat {
            batch: Arc::clone(self),
            under_way: Some(UnderWay::count(self)),
            slot: None,
        }
    }

    /// Sends what items wait for, until all of them have ended.
    pub(super) async fn run(self: Arc<Self>, engine: Engine, client: Arc<dyn Target>) {
        loop {
            let (ready, at) = {
                let mut state = self.state();
                let at = state.sent_at();
                let due = at.is_some_and(|at| at <= Instant::now());
                if state.under_way == 0 && state.waiting.is_empty() {
                    return;
                }
                let ready = state.under_way == 0 || due;
                (ready.then(|| std::mem::take(&mut state.waiting)), at)
            };
            match (ready, at) {
                (Some(waiting), _) => self.flush(&engine, &client, waiting).await,
                (None, Some(at)) => {
                    let _ = tokio::time::timeout_at(at, self.changed.notified()).await;
                }
                (None, None) => self.changed.notified().await,
            }
        }
    }

    async fn flush(
        self: &Arc<Self>,
        engine: &Engine,
        client: &Arc<dyn Target>,
        waiting: Vec<Waiting>,
    ) {
        let waiting = still_held(engine, waiting, self).await;
        let sendings = sendings(&waiting, client.capabilities().members_a_request);
        let requests = sendings.len();
        let mut under_way = JoinSet::new();
        for sending in sendings {
            let client = Arc::clone(client);
            under_way.spawn(async move {
                let answers = client.add_members(&sending.group, &sending.members).await;
                (sending.of, answers)
            });
        }
        let mut answers: Vec<Vec<Option<Answer>>> = waiting
            .iter()
            .map(|waiting| vec![None; waiting.wishes.len()])
            .collect();
        while let Some(ended) = under_way.join_next().await {
            let Ok((of, given)) = ended else { continue };
            for ((item, wish), answer) in of.into_iter().zip(given) {
                answers[item][wish] = Some(answer);
            }
        }
        tracing::debug!(items = waiting.len(), requests, "memberships sent together");
        for (waiting, answers) in waiting.into_iter().zip(answers) {
            let answers = answers.into_iter().map(|a| a.unwrap_or_else(unanswered));
            let back = (Some(answers.collect()), UnderWay::count(self));
            // Whoever does not wait any more has lost the lease, and looks at the target again.
            drop(waiting.answer.send(back));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those whose lease still holds: after a halt of the whole process another server may be at the others.
async fn still_held(engine: &Engine, waiting: Vec<Waiting>, batch: &Arc<Batch>) -> Vec<Waiting> {
    let items: Vec<Claimed> = waiting.iter().map(|waiting| waiting.item.clone()).collect();
    let until = engine.clock.now() + engine.lease;
    let held = engine
        .store
        .write(move |tx| -> Result<Vec<bool>, store::Error> {
            items
                .iter()
                .map(|item| work::renew(tx, item, until))
                .collect()
        })
        .await;
    let held = held.unwrap_or_else(|error| {
        tracing::error!(%error, "leases could not be renewed");
        Vec::new()
    });
    let mut kept = Vec::with_capacity(waiting.len());
    for (i, waiting) in waiting.into_iter().enumerate() {
        if held.get(i).copied().unwrap_or(false) {
            kept.push(waiting);
        } else {
            drop(waiting.answer.send((None, UnderWay::count(batch))));
        }
    }
    kept
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
struct Sending {
    group: String,
    members: Vec<Member>,
    /// For each member: the item, and which of its wishes.
    of: Vec<(usize, usize)>,
}

/// The fewest requests: one for each group, unless it is to get more members than one takes.
fn sendings(waiting: &[Waiting], members_a_request: usize) -> Vec<Sending> {
    let mut groups: BTreeMap<String, Sending> = BTreeMap::new();
    for (i, waiting) in waiting.iter().enumerate() {
        for (j, wish) in waiting.wishes.iter().enumerate() {
            let sending = groups
                .entry(fold_text(&wish.group))
                .or_insert_with(|| Sending {
                    group: wish.group.clone(),
                    members: Vec::new(),
                    of: Vec::new(),
                });
            sending.members.push(wish.member.clone());
            sending.of.push((i, j));
        }
    }
    let size = members_a_request.max(1);
    let mut all = Vec::new();
    for Sending { group, members, of } in groups.into_values() {
        for (members, of) in members.chunks(size).zip(of.chunks(size)) {
            all.push(Sending {
                group: group.clone(),
                members: members.to_vec(),
                of: of.to_vec(),
            });
        }
    }
    all
}

/// Nothing is known of a membership that a target did not speak of.
fn unanswered() -> Answer {
    Err(Failure::Transient {
        text: "the target did not say what became of the membership".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConnectionId, TargetId, UserId};

    fn waiting(name: &str, groups: &[&str]) -> Waiting {
        let member = Member {
            remote_id: name.to_owned(),
            username: name.to_owned(),
        };
        Waiting {
            item: Claimed {
                target_id: TargetId::new(),
                user_id: UserId::new(),
                connection_id: ConnectionId::new(),
                generation: 1,
                attempts: 0,
                cause: String::new(),
                lease_owner: String::new(),
                marked_at: 0,
            },
            since: Instant::now(),
            wishes: groups
                .iter()
                .map(|group| Wish {
                    group: (*group).to_owned(),
                    member: member.clone(),
                })
                .collect(),
            answer: oneshot::channel().0,
        }
    }

    #[test]
    fn nobody_is_waited_for_who_stands_still_or_for_ever() {
        let mut state = State::default();
        assert_eq!(state.sent_at(), None);
        state.waiting.push(waiting("ada", &["devs"]));
        let since = state.waiting[0].since;
        assert_eq!(state.sent_at(), Some(since + STANDSTILL));
        state.moved_at = Some(since + STANDSTILL);
        assert_eq!(state.sent_at(), Some(since + STANDSTILL * 2));
        state.moved_at = Some(since + LONGEST);
        assert_eq!(state.sent_at(), Some(since + LONGEST));
    }

    #[test]
    fn one_request_for_each_group_and_as_many_as_one_takes() {
        let all = [
            waiting("ada", &["devs", "ops"]),
            waiting("bob", &["Devs"]),
            waiting("eve", &["devs"]),
        ];
        let told: Vec<String> = sendings(&all, 2)
            .iter()
            .map(|sending| {
                let names = sending.members.iter().map(|m| m.username.as_str());
                let names = names.collect::<Vec<_>>().join(" ");
                format!("{}: {names} {:?}", sending.group, sending.of)
            })
            .collect();
        let expected = [
            "devs: ada bob [(0, 0), (1, 0)]",
            "devs: eve [(2, 0)]",
            "ops: ada [(0, 1)]",
        ];
        assert_eq!(told, expected);
        assert_eq!(sendings(&all[..0], 2), []);
    }
}
