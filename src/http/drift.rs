//! What pages and API share about accounts that somebody changed at a target by hand.

use serde_json::json;

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::domain::UserId;
use crate::store::audit::{self, NewAudit};
use crate::store::drift::{self, Choice, Drift};
use crate::store::{self, settings};

/// What is known to differ, each with the name of its target; whoever has access and should not comes first.
pub(super) async fn list(state: &State) -> Result<Vec<(String, Drift)>, Problem> {
    let found = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            let targets = settings::load(conn)?.targets;
            let name = |it: &Drift| {
                let target = targets.iter().find(|target| target.id == it.target_id);
                target.map(|target| target.settings.name.clone())
            };
            let found = drift::list(conn)?.into_iter();
            Ok(found.filter_map(|it| Some((name(&it)?, it))).collect())
        })
        .await?;
    Ok(found)
}

/// Which accounts somebody decides about. What is `None` does not restrict.
pub(super) struct What {
    /// Name of a target.
    pub(super) target: Option<String>,
    /// SCIM ids.
    pub(super) users: Option<Vec<String>>,
}

/// Pushes ours, or accepts theirs. Returns how many accounts that was.
pub(super) async fn decide(
    state: &State,
    actor: &Actor,
    what: What,
    push: bool,
    through: &'static str,
) -> Result<usize, Problem> {
    let (by, now) = (actor.name.clone(), state.clock.now());
    let operation = if push { "push_drift" } else { "accept_drift" };
    let decided = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let target = match &what.target {
                None => None,
                Some(name) => {
                    let known = settings::load(tx.conn())?.targets;
                    let Some(target) = known.into_iter().find(|it| it.settings.name == *name)
                    else {
                        tx.discard();
                        return Ok(None);
                    };
                    Some(target.id)
                }
            };
            let users = what.users.clone();
            let choice = Choice {
                target,
                users: users.map(|ids| ids.into_iter().map(UserId).collect()),
            };
            let decided = drift::decide(tx, &choice, push, &by, now)?;
            if decided > 0 {
                let detail = json!({"target": what.target, "users": what.users});
                audit::append(tx, &NewAudit::act(now, &by, operation, &detail, through))?;
            }
            Ok(Some(decided))
        })
        .await?;
    state.intake.wake();
    decided.ok_or_else(|| Problem::new(404, "there is no target of that name"))
}
