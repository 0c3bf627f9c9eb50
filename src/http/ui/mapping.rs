//! A mapping: its *User sync* and *Group sync* settings as a form, with what they come to for somebody.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::edit::{self, Edit};
use super::super::problem::Problem;
use super::configuration::{Trial, trial_of};
use super::connections::{attribute, attribute_line};
use super::form::{self, Fields};
use super::{Frame, html, see_other};
use crate::auth::seat::Actor;
use crate::config::span_text;
use crate::converge::{Outlook, Scope};
use crate::domain::{
    Brake, Brakes, ExistingGroups, GroupRules, ManualRule, MappingSettings, MatchKey, Mode,
    OnDelete, Operation, RewriteRule, Role, Share, SourceNames, UserRules,
};

/// As the audit names this page.
const THROUGH: &str = "the page of the mapping";
/// How many rows for further rules the form offers.
const SPARE: usize = 2;
/// How long a preview of one person may take.
const PATIENCE: Duration = Duration::from_secs(15);

const OPERATIONS: &[(&str, Operation, &str)] = &[
    ("create", Operation::Create, "create accounts"),
    ("update", Operation::Update, "update names and addresses"),
    ("rename", Operation::Rename, "rename accounts"),
    ("deactivate", Operation::Deactivate, "deactivate accounts"),
    ("reactivate", Operation::Reactivate, "reactivate accounts"),
    ("delete", Operation::Delete, "delete accounts"),
];

const ON_DELETE: &[(&str, &str)] = &[
    ("deactivate", "deactivate the account and keep it"),
    (
        "remove-groups",
        "take it out of the groups that Usher put it in",
    ),
    ("delete", "delete it"),
    ("keep", "leave it as it is"),
];

/// What becomes of accounts that somebody changed at the target by hand.
const ON_DRIFT: &[(&str, &str)] = &[
    ("ask", "show it, and let a person decide"),
    ("push", "make it again what the source and the rules want"),
    ("accept", "leave it until the source says something new"),
];

/// The brakes: name of the fields, title, whether it is about groups.
const BRAKES: &[(&str, &str)] = &[
    ("deactivations", "Deactivations"),
    ("deletions", "Deletions"),
    ("membership_removals", "Removals from groups"),
];

/// A row of manual rules.
struct Manual {
    pattern: bool,
    from: String,
    to: String,
    keep: bool,
    fly: bool,
}

/// A brake as text.
struct BrakeRow {
    key: &'static str,
    title: &'static str,
    on: bool,
    count: u32,
    percent: f64,
    at_least: u32,
    window: String,
    group_size: u32,
}

/// What the form shows.
struct Form {
    settings: MappingSettings,
    match_email: bool,
    match_username: bool,
    /// Word, title and whether it is on.
    operations: Vec<(&'static str, &'static str, bool)>,
    on_delete: String,
    delete_after: String,
    manual: Vec<Manual>,
    rewrite: Vec<(String, String)>,
    attributes: String,
    brakes: Vec<BrakeRow>,
    mode: String,
    drift: String,
}

impl Form {
    fn of(settings: MappingSettings) -> Self {
        let users = &settings.users;
        let groups = &settings.groups;
        let mut manual: Vec<Manual> = groups
            .manual
            .iter()
            .map(|rule| {
                let (pattern, from) = match &rule.source {
                    SourceNames::From(name) => (false, name.clone()),
                    SourceNames::Matching(pattern) => (true, pattern.clone()),
                };
                Manual {
                    pattern,
                    from,
                    to: rule.to.join(", "),
                    keep: rule.keep_members,
                    fly: rule.also_on_the_fly,
                }
            })
            .collect();
        manual.extend((0..SPARE).map(|_| Manual {
            pattern: false,
            from: String::new(),
            to: String::new(),
            keep: true,
            fly: false,
        }));
        let rewrite = groups
            .rewrite
            .iter()
            .map(|rule| (rule.from.clone(), rule.to.clone()));
        let spare = std::iter::repeat_n((String::new(), String::new()), SPARE);
        let brake = |key: &str| match key {
            "deactivations" => (
                settings.brakes.deactivations,
                Brakes::default().deactivations,
            ),
            "deletions" => (settings.brakes.deletions, Brakes::default().deletions),
            _ => (
                settings.brakes.membership_removals,
                Brakes::default().membership_removals,
            ),
        };
        let brakes = BRAKES.iter().filter_map(|(key, title)| {
            let (present, default) = brake(key);
            let shown = present.or(default)?;
            Some(BrakeRow {
                key,
                title,
                on: present.is_some(),
                count: shown.count,
                percent: shown.share.percent(),
                at_least: shown.at_least,
                window: span_text(shown.window_s),
                group_size: shown.group_size,
            })
        });
        Self {
            match_email: users.match_by.contains(&MatchKey::Email),
            match_username: users.match_by.contains(&MatchKey::Username),
            operations: OPERATIONS
                .iter()
                .map(|(word, operation, title)| {
                    (*word, *title, users.operations.contains(operation))
                })
                .collect(),
            on_delete: form::word(&users.on_delete),
            delete_after: users.delete_after_s.map(span_text).unwrap_or_default(),
            manual,
            rewrite: rewrite.chain(spare).collect(),
            attributes: groups
                .group_attributes
                .iter()
                .map(attribute_line)
                .collect::<Vec<_>>()
                .join("\n"),
            brakes: brakes.collect(),
            mode: form::word(&settings.mode),
            drift: form::word(&settings.drift),
            settings,
        }
    }
}

/// The settings that somebody typed.
fn settings(fields: &Fields) -> Result<MappingSettings, Problem> {
    let mut match_by = Vec::new();
    if fields.ticked("match_username") {
        match_by.push(MatchKey::Username);
    }
    if fields.ticked("match_email") {
        match_by.push(MatchKey::Email);
    }
    let default = UserRules::default();
    let on_delete: OnDelete = fields.word("on_delete")?;
    let operations = OPERATIONS
        .iter()
        .filter(|(word, ..)| fields.all("operations").any(|ticked| ticked == *word));
    let users = UserRules {
        scope: fields.text("scope"),
        username: fields.text("username").unwrap_or(default.username),
        display_name: fields.text("display_name").unwrap_or(default.display_name),
        email: fields.text("email").unwrap_or(default.email),
        match_by,
        adopt: fields.ticked("adopt"),
        operations: operations.map(|(_, operation, _)| *operation).collect(),
        on_delete,
        delete_after_s: match fields.seconds("delete_after", 0)? {
            0 => None,
            seconds => Some(seconds),
        },
        protect: fields.lines("protect_users"),
        default_project_lead: fields.text("default_project_lead"),
        default_component_lead: fields.text("default_component_lead"),
    };
    let groups = GroupRules {
        only: fields.lines("only"),
        manual: manual(fields),
        on_the_fly: fields.ticked("on_the_fly"),
        create_missing: fields.ticked("create_missing"),
        existing_groups: if fields.ticked("skip_existing") {
            ExistingGroups::Skip
        } else {
            ExistingGroups::Adopt
        },
        allow: fields.lines("allow"),
        deny: fields.lines("deny"),
        rewrite: fields
            .all("rewrite_from")
            .zip(fields.all("rewrite_to"))
            .filter(|(from, _)| !from.is_empty())
            .map(|(from, to)| RewriteRule {
                from: from.to_owned(),
                to: to.to_owned(),
            })
            .collect(),
        keep_existing: fields.ticked("keep_existing"),
        protect: fields.lines("protect_groups"),
        for_all: fields.lines("for_all"),
        for_new: fields.lines("for_new"),
        group_attributes: fields
            .lines("group_attributes")
            .iter()
            .map(|line| attribute(line))
            .collect(),
    };
    Ok(MappingSettings {
        mode: fields.word("mode")?,
        live_for: match fields.word("mode")? {
            Mode::Live => Vec::new(),
            Mode::Shadow | Mode::Paused => fields.lines("live_for"),
        },
        drift: fields.word("drift")?,
        users,
        groups,
        brakes: Brakes {
            deactivations: brake(fields, "deactivations")?,
            deletions: brake(fields, "deletions")?,
            membership_removals: brake(fields, "membership_removals")?,
        },
    })
}

fn manual(fields: &Fields) -> Vec<ManualRule> {
    let columns = fields
        .all("manual_kind")
        .zip(fields.all("manual_from"))
        .zip(fields.all("manual_to"))
        .zip(fields.all("manual_keep"))
        .zip(fields.all("manual_fly"));
    columns
        .map(|((((kind, from), to), keep), fly)| ManualRule {
            source: match kind {
                "matching" => SourceNames::Matching(from.to_owned()),
                _ => SourceNames::From(from.to_owned()),
            },
            to: to
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            keep_members: keep != "no",
            also_on_the_fly: fly == "yes",
        })
        .filter(|rule| match &rule.source {
            SourceNames::From(from) | SourceNames::Matching(from) => !from.is_empty(),
        })
        .collect()
}

fn brake(fields: &Fields, key: &str) -> Result<Option<Brake>, Problem> {
    if !fields.ticked(&format!("{key}_on")) {
        return Ok(None);
    }
    let field = |part: &str| format!("{key}_{part}");
    let percent: f64 = fields
        .get(&field("percent"))
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| form::wrong(&field("percent"), "should be a number from 0 to 100"))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within 0 and 10,000"
    )]
    let share = Share::new((percent * 100.0).round() as u32);
    Ok(Some(Brake {
        count: fields.number(&field("count"), 0)?,
        share,
        at_least: fields.number(&field("at_least"), 0)?,
        window_s: fields.seconds(&field("window"), 3600)?,
        group_size: fields.number(&field("group_size"), 0)?,
    }))
}

/// What the settings come to for one person.
struct Preview {
    /// Whom somebody chose.
    person: String,
    outlook: Option<Outlook>,
    /// Why there is none.
    why: Option<String>,
}

#[derive(Template)]
#[template(path = "mapping.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    connection: String,
    target: String,
    form: Form,
    mistakes: Vec<String>,
    preview: Preview,
    trial: Option<Trial>,
    /// Some names to try.
    known: bool,
    may_administer: bool,
}

impl Page {
    fn new(actor: Actor, (connection, target): (String, String), form: Form, known: bool) -> Self {
        Self {
            may_administer: actor.role.includes(Role::Administrator),
            frame: Frame::new(format!("{connection} → {target}"), "/targets", actor),
            connection,
            target,
            form,
            mistakes: Vec::new(),
            preview: Preview {
                person: String::new(),
                outlook: None,
                why: None,
            },
            trial: None,
            known,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    said: String,
}

type Names = web::Path<(String, String)>;

/// `GET /mappings/{connection}/{target}`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    names: Names,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let names = names.into_inner();
    let edit = Edit::begin(&state).await?;
    let present = present(&edit, &names)?;
    let known = present.is_some();
    let mut page = Page::new(actor, names, Form::of(present.unwrap_or_default()), known);
    if said.said == "saved" {
        page.frame = page.frame.saying("good", "Saved.");
    }
    Ok(html(200, &page))
}

/// The rules that are there. Both ends have to be.
fn present(
    edit: &Edit,
    (connection, target): &(String, String),
) -> Result<Option<MappingSettings>, Problem> {
    if edit.connection(connection).is_none() || edit.target(target).is_none() {
        return Err(Problem::new(404, "there is no such connection or target"));
    }
    Ok(edit.mapping(connection, target).cloned())
}

/// `POST /mappings/{connection}/{target}/preview`: for one person, without storing anything.
pub(super) async fn preview(
    state: web::Data<State>,
    actor: Actor,
    names: Names,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let page = tried(&state, actor, names.into_inner(), &fields, false).await?;
    Ok(html(200, &page))
}

/// `POST /mappings/{connection}/{target}/try`: for everybody, without storing anything.
pub(super) async fn try_out(
    state: web::Data<State>,
    actor: Actor,
    names: Names,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let page = tried(&state, actor, names.into_inner(), &fields, true).await?;
    Ok(html(200, &page))
}

async fn tried(
    state: &State,
    actor: Actor,
    names: (String, String),
    fields: &Fields,
    everybody: bool,
) -> Result<Page, Problem> {
    let mut edit = Edit::begin(state).await?;
    let present = present(&edit, &names)?;
    let known = present.is_some();
    let wanted = match settings(fields) {
        Ok(wanted) => wanted,
        Err(problem) => {
            let form = Form::of(present.unwrap_or_default());
            let mut page = Page::new(actor, names, form, known);
            page.mistakes = form::mistakes(&problem);
            return Ok(page);
        }
    };
    edit.put_mapping(&names.0, &names.1, wanted.clone());
    let outcome = edit.apply(state, &actor, THROUGH, true).await;
    let mut page = Page::new(actor, names, Form::of(wanted), known);
    page.preview.person = fields.get("person").to_owned();
    let report = match outcome.map_err(Problem::from) {
        Ok(report) => report,
        Err(problem) if problem.status < 500 => {
            page.mistakes = form::mistakes(&problem);
            return Ok(page);
        }
        Err(problem) => return Err(problem),
    };
    if !page.preview.person.is_empty() {
        let scope = one_mapping(&report, &page.connection, &page.target);
        page.preview = look_ahead(
            state,
            report.configuration.clone(),
            scope,
            &page.preview.person,
        )
        .await?;
    }
    if everybody {
        page.trial = Some(trial_of(state, report).await?);
    }
    Ok(page)
}

fn one_mapping(report: &crate::configure::Report, connection: &str, target: &str) -> Scope {
    let configuration = &report.configuration;
    let mut connections = configuration.connections.iter();
    let mut targets = configuration.targets.iter();
    Scope {
        connection: connections
            .find(|it| it.settings.name == connection)
            .map(|it| it.id.clone()),
        target: targets
            .find(|it| it.settings.name == target)
            .map(|it| it.id.clone()),
        ..Scope::default()
    }
}

async fn look_ahead(
    state: &State,
    configuration: crate::store::settings::Configuration,
    scope: Scope,
    name: &str,
) -> Result<Preview, Problem> {
    let mut preview = Preview {
        person: name.to_owned(),
        outlook: None,
        why: None,
    };
    let Some(user) = edit::person(state, name).await? else {
        preview.why = Some("nobody has this name, address or id".to_owned());
        return Ok(preview);
    };
    let scope = Scope {
        users: vec![user],
        ..scope
    };
    let mut found = None;
    let mut each = |outlook: Outlook| found = Some(outlook);
    let ahead = state.engine.preview(configuration, &scope, &mut each);
    match tokio::time::timeout(PATIENCE, ahead).await {
        Ok(summaries) => {
            preview.why = summaries?.into_iter().find_map(|summary| summary.stopped);
        }
        Err(_) => preview.why = Some("the target did not answer in time".to_owned()),
    }
    if found.is_none() && preview.why.is_none() {
        preview.why = Some("this person does not come from this connection".to_owned());
    }
    preview.outlook = found;
    Ok(preview)
}

/// `POST /mappings/{connection}/{target}`
pub(super) async fn save(
    state: web::Data<State>,
    actor: Actor,
    names: Names,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let names = names.into_inner();
    let mut edit = Edit::begin(&state).await?;
    let known = present(&edit, &names)?.is_some();
    let wanted = match settings(&fields) {
        Ok(wanted) => wanted,
        Err(problem) => {
            let mut page = tried(&state, actor, names, &fields, false).await?;
            page.mistakes = form::mistakes(&problem);
            return Ok(html(422, &page));
        }
    };
    edit.put_mapping(&names.0, &names.1, wanted.clone());
    let outcome = edit.apply(&state, &actor, THROUGH, false).await;
    match outcome.map_err(Problem::from) {
        Ok(_) => {
            let (connection, target) = (
                crate::http::encoded(&names.0),
                crate::http::encoded(&names.1),
            );
            Ok(see_other(&super::after(
                &fields,
                &format!("/mappings/{connection}/{target}?said=saved"),
            )))
        }
        Err(problem) if problem.status < 500 => {
            let mut page = Page::new(actor, names, Form::of(wanted), known);
            page.frame = page
                .frame
                .saying("bad", "Nothing was saved; what is wrong stands below.");
            page.mistakes = form::mistakes(&problem);
            Ok(html(problem.status, &page))
        }
        Err(problem) => Err(problem),
    }
}
