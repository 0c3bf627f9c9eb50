//! Paths under `/__emulator/` by which a client in another language looks behind the emulated
//! Bitbucket: `GET state`, `GET requests`, `DELETE requests`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::bitbucket::state::State;
use crate::bitbucket::{Core, shown};
use crate::server::{Answer, Front, Request};

/// Answers a control request; none if it is not one.
pub(crate) fn answer(core: &Core, front: &Arc<Front>, request: &Request) -> Option<Answer> {
    let what = request.path.strip_prefix("/__emulator/")?;
    let value = match (request.method.as_str(), what) {
        ("GET", "state") => picture(&core.state()),
        ("GET", "requests") => json!(front.requests()),
        ("DELETE", "requests") => {
            front.clear_requests();
            Value::Null
        }
        _ => {
            return Some(Answer::json(
                404,
                &json!({ "error": "no such control path" }),
            ));
        }
    };
    Some(Answer::json(200, &value))
}

fn picture(state: &State) -> Value {
    let users: Vec<Value> = state
        .users_by_name()
        .map(|user| json!(shown(state, user)))
        .collect();
    let groups: BTreeMap<&str, Vec<&str>> = state
        .groups
        .values()
        .map(|group| {
            let members = state.members_of(&group.name);
            let names = members.into_iter().map(|user| user.name.as_str());
            (group.name.as_str(), names.collect())
        })
        .collect();
    json!({ "users": users, "groups": groups, "creations": state.creations })
}
