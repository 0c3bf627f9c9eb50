//! What pages and API share about held work.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::clock::Micros;
use crate::domain::{RemovalKind, Target, UserId};
use crate::store::brakes::{self, Choice, Decision, Hold};
use crate::store::work::{self, HeldItem};
use crate::store::{self, settings};

/// One thing that is held.
pub(super) struct Held {
    /// Name of the target.
    pub(super) target: String,
    /// Key of the brake; empty if it is held for another reason.
    pub(super) brake: String,
    /// SCIM id of the person, if the mirror has them.
    pub(super) user_id: Option<String>,
    /// User name.
    pub(super) user_name: String,
    /// The group, of a membership.
    pub(super) group: String,
    /// Since when.
    pub(super) since: Micros,
    /// What set it off.
    pub(super) cause: String,
    /// Why it is held.
    pub(super) why: String,
}

/// A page of what is held: first what brakes hold, by target and brake, then what is held for other reasons.
pub(super) struct Page {
    /// By brakes, the oldest of each first.
    pub(super) removals: Vec<Held>,
    /// For other reasons.
    pub(super) others: Vec<Held>,
    /// Where the next page begins.
    pub(super) next: Option<Cursor>,
}

/// The end of a page. As text it may be handed out and taken back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cursor {
    /// After this removal.
    Removal(brakes::Place),
    /// After all removals, and this item if there is one.
    Other(Option<work::HeldPlace>),
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for Cursor {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Problem::new(400, "this cursor was not handed out here"))
    }
}

/// How much is held.
pub(super) struct Sums {
    /// Name of the target, key of the brake, and how many removals.
    pub(super) removals: Vec<(String, String, i64)>,
    /// Items that are held for other reasons.
    pub(super) others: i64,
}

/// Reads a page of what is held.
pub(super) async fn page(
    state: &State,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page, Problem> {
    // One more tells whether there is a next page.
    let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let (configuration, mut holds, mut items) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let (holds, from) = match after {
                Some(Cursor::Other(place)) => (Vec::new(), place),
                after => {
                    let place = match &after {
                        Some(Cursor::Removal(place)) => Some(place),
                        _ => None,
                    };
                    let holds = brakes::held(conn, &Choice::default(), place, most)?;
                    (holds, None)
                }
            };
            let left = most - i64::try_from(holds.len()).unwrap_or(most);
            let items = if left > 0 {
                work::held(conn, None, from.as_ref(), left)?
            } else {
                Vec::new()
            };
            Ok((configuration, holds, items))
        })
        .await?;
    let more = holds.len() + items.len() > limit;
    holds.truncate(limit);
    items.truncate(limit - holds.len());
    let next = match (items.last(), holds.last()) {
        _ if !more => None,
        (Some(last), _) => Some(Cursor::Other(Some(last.place()))),
        (None, Some(last)) => Some(Cursor::Removal(last.place())),
        (None, None) => None,
    };
    let names = Names(configuration.targets);
    Ok(Page {
        removals: holds
            .into_iter()
            .map(|hold| removal(hold, &names))
            .collect(),
        others: items.into_iter().map(|item| other(item, &names)).collect(),
        next,
    })
}

/// Counts what is held.
pub(super) async fn sums(state: &State) -> Result<Sums, Problem> {
    let (configuration, sums, others) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((
                settings::load(conn)?,
                brakes::held_sums(conn)?,
                work::held_count(conn, None)?,
            ))
        })
        .await?;
    let names = Names(configuration.targets);
    let removals = sums.into_iter();
    Ok(Sums {
        removals: removals
            .map(|sum| (names.of(&sum.target_id), sum.kind, sum.count))
            .collect(),
        others,
    })
}

/// The first that one brake holds at one target.
pub(super) async fn first(
    state: &State,
    target: &str,
    brake: &str,
    limit: i64,
) -> Result<Vec<Held>, Problem> {
    let (target, kind) = (target.to_owned(), RemovalKind::parse(brake));
    let (names, holds) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let targets = settings::load(conn)?.targets;
            let found = targets.iter().find(|known| known.settings.name == target);
            let choice = Choice {
                target: found.map(|target| target.id.clone()),
                kind,
                users: None,
            };
            let holds = brakes::held(conn, &choice, None, limit)?;
            Ok((Names(targets), holds))
        })
        .await?;
    Ok(holds
        .into_iter()
        .map(|hold| removal(hold, &names))
        .collect())
}

/// The first that is held for other reasons.
pub(super) async fn first_others(state: &State, limit: i64) -> Result<Vec<Held>, Problem> {
    let (names, items) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let names = Names(settings::load(conn)?.targets);
            Ok((names, work::held(conn, None, None, limit)?))
        })
        .await?;
    Ok(items.into_iter().map(|item| other(item, &names)).collect())
}

/// The targets, to tell what they are called.
struct Names(Vec<Target>);

impl Names {
    fn of(&self, id: &str) -> String {
        let mut targets = self.0.iter();
        targets
            .find(|target| target.id.as_str() == id)
            .map_or_else(|| id.to_owned(), |target| target.settings.name.clone())
    }
}

fn removal(hold: Hold, names: &Names) -> Held {
    Held {
        target: names.of(&hold.target_id),
        brake: hold.kind,
        user_id: hold.user_id,
        user_name: hold.user_name,
        group: hold.group,
        since: hold.since,
        cause: hold.cause,
        why: hold.reason,
    }
}

fn other(item: HeldItem, names: &Names) -> Held {
    Held {
        target: names.of(&item.target_id),
        brake: String::new(),
        user_id: Some(item.user_id),
        user_name: item.user_name,
        group: String::new(),
        since: item.marked_at,
        cause: item.cause,
        why: item.reason.unwrap_or_default(),
    }
}

/// Which removals somebody decides about. What is `None` does not restrict.
pub(super) struct What {
    /// Name of a target.
    pub(super) target: Option<String>,
    /// Key of a brake.
    pub(super) brake: Option<String>,
    /// SCIM ids.
    pub(super) users: Option<Vec<String>>,
}

/// Releases or discards. Returns how many removals that was.
pub(super) async fn decide(
    state: &State,
    actor: &Actor,
    what: What,
    decision: Decision,
) -> Result<usize, Problem> {
    let kind = match &what.brake {
        None => None,
        Some(text) => Some(RemovalKind::parse(text).ok_or_else(|| {
            let all = RemovalKind::ALL.map(RemovalKind::as_str).join(", ");
            Problem::new(400, format!("there is no brake {text:?}; there are {all}"))
        })?),
    };
    let (name, now) = (actor.name.clone(), state.clock.now());
    let decided = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let target = match &what.target {
                None => None,
                Some(wanted) => {
                    let known = settings::load(tx.conn())?.targets;
                    let Some(target) = known.into_iter().find(|t| t.settings.name == *wanted)
                    else {
                        tx.discard();
                        return Ok(None);
                    };
                    Some(target.id)
                }
            };
            let choice = Choice {
                target,
                kind,
                users: what
                    .users
                    .clone()
                    .map(|ids| ids.into_iter().map(UserId).collect()),
            };
            brakes::decide(tx, &choice, decision, &name, now).map(Some)
        })
        .await?;
    state.intake.wake();
    decided.ok_or_else(|| Problem::new(404, "there is no target of that name"))
}
