//! What a client in another language sees of what the emulated Bitbucket holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bitbucket::shown;
use crate::bitbucket::state::State;

pub(crate) fn picture(state: &State) -> Value {
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
