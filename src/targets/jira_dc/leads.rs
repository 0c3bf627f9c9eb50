//! Handing over what a person leads. Jira refuses to deactivate the lead of a project or component, and names only
//! one kind of the two, so everything the person leads is looked up and given to the successors, all or nothing:
//! before the first write it is known who takes over each part, and that they are there and active.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::wire::{Component, Page, Project, User};
use super::{JiraDc, Who};
use crate::domain::{Failure, LeadSuccessors};
use crate::outbound::{Response, segment};
use crate::targets::atlassian::Words;
use crate::targets::same;

/// Jira cuts the list of projects into no pages: about 1 KiB each.
const PROJECTS_LIMIT: usize = 64 * 1024 * 1024;

/// Components asked for at once.
const COMPONENTS_PAGE: usize = 500;

/// Where the components that somebody leads are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// All of the instance, in pages, at a cost that does not depend on the number of projects.
    All,
    /// In the projects that Jira names in its refusal: finds what the pages leave out, such as archived components.
    Named,
}

/// Tried in this order while Jira refuses.
pub(super) const ROUNDS: [Round; 2] = [Round::All, Round::Named];

/// Something to be written.
struct Handover {
    path: String,
    field: &'static str,
    to: String,
    /// What, in words.
    what: String,
}

/// Jira's words, if it refuses because of something the person leads. It says so at the field `active`, and at no
/// other occasion.
pub(super) fn refusal(response: &Response) -> Option<String> {
    let words = Words::of(response).filter(|_| response.status == 400)?;
    (words.field.as_deref() == Some("active")).then_some(words.text)
}

/// Gives everything that `leaver` leads to the successors. Returns one line for each write.
pub(super) async fn hand_over(
    jira: &JiraDc,
    leaver: &User,
    successors: &LeadSuccessors,
    words: &str,
    round: Round,
) -> Result<Vec<String>, Failure> {
    let refuse = |text: String| Failure::Rejected {
        field: Some("active".to_owned()),
        text,
    };
    let plan = plan(jira, leaver, successors, words, round).await?;
    if plan.is_empty() {
        return Err(refuse(format!(
            "{words} (Usher's account sees no project or component that {} leads: give it the right to browse all \
             projects, or hand them over by hand)",
            leaver.name
        )));
    }
    let takers: BTreeSet<&str> = plan.iter().map(|h| h.to.as_str()).collect();
    for taker in takers {
        check_successor(jira, leaver, taker)
            .await
            .map_err(|e| match e {
                Problem::Failure(failure) => failure,
                Problem::Words(why) => refuse(format!("{words} ({why})")),
            })?;
    }
    let mut notes = Vec::with_capacity(plan.len());
    for handover in plan {
        let body = json!({ handover.field: handover.to });
        let outcome = match jira.rest.put(&handover.path, &[], body).await {
            Ok(response) if response.is_success() => Ok(()),
            Ok(response) => Err(in_context(jira.refusal(&response).await, &handover)),
            Err(failure) => Err(failure),
        };
        outcome.map_err(|failure| super::with_notes(failure, &notes))?;
        notes.push(format!(
            "{} handed over from {} to {}",
            handover.what, leaver.name, handover.to
        ));
    }
    Ok(notes)
}

/// Who takes over what.
async fn plan(
    jira: &JiraDc,
    leaver: &User,
    successors: &LeadSuccessors,
    words: &str,
    round: Round,
) -> Result<Vec<Handover>, Failure> {
    let refuse = |what: String, setting: &str| Failure::Rejected {
        field: Some("active".to_owned()),
        text: format!("{words} ({} leads {what}: set {setting})", leaver.name),
    };
    // Who leads each project once the plan is done: the default for its components.
    let mut leads: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut plan = Vec::new();
    for project in projects(jira).await? {
        if !project.lead.as_ref().is_some_and(|l| l.is(leaver)) {
            leads.insert(project.key, project.lead.and_then(|l| l.name));
            continue;
        }
        let Some(to) = &successors.project else {
            return Err(refuse(
                format!("project {}", project.key),
                "default_project_lead",
            ));
        };
        plan.push(Handover {
            path: format!("/project/{}", segment(&project.key)),
            field: "lead",
            to: to.clone(),
            what: format!("project {}", project.key),
        });
        leads.insert(project.key, Some(to.clone()));
    }
    for component in components(jira, leaver, words, round, &leads).await? {
        let heir = leads.get(&component.project).and_then(Option::as_ref);
        let Some(to) = successors.component.as_ref().or(heir) else {
            let what = format!("component {} of {}", component.name, component.project);
            return Err(refuse(what, "default_component_lead"));
        };
        if successors.component.is_none() && same(to, &leaver.name) {
            let what = format!("component {} of {}", component.name, component.project);
            return Err(refuse(what, "default_component_lead"));
        }
        plan.push(Handover {
            path: format!("/component/{}", segment(&component.id)),
            field: "leadUserName",
            to: to.clone(),
            what: format!("component {} of {}", component.name, component.project),
        });
    }
    Ok(plan)
}

async fn projects(jira: &JiraDc) -> Result<Vec<Project>, Failure> {
    let query = [("expand", "lead"), ("includeArchived", "true")];
    let response = jira
        .rest
        .get_long("/project", &query, PROJECTS_LIMIT)
        .await?;
    if response.is_success() {
        response.json()
    } else {
        Err(jira.refusal(&response).await)
    }
}

async fn components(
    jira: &JiraDc,
    leaver: &User,
    words: &str,
    round: Round,
    projects: &BTreeMap<String, Option<String>>,
) -> Result<Vec<Component>, Failure> {
    // Data, not prose: whatever the language of Jira's words, project keys in them are project keys.
    let in_words: BTreeSet<&str> = words
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let named = projects
        .keys()
        .filter(|key| in_words.contains(key.as_str()));
    let named: Vec<&String> = named.collect();
    if round == Round::Named {
        return in_projects(jira, leaver, &named).await;
    }
    match in_pages(jira, leaver).await? {
        Some(found) => Ok(found),
        None if named.is_empty() => {
            in_projects(jira, leaver, &projects.keys().collect::<Vec<_>>()).await
        }
        None => in_projects(jira, leaver, &named).await,
    }
}

/// `None`: this Jira is too old to list components in pages.
async fn in_pages(jira: &JiraDc, leaver: &User) -> Result<Option<Vec<Component>>, Failure> {
    let size = COMPONENTS_PAGE.to_string();
    let (mut found, mut start) = (Vec::new(), 0);
    loop {
        let at = start.to_string();
        let query = [("startAt", at.as_str()), ("maxResults", &size)];
        let response = jira.rest.get("/component/page", &query).await?;
        match response.status {
            200 => {}
            // There `page` is taken for the number of a component.
            400 | 404 | 405 if start == 0 => return Ok(None),
            _ => return Err(jira.refusal(&response).await),
        }
        let page: Page<Component> = response.json()?;
        let received = page.values.len();
        found.extend(led_by(leaver, page.values));
        if page.is_last || received == 0 {
            return Ok(Some(found));
        }
        start += received;
    }
}

async fn in_projects(
    jira: &JiraDc,
    leaver: &User,
    projects: &[&String],
) -> Result<Vec<Component>, Failure> {
    let mut found = Vec::new();
    for &key in projects {
        let path = format!("/project/{}/components", segment(key));
        let response = jira.rest.get(&path, &[]).await?;
        match response.status {
            200 => {
                let all: Vec<Component> = response.json()?;
                found.extend(led_by(leaver, all).map(|mut component| {
                    component.project.clone_from(key);
                    component
                }));
            }
            // Deleted in the meantime.
            404 => jira.rest.absent(&response)?,
            _ => return Err(jira.refusal(&response).await),
        }
    }
    Ok(found)
}

fn led_by(leaver: &User, components: Vec<Component>) -> impl Iterator<Item = Component> {
    components
        .into_iter()
        .filter(|c| c.lead.as_ref().is_some_and(|l| l.is(leaver)))
}

enum Problem {
    Failure(Failure),
    Words(String),
}

async fn check_successor(jira: &JiraDc, leaver: &User, taker: &str) -> Result<(), Problem> {
    let why = match jira
        .user(Who::Name(taker))
        .await
        .map_err(Problem::Failure)?
    {
        None => format!("the successor {taker} does not exist"),
        Some(user) if !user.active => format!("the successor {taker} is inactive"),
        Some(user) if user.key == leaver.key => format!("{taker} cannot succeed itself"),
        Some(_) => return Ok(()),
    };
    Err(Problem::Words(why))
}

fn in_context(failure: Failure, handover: &Handover) -> Failure {
    let (to, what) = (&handover.to, &handover.what);
    let said = format!("{what} could not be handed over to {to}: {failure}");
    match failure {
        // Only a record is concerned: the leaver is there, whatever of the project is not.
        Failure::Rejected { field, .. } => Failure::Rejected { field, text: said },
        Failure::Gone { .. } => Failure::Rejected {
            field: None,
            text: said,
        },
        other => other,
    }
}
