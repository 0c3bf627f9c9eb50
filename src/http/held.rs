//! What pages and API share about held work.

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::clock::Micros;
use crate::domain::{RemovalKind, UserId};
use crate::store::brakes::{self, Choice, Decision};
use crate::store::{self, settings, work};

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

/// Everything that is held.
pub(super) struct Everything {
    /// By brakes, the oldest first.
    pub(super) removals: Vec<Held>,
    /// For other reasons.
    pub(super) others: Vec<Held>,
}

/// Reads what is held.
pub(super) async fn everything(state: &State) -> Result<Everything, Problem> {
    let (configuration, holds, items) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((
                settings::load(conn)?,
                brakes::held(conn)?,
                work::held(conn)?,
            ))
        })
        .await?;
    let name = |id: &str| {
        configuration
            .targets
            .iter()
            .find(|t| t.id.as_str() == id)
            .map_or_else(|| id.to_owned(), |t| t.settings.name.clone())
    };
    // What a brake holds is told there.
    let braked: std::collections::HashSet<(&str, &str)> = holds
        .iter()
        .map(|hold| (hold.target_id.as_str(), hold.subject.as_str()))
        .collect();
    let others = items
        .iter()
        .filter(|item| !braked.contains(&(item.target_id.as_str(), item.user_id.as_str())))
        .map(|item| Held {
            target: name(&item.target_id),
            brake: String::new(),
            user_id: Some(item.user_id.clone()),
            user_name: item.user_name.clone(),
            group: String::new(),
            since: item.marked_at,
            cause: item.cause.clone(),
            why: item.reason.clone().unwrap_or_default(),
        })
        .collect();
    let removals = holds
        .iter()
        .map(|hold| Held {
            target: name(&hold.target_id),
            brake: hold.kind.clone(),
            user_id: hold.user_id.clone(),
            user_name: hold.user_name.clone(),
            group: hold.group.clone(),
            since: hold.since,
            cause: hold.cause.clone(),
            why: hold.reason.clone(),
        })
        .collect();
    Ok(Everything { removals, others })
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
