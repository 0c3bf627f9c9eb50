//! What a client in another language sees of what the emulated Confluence holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::confluence::shown;
use crate::confluence::state::State;

pub(crate) fn picture(state: &State) -> Value {
    let users: Vec<_> = state
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
    json!({
        "users": users,
        "groups": groups,
        "creations": state.creations,
        "creation_attempts": state.creation_attempts,
        "group_creations": state.group_creations,
    })
}
