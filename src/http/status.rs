//! What pages and API share about the state of targets.

use serde_json::json;

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::domain::TargetId;
use crate::store::audit::{self, NewAudit};
use crate::store::pause::{self, Pause};
use crate::store::{self, Tx, settings, work};

/// The targets that a name means: all without one. `None`: there is none of that name.
fn named(
    tx: &mut Tx<'_>,
    name: Option<&str>,
) -> Result<Option<Vec<(TargetId, String)>>, store::Error> {
    let known = settings::load(tx.conn())?.targets;
    let chosen: Vec<(TargetId, String)> = known
        .into_iter()
        .filter(|t| name.is_none_or(|name| t.settings.name == name))
        .map(|t| (t.id, t.settings.name))
        .collect();
    Ok(if chosen.is_empty() && name.is_some() {
        None
    } else {
        Some(chosen)
    })
}

fn no_target() -> Problem {
    Problem::new(404, "there is no target of that name")
}

/// Has refused and held work tried again. Returns how many items.
pub(super) async fn retry(
    state: &State,
    actor: &Actor,
    target: Option<String>,
    through: &'static str,
) -> Result<usize, Problem> {
    let (name, now) = (actor.name.clone(), state.clock.now());
    let count = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let Some(chosen) = named(tx, target.as_deref())? else {
                tx.discard();
                return Ok(None);
            };
            let cause = format!("{name} asked for it");
            let one = target
                .as_ref()
                .and(chosen.first())
                .map(|(id, _)| id.clone());
            let count = work::retry(tx, one.as_ref(), None, &cause, now)?;
            let detail = json!({"target": target, "items": count});
            audit::append(tx, &NewAudit::act(now, &name, "retry", &detail, through))?;
            Ok(Some(count))
        })
        .await?;
    state.intake.wake();
    count.ok_or_else(no_target)
}

/// Stops targets: one, or all. Returns how many were not stopped before.
pub(super) async fn pause(
    state: &State,
    actor: &Actor,
    target: Option<String>,
    reason: Option<String>,
    through: &'static str,
) -> Result<usize, Problem> {
    let (by, now) = (actor.name.clone(), state.clock.now());
    let count = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let Some(chosen) = named(tx, target.as_deref())? else {
                tx.discard();
                return Ok(None);
            };
            let stop = Pause {
                at: now,
                by: by.clone(),
                reason: reason.clone(),
            };
            let mut count = 0;
            for (id, _) in &chosen {
                count += usize::from(pause::pause(tx, id, &stop, through)?);
            }
            Ok(Some(count))
        })
        .await?;
    count.ok_or_else(no_target)
}

/// Lets targets go on: one, or all. Returns how many were stopped.
pub(super) async fn resume(
    state: &State,
    actor: &Actor,
    target: Option<String>,
    through: &'static str,
) -> Result<usize, Problem> {
    let (by, now) = (actor.name.clone(), state.clock.now());
    let count = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let Some(chosen) = named(tx, target.as_deref())? else {
                tx.discard();
                return Ok(None);
            };
            let act = Pause {
                at: now,
                by: by.clone(),
                reason: None,
            };
            let mut count = 0;
            for (id, _) in &chosen {
                count += usize::from(pause::resume(tx, id, &act, through)?);
            }
            Ok(Some(count))
        })
        .await?;
    state.intake.wake();
    count.ok_or_else(no_target)
}
