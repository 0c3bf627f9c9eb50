//! Calls about projects and components, as far as their leads matter.

use serde_json::{Value, json};

use crate::jira::beans::{invalid_field, refused};
use crate::jira::routes::{Call, Outcome, text};
use crate::jira::state::{Component, Project, fold};
use crate::server::Answer;

const PROJECT_MEMBERS: [&str; 13] = [
    "assigneeType",
    "avatarId",
    "categoryId",
    "description",
    "issueSecurityScheme",
    "key",
    "lead",
    "name",
    "notificationScheme",
    "permissionScheme",
    "projectTemplateKey",
    "projectTypeKey",
    "url",
];
const COMPONENT_MEMBERS: [&str; 10] = [
    "archived",
    "assigneeType",
    "deleted",
    "description",
    "id",
    "lead",
    "leadUserName",
    "name",
    "project",
    "self",
];

/// All projects; the lead only with `expand=lead`, archived ones only when asked for.
pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    call.caller()?;
    let expand = call.param("expand").unwrap_or_default();
    let with_lead = expand.split(',').any(|part| part.trim() == "lead");
    let archived_too = call.flag("includeArchived", false);
    let beans = call.beans();
    let shown = call
        .state
        .projects
        .values()
        .filter(|project| archived_too || !project.archived);
    let mut shown: Vec<&Project> = shown.collect();
    shown.sort_by_key(|project| fold(&project.name));
    let list: Vec<_> = shown
        .into_iter()
        .map(|project| beans.project(project, with_lead, false))
        .collect();
    Ok(Answer::json(200, &json!(list)))
}

pub(crate) fn get(call: &mut Call<'_>, id: &str) -> Outcome {
    call.caller()?;
    let project = named(call, id)?;
    Ok(Answer::json(
        200,
        &call.beans().project(project, true, true),
    ))
}

pub(crate) fn update(call: &mut Call<'_>, id: &str) -> Outcome {
    call.admin()?;
    let body = call.body(&PROJECT_MEMBERS)?;
    let project = named(call, id)?.clone();
    let lead = match text(&body, "lead")? {
        None => None,
        Some(name) => match call.state.user(&name) {
            Some(user) => Some((user.id, user.name.clone())),
            None => {
                let message = "The user you have specified as project lead does not exist.";
                return Err(invalid_field("projectLead", message));
            }
        },
    };
    let name = text(&body, "name")?;
    let description = text(&body, "description")?;
    let assignee_type = text(&body, "assigneeType")?;
    let Some(stored) = call.state.projects.get_mut(&project.id) else {
        return Err(Answer::empty(500));
    };
    let mut events = Vec::new();
    if let Some((id, lead)) = lead.filter(|(id, _)| *id != stored.lead) {
        stored.lead = id;
        events.push(format!("project {}: the lead is now {lead}", stored.key));
    }
    for (value, place, what) in [
        (name, &mut stored.name, "name"),
        (description, &mut stored.description, "description"),
        (assignee_type, &mut stored.assignee_type, "default assignee"),
    ] {
        if let Some(value) = value.filter(|value| value != place) {
            *place = value;
            events.push(format!("project {}: {what} changed", project.key));
        }
    }
    events.into_iter().for_each(|event| call.state.tell(event));
    get(call, id)
}

pub(crate) fn components(call: &mut Call<'_>, id: &str) -> Outcome {
    call.caller()?;
    let project = named(call, id)?.id;
    Ok(Answer::json(200, &call.beans().components_of(project)))
}

pub(crate) fn component(call: &mut Call<'_>, id: &str) -> Outcome {
    call.caller()?;
    let component = numbered(call, id)?;
    Ok(Answer::json(200, &call.beans().component(component)))
}

pub(crate) fn component_page(call: &mut Call<'_>) -> Outcome {
    call.caller()?;
    let (start, count) = (call.number("startAt", 0)?, call.number("maxResults", 100)?);
    let query = fold(call.param("query").unwrap_or_default());
    let projects: Vec<u64> = call
        .param("projectIds")
        .map(|ids| {
            ids.split(',')
                .filter_map(|id| id.trim().parse().ok())
                .collect()
        })
        .unwrap_or_default();
    let found: Vec<&Component> = call
        .state
        .components
        .values()
        .filter(|it| projects.is_empty() || projects.contains(&it.project))
        .filter(|it| fold(&it.name).contains(&query))
        .collect();
    let beans = call.beans();
    let page = found
        .iter()
        .skip(start)
        .take(count)
        .map(|it| beans.component(it));
    let values: Vec<Value> = page.collect();
    let next = start + values.len();
    let mut answer = json!({
        "self": call.link_to_this_page(start, count),
        "maxResults": count,
        "startAt": start,
        "total": found.len(),
        "isLast": next >= found.len(),
        "values": values,
    });
    if next < found.len() {
        answer["nextPage"] = json!(call.link_to_this_page(next, count));
    }
    Ok(Answer::json(200, &answer))
}

pub(crate) fn update_component(call: &mut Call<'_>, id: &str) -> Outcome {
    call.admin()?;
    let body = call.body(&COMPONENT_MEMBERS)?;
    let component = numbered(call, id)?.id;
    // An empty name clears the lead: unconfirmed.
    let lead = match text(&body, "leadUserName")?.as_deref() {
        None => None,
        Some("") => Some((None, "nobody".to_owned())),
        Some(name) => match call.state.user(name) {
            Some(user) => Some((Some(user.id), user.name.clone())),
            None => {
                let message = format!("The user {name} does not exist.");
                return Err(invalid_field("leadUserName", &message));
            }
        },
    };
    let name = text(&body, "name")?;
    let description = text(&body, "description")?;
    let assignee_type = text(&body, "assigneeType")?;
    let Some(stored) = call.state.components.get_mut(&component) else {
        return Err(Answer::empty(500));
    };
    let mut events = Vec::new();
    if let Some((id, lead)) = lead.filter(|(id, _)| *id != stored.lead) {
        stored.lead = id;
        events.push(format!("component {}: the lead is now {lead}", stored.name));
    }
    if let Some(name) = name.filter(|name| *name != stored.name) {
        events.push(format!("component {} renamed to {name}", stored.name));
        stored.name = name;
    }
    if description.is_some() && description != stored.description {
        stored.description = description;
        events.push(format!("component {}: description changed", stored.name));
    }
    if let Some(assignee_type) = assignee_type.filter(|it| *it != stored.assignee_type) {
        stored.assignee_type = assignee_type;
        events.push(format!(
            "component {}: default assignee changed",
            stored.name
        ));
    }
    events.into_iter().for_each(|event| call.state.tell(event));
    self::component(call, id)
}

fn named<'a>(call: &'a Call<'_>, id: &str) -> Result<&'a Project, Answer> {
    call.state
        .project(id)
        .ok_or_else(|| refused(404, &format!("No project could be found with key '{id}'.")))
}

fn numbered<'a>(call: &'a Call<'_>, id: &str) -> Result<&'a Component, Answer> {
    let component = id
        .parse()
        .ok()
        .and_then(|id: u64| call.state.components.get(&id));
    component.ok_or_else(|| refused(404, &format!("The component with id {id} does not exist.")))
}
