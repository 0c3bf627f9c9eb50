//! What pages and API share about people.

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::domain::{ConnectionId, UserId};
use crate::store::audit::{self, NewAudit};
use crate::store::pause::{self, Pause};
use crate::store::people::{self, Person, Query};
use crate::store::{self, Tx, settings, users, work};

/// A page of people.
pub(super) struct Found {
    pub(super) people: Vec<Person>,
    /// Names of all connections.
    pub(super) connections: Vec<String>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// A place between two people, as it was handed out.
pub(super) fn place(cursor: &str) -> Result<Option<(String, String)>, Problem> {
    if cursor.is_empty() {
        return Ok(None);
    }
    cursor
        .rsplit_once(' ')
        .map(|(name, id)| Some((name.to_owned(), id.to_owned())))
        .ok_or_else(|| Problem::new(400, "this cursor was not handed out here"))
}

/// Whom to look for. What is empty does not restrict.
#[derive(Default)]
pub(super) struct Wanted {
    /// Part of the user name, the display name or an e-mail address.
    pub(super) text: String,
    /// Name of a connection.
    pub(super) connection: String,
    /// Only those for whom nothing is written because somebody stopped it.
    pub(super) paused: bool,
    /// Beyond this one.
    pub(super) after: Option<(String, String)>,
}

/// Looks for people; an unknown connection has none.
pub(super) async fn search(state: &State, wanted: Wanted, limit: usize) -> Result<Found, Problem> {
    let Wanted {
        text,
        connection,
        paused,
        after,
    } = wanted;
    let (connections, mut people) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let connections = settings::load(conn)?.connections;
            let known = connections
                .iter()
                .find(|c| c.settings.name == connection)
                .map(|c| c.id.clone());
            let people = if known.is_none() && !connection.is_empty() {
                Vec::new()
            } else {
                let query = Query {
                    text,
                    connection: known,
                    paused,
                    after,
                };
                // One more tells whether there is a next page.
                people::page(conn, &query, limit as i64 + 1)?
            };
            let names = connections.into_iter().map(|c| c.settings.name).collect();
            Ok((names, people))
        })
        .await?;
    let more = people.len() > limit;
    people.truncate(limit);
    let next = people
        .last()
        .filter(|_| more)
        .map(|last| format!("{} {}", last.user_name_ci, last.id));
    Ok(Found {
        people,
        connections,
        next,
    })
}

/// Does something about one person, of whom the connection is known, and has the engine see to it.
async fn act_on(
    state: &State,
    user: UserId,
    mut act: impl FnMut(&mut Tx<'_>, &ConnectionId, &UserId) -> Result<(), store::Error>
    + Send
    + 'static,
) -> Result<(), Problem> {
    let known = state
        .store
        .write(move |tx| -> Result<bool, store::Error> {
            let Some((connection, _)) = users::find(tx.conn(), &user)? else {
                tx.discard();
                return Ok(false);
            };
            act(tx, &connection, &user)?;
            Ok(true)
        })
        .await?;
    if !known {
        return Err(Problem::new(404, "nobody has this id (any more)"));
    }
    state.intake.wake();
    Ok(())
}

/// Stops what is written for one person.
pub(super) async fn pause(
    state: &State,
    actor: &Actor,
    user: UserId,
    reason: Option<String>,
    through: &'static str,
) -> Result<(), Problem> {
    let stop = Pause {
        at: state.clock.now(),
        by: actor.name.clone(),
        reason: reason.filter(|reason| !reason.trim().is_empty()),
    };
    act_on(state, user, move |tx, _, user| {
        pause::pause_user(tx, user, &stop, through).map(|_| ())
    })
    .await
}

/// Lets one person go on.
pub(super) async fn resume(
    state: &State,
    actor: &Actor,
    user: UserId,
    through: &'static str,
) -> Result<(), Problem> {
    let act = Pause {
        at: state.clock.now(),
        by: actor.name.clone(),
        reason: None,
    };
    act_on(state, user, move |tx, _, user| {
        pause::resume_user(tx, user, &act, through).map(|_| ())
    })
    .await
}

/// Has one person looked at again at every target, now.
pub(super) async fn look_again(
    state: &State,
    actor: &Actor,
    user: UserId,
    through: &'static str,
) -> Result<(), Problem> {
    let now = state.clock.now();
    let name = actor.name.clone();
    act_on(state, user, move |tx, connection, user| {
        let cause = format!("{name} asked for it");
        work::mark(tx, connection, user, work::Priority::Push, &cause, now)?;
        let detail = serde_json::json!({});
        let act = NewAudit {
            connection_id: Some(connection.clone()),
            user_id: Some(user.clone()),
            ..NewAudit::act(now, &name, "retry", &detail, through)
        };
        audit::append(tx, &act)
    })
    .await
}
