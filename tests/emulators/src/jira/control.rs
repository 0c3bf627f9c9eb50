//! Paths under `/__emulator/` by which another process steers the emulated Jira.
//!
//! | request | body | what it does |
//! | --- | --- | --- |
//! | `GET state` | | accounts, groups with members, projects, components |
//! | `GET requests`, `DELETE requests` | | the record; forget it |
//! | `POST fault` | `{"kind":"status","status":429,"retry_after":"1","rate_headers":true,"only":"writes","times":3}` | orders a fault; other kinds: `hang` and `slow` with `ms`, `drop-before`, `drop-after`, `garbage`; `only`: `any`, `writes`, `reads` or `{"path":"/group","method":"POST"}` |
//! | `DELETE fault` | | takes back all ordered faults |
//! | `POST chaos` | `{"seed":7}` or `null` | starts or ends chaos |
//! | `POST down` | `{"ms":3000}` | refuses connections for that long |
//! | `POST seed` | `{"users":[{"name","display_name","email"}],"groups":[],"members":{"group":["user"]},"projects":[{"key","lead","components":[{"name","lead"}]}],"read_only":[]}` | puts things there |
//! | `POST edit` | `{"user":"ada","name","display_name","email","active","groups"}` | as a person in the UI |
//! | `POST remove` | `{"user":"ada"}` or `{"group":"dev"}` | as a person in the UI |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::{Chaos, Fault, FaultKind, Only};
use crate::jira::state::State;
use crate::jira::{Core, apply_edit, id_of, mutable, seed_member, seed_project, seed_user, shown};
use crate::server::{Answer, Front, Request};

/// Answers a control request; none if it is not one.
pub(crate) fn answer(core: &Core, front: &Arc<Front>, request: &Request) -> Option<Answer> {
    let what = request.path.strip_prefix("/__emulator/")?;
    let outcome = match (request.method.as_str(), what) {
        ("GET", "state") => Ok(picture(&core.state())),
        ("GET", "requests") => Ok(json!(front.requests())),
        ("DELETE", "requests") => {
            front.clear_requests();
            Ok(Value::Null)
        }
        ("POST", "fault") => order(front, request),
        ("DELETE", "fault") => {
            front.faults().clear();
            Ok(Value::Null)
        }
        ("POST", "chaos") => read::<Option<ChaosOrder>>(request).map(|order| {
            front
                .faults()
                .set_chaos(order.map(|order| Chaos::new(order.seed)));
            Value::Null
        }),
        ("POST", "down") => read::<Outage>(request).map(|outage| {
            front.outage(Duration::from_millis(outage.ms));
            Value::Null
        }),
        ("POST", "seed") => read::<Seed>(request)
            .and_then(|seed| core.try_change(false, |state| plant(state, &seed)))
            .map(|()| Value::Null),
        ("POST", "edit") => read::<Edit>(request)
            .and_then(|change| core.try_change(true, |state| edit(state, change)))
            .map(|()| Value::Null),
        ("POST", "remove") => read::<Removal>(request)
            .and_then(|removal| core.try_change(true, |state| remove(state, &removal)))
            .map(|()| Value::Null),
        _ => {
            return Some(Answer::json(
                404,
                &json!({ "error": "no such control path" }),
            ));
        }
    };
    Some(match outcome {
        Ok(value) => Answer::json(200, &value),
        Err(reason) => Answer::json(400, &json!({ "error": reason })),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    kind: String,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    retry_after: Option<String>,
    #[serde(default)]
    rate_headers: bool,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    only: OnlyOrder,
    #[serde(default)]
    times: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OnlyOrder {
    Word(String),
    Path {
        path: String,
        method: Option<String>,
    },
}

impl Default for OnlyOrder {
    fn default() -> Self {
        Self::Word("any".into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChaosOrder {
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Seed {
    users: Vec<SeedUser>,
    groups: Vec<String>,
    members: BTreeMap<String, Vec<String>>,
    projects: Vec<SeedProject>,
    read_only: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedUser {
    name: String,
    display_name: String,
    email: String,
    #[serde(default)]
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedProject {
    key: String,
    lead: String,
    #[serde(default)]
    components: Vec<SeedComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedComponent {
    name: String,
    #[serde(default)]
    lead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    user: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Removal {
    user: Option<String>,
    group: Option<String>,
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
}

fn order(front: &Front, request: &Request) -> Result<Value, String> {
    let order: FaultOrder = read(request)?;
    let wait = Duration::from_millis(order.ms);
    let kind = match order.kind.as_str() {
        "status" => FaultKind::Status {
            status: order.status.ok_or("a status is needed")?,
            retry_after: order.retry_after,
            rate_headers: order.rate_headers,
        },
        "hang" => FaultKind::Hang(wait),
        "slow" => FaultKind::Slow(wait),
        "drop-before" => FaultKind::DropBefore,
        "drop-after" => FaultKind::DropAfter,
        "garbage" => FaultKind::Garbage,
        other => return Err(format!("no fault of kind {other}")),
    };
    let only = match order.only {
        OnlyOrder::Word(word) => match word.as_str() {
            "any" => Only::Any,
            "writes" => Only::Writes,
            "reads" => Only::Reads,
            other => return Err(format!("cannot strike only {other}")),
        },
        OnlyOrder::Path { path, method: None } => Only::Path(path),
        OnlyOrder::Path {
            path,
            method: Some(method),
        } => Only::MethodPath(method, path),
    };
    front.faults().add(Fault {
        kind,
        only,
        times: order.times.unwrap_or(1),
    });
    Ok(Value::Null)
}

fn picture(state: &State) -> Value {
    let users: Vec<_> = state
        .users_by_name()
        .map(|user| json!(shown(state, user)))
        .collect();
    let groups: BTreeMap<&str, Vec<&str>> = state
        .groups
        .values()
        .map(|group| {
            let members = group.members.iter().filter_map(|name| state.user(name));
            (
                group.name.as_str(),
                members.map(|user| user.name.as_str()).collect(),
            )
        })
        .collect();
    let name = |id: &u64| state.users.get(id).map(|user| user.name.clone());
    let projects: BTreeMap<&str, Value> = state
        .projects
        .values()
        .map(|project| {
            let of_it = state
                .components
                .values()
                .filter(|it| it.project == project.id);
            let components: BTreeMap<&str, Option<String>> = of_it
                .map(|it| (it.name.as_str(), it.lead.as_ref().and_then(name)))
                .collect();
            let picture = json!({ "lead": name(&project.lead), "components": components });
            (project.key.as_str(), picture)
        })
        .collect();
    json!({
        "users": users,
        "groups": groups,
        "projects": projects,
        "creations": state.creations,
        "creation_attempts": state.creation_attempts,
        "group_creations": state.group_creations,
    })
}

fn plant(state: &mut State, seed: &Seed) -> Result<(), String> {
    for user in &seed.users {
        seed_user(state, &user.name, &user.display_name, &user.email)?;
        mutable(state, &user.name)?
            .password
            .clone_from(&user.password);
    }
    for group in &seed.groups {
        state.create_group(group);
    }
    for (group, members) in &seed.members {
        for member in members {
            seed_member(state, group, member)?;
        }
    }
    for project in &seed.projects {
        let components: Vec<(&str, &str)> = project
            .components
            .iter()
            .map(|it| (it.name.as_str(), it.lead.as_str()))
            .collect();
        seed_project(state, &project.key, &project.lead, &components)?;
    }
    for user in &seed.read_only {
        mutable(state, user)?.read_only = true;
    }
    Ok(())
}

fn edit(state: &mut State, change: Edit) -> Result<(), String> {
    let user = state
        .user(&change.user)
        .ok_or_else(|| format!("no account {}", change.user))?;
    let mut wanted = shown(state, user);
    wanted.name = change.name.unwrap_or(wanted.name);
    wanted.display_name = change.display_name.unwrap_or(wanted.display_name);
    wanted.email = change.email.unwrap_or(wanted.email);
    wanted.active = change.active.unwrap_or(wanted.active);
    wanted.groups = change.groups.unwrap_or(wanted.groups);
    apply_edit(state, &change.user, &wanted)
}

fn remove(state: &mut State, removal: &Removal) -> Result<(), String> {
    if let Some(user) = &removal.user {
        let id = id_of(state, user)?;
        if !state.led_projects(id).is_empty() || !state.led_components(id).is_empty() {
            return Err(format!("{user} leads a project or a component"));
        }
        state.delete_user(id);
    }
    if let Some(group) = &removal.group {
        state.delete_group(group);
    }
    Ok(())
}
