//! From nothing to people in a product, step by step. Each step shows what is there, and what to do next; the
//! forms are those of the pages for later.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::super::edit::Edit;
use super::super::people::{self, Wanted};
use super::super::problem::Problem;
use super::super::{State, check, credentials};
use super::form::{CONNECTION_KINDS, Fields, TARGET_KINDS};
use super::{Frame, connections, html, see_other, targets};
use crate::auth::credential::Kind;
use crate::auth::seat::Actor;
use crate::clock::ago;
use crate::converge::{Check, Outlook, Scope, Verdict};
use crate::domain::{ConnectionKind, MappingSettings, MatchKey, Mode, UserId};
use crate::store::settings::{self, Configuration};
use crate::store::tokens;
use crate::store::work;
use crate::store::{self};

/// As the audit names this page.
const THROUGH: &str = "the first steps";
/// How many people are shown as they would be.
const SHOWN: usize = 5;
/// How many people go live first.
const PILOTS: usize = 10;
/// How long a look ahead may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many reasons for a decision are shown.
const REASONS: usize = 10;

/// What is there.
struct Stage {
    configuration: Configuration,
    connection: String,
    kind: Option<ConnectionKind>,
    /// Whether anybody can push.
    has_credential: bool,
    /// The latest request, in words.
    arrived: Option<String>,
    /// How many people are known: at most [`PILOTS`] of them, by name.
    people: Vec<String>,
    target: String,
    mapping: Option<MappingSettings>,
    /// How many would change.
    would_change: i64,
}

impl Stage {
    fn scope(&self) -> Scope {
        let mut connections = self.configuration.connections.iter();
        let mut targets = self.configuration.targets.iter();
        Scope {
            connection: connections
                .find(|it| it.settings.name == self.connection)
                .map(|it| it.id.clone()),
            target: targets
                .find(|it| it.settings.name == self.target)
                .map(|it| it.id.clone()),
            ..Scope::default()
        }
    }

    fn is_oracle(&self) -> bool {
        self.kind == Some(ConnectionKind::OracleIdcs)
    }

    fn mode(&self) -> Option<Mode> {
        self.mapping.as_ref().map(|mapping| mapping.mode)
    }

    fn is_live(&self) -> bool {
        self.mode() == Some(Mode::Live)
    }

    fn has_pilots(&self) -> bool {
        let mapping = self.mapping.as_ref();
        mapping.is_some_and(|it| !it.live_for.is_empty())
    }
}

/// Which connection and which target; without: the first ones.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    connection: String,
    #[serde(default)]
    target: String,
}

impl Which {
    fn of(fields: &Fields) -> Self {
        Self {
            connection: fields.get("connection").to_owned(),
            target: fields.get("target").to_owned(),
        }
    }

    /// The page for the same two.
    fn page(&self) -> String {
        format!(
            "/start?connection={}&target={}",
            crate::http::encoded(&self.connection),
            crate::http::encoded(&self.target)
        )
    }
}

async fn stage(state: &State, which: Which) -> Result<Stage, Problem> {
    let (configuration, credentials, statuses) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((
                settings::load(conn)?,
                tokens::list(conn)?,
                work::status(conn)?,
            ))
        })
        .await?;
    let connections = &configuration.connections;
    let connection = connections
        .iter()
        .find(|it| it.settings.name == which.connection)
        .or(connections.first())
        .cloned();
    let target = configuration
        .targets
        .iter()
        .find(|it| it.settings.name == which.target)
        .or(configuration.targets.first())
        .cloned();
    let mapping = match (&connection, &target) {
        (Some(connection), Some(target)) => configuration
            .mappings
            .iter()
            .find(|it| it.connection_id == connection.id && it.target_id == target.id)
            .map(|it| it.settings.clone()),
        _ => None,
    };
    let now = state.clock.now();
    let arrived = connection
        .as_ref()
        .and_then(|it| state.arrivals.latest(&it.id))
        .map(|it| format!("{}, {} ago", it.what, ago(now - it.at)));
    let (name, kind) = connection.map_or_else(
        || (String::new(), None),
        |it| (it.settings.name, Some(it.settings.kind)),
    );
    let people = if name.is_empty() {
        Vec::new()
    } else {
        let wanted = Wanted {
            connection: name.clone(),
            ..Wanted::default()
        };
        let found = people::search(state, wanted, PILOTS).await?;
        found.people.into_iter().map(|it| it.user_name).collect()
    };
    let target = target.map(|it| it.settings.name).unwrap_or_default();
    let status = statuses.into_iter().find(|it| it.name == target);
    Ok(Stage {
        has_credential: credentials.iter().any(|it| it.connection == name),
        connection: name,
        kind,
        arrived,
        people,
        would_change: status.as_ref().map_or(0, |it| it.shadow),
        target,
        mapping,
        configuration,
    })
}

/// What becomes of everybody.
#[derive(Default)]
struct Matches {
    people: u64,
    by_name: u64,
    by_email: u64,
    new: u64,
    /// A person has to decide.
    ambiguous: u64,
    /// Nothing is done about them.
    left_alone: u64,
    waiting: u64,
    unknown: u64,
    /// Why a person has to decide, how often, and for example whom.
    reasons: BTreeMap<String, (u64, UserId, String)>,
    /// Not everybody was looked at, and why.
    cut_off: Option<String>,
}

impl Matches {
    fn count(&mut self, outlook: &Outlook) {
        self.people += 1;
        let adopted = outlook
            .operations
            .iter()
            .find(|it| it.operation == "adopt_user");
        let created = outlook
            .operations
            .iter()
            .any(|it| it.operation == "create_user");
        match outlook.verdict {
            Verdict::Waiting => self.waiting += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Held => self.ambiguous += 1,
            Verdict::InStep | Verdict::Changes => match adopted {
                Some(adopted) if adopted.detail["matched_by"] == "email" => self.by_email += 1,
                Some(_) => self.by_name += 1,
                None if created => self.new += 1,
                None => self.left_alone += 1,
            },
        }
        if let Some(reason) = &outlook.reason
            && (self.reasons.len() < REASONS || self.reasons.contains_key(reason))
        {
            let sample = (0, outlook.user_id.clone(), outlook.user_name.clone());
            self.reasons.entry(reason.clone()).or_insert(sample).0 += 1;
        }
    }
}

#[derive(Template)]
#[template(path = "start.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    stage: Stage,
    /// Where the provider finds this server: host alone, and whole address.
    host: String,
    base: String,
    check: Option<Result<Check, String>>,
    secret: Option<String>,
    people: Vec<Outlook>,
    /// Why people cannot be shown.
    why: Option<String>,
    matches: Option<Matches>,
}

impl Page {
    async fn new(
        state: &State,
        request: &HttpRequest,
        actor: Actor,
        which: Which,
    ) -> Result<Self, Problem> {
        let stage = stage(state, which).await?;
        let base = state.seen_as(request);
        let host = base
            .split_once("://")
            .map_or(base.as_str(), |(_, host)| host);
        let mut page = Self {
            frame: Frame::new("First steps", "/start", actor),
            host: host.to_owned(),
            base,
            check: None,
            secret: None,
            people: Vec::new(),
            why: None,
            matches: None,
            stage,
        };
        if page.stage.mapping.is_some() && !page.stage.people.is_empty() && !page.stage.is_live() {
            page.look_ahead(state).await?;
        }
        Ok(page)
    }

    /// What would be done for some real people.
    async fn look_ahead(&mut self, state: &State) -> Result<(), Problem> {
        let wanted = Wanted {
            connection: self.stage.connection.clone(),
            ..Wanted::default()
        };
        let found = people::search(state, wanted, SHOWN).await?;
        let scope = Scope {
            users: found.people.into_iter().map(|it| UserId(it.id)).collect(),
            ..self.stage.scope()
        };
        let shown = &mut self.people;
        let mut each = |outlook: Outlook| shown.push(outlook);
        let configuration = self.stage.configuration.clone();
        let preview = state.engine.preview(configuration, &scope, &mut each);
        self.why = match tokio::time::timeout(PATIENCE, preview).await {
            Ok(summaries) => summaries?.into_iter().find_map(|summary| summary.stopped),
            Err(_) => Some("the target did not answer in time".to_owned()),
        };
        Ok(())
    }

    fn form_of_target(&self) -> targets::Form {
        targets::Form::empty("jira")
    }

    fn form_of_connection(&self) -> connections::Form {
        let mut form = connections::Form::empty("corp");
        form.schedule = String::new();
        form
    }
}

/// `GET /start`
pub(super) async fn show(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    which: web::Query<Which>,
) -> Result<HttpResponse, Problem> {
    let page = Page::new(&state, &request, actor, which.into_inner()).await?;
    Ok(html(200, &page))
}

/// `POST /start/check`
pub(super) async fn test(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let mut page = Page::new(&state, &request, actor, Which::of(&fields)).await?;
    let mut targets = page.stage.configuration.targets.iter();
    let target = targets
        .find(|it| it.settings.name == page.stage.target)
        .cloned();
    if let Some(target) = target {
        page.check = Some(check::target(&state, &target).await);
    }
    Ok(html(200, &page))
}

/// `POST /start/token`
pub(super) async fn token(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let kind = Kind::Bearer("first steps".to_owned());
    let made = credentials::create(
        &state,
        &actor,
        fields.get("connection"),
        kind,
        None,
        THROUGH,
    );
    let secret = made.await?.secret;
    let mut page = Page::new(&state, &request, actor, Which::of(&fields)).await?;
    page.secret = Some(secret.expose_secret().to_owned());
    Ok(html(200, &page))
}

/// `POST /start/mapping`: the usual rules, in shadow mode.
pub(super) async fn mapping(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let mut rules = MappingSettings::default();
    // Whoever begins mostly has accounts already; in shadow mode this only shows which would be found.
    rules.users.match_by = vec![MatchKey::Username, MatchKey::Email];
    rules.users.adopt = fields.ticked("adopt");
    set(&state, &actor, &fields, |present| {
        if present.is_none() {
            *present = Some(rules);
        }
    })
    .await
}

/// `POST /start/pilots`: live for some, in shadow mode for everybody else.
pub(super) async fn pilots(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let chosen = fields.lines("live_for");
    set(&state, &actor, &fields, |present| {
        if let Some(mapping) = present {
            mapping.mode = Mode::Shadow;
            mapping.live_for = chosen;
        }
    })
    .await
}

/// `POST /start/live`: live for all.
pub(super) async fn live(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    set(&state, &actor, &fields, |present| {
        if let Some(mapping) = present {
            mapping.mode = Mode::Live;
            mapping.live_for = Vec::new();
        }
    })
    .await
}

/// Changes the mapping and goes back to the page.
async fn set(
    state: &State,
    actor: &Actor,
    fields: &Fields,
    change: impl FnOnce(&mut Option<MappingSettings>),
) -> Result<HttpResponse, Problem> {
    let which = Which::of(fields);
    let mut edit = Edit::begin(state).await?;
    if edit.connection(&which.connection).is_none() || edit.target(&which.target).is_none() {
        return Err(Problem::new(404, "there is no such connection or target"));
    }
    let mut mapping = edit.mapping(&which.connection, &which.target).cloned();
    change(&mut mapping);
    if let Some(mapping) = mapping {
        edit.put_mapping(&which.connection, &which.target, mapping);
        edit.apply(state, actor, THROUGH, false).await?;
    }
    Ok(see_other(&which.page()))
}

/// `POST /start/matches`: what becomes of everybody, without doing it.
pub(super) async fn matches(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let mut page = Page::new(&state, &request, actor, Which::of(&fields)).await?;
    let mut matches = Matches::default();
    let mut each = |outlook: Outlook| matches.count(&outlook);
    let scope = page.stage.scope();
    let preview = state
        .engine
        .preview(page.stage.configuration.clone(), &scope, &mut each);
    let cut_off = match tokio::time::timeout(PATIENCE, preview).await {
        Ok(summaries) => summaries?.into_iter().find_map(|summary| summary.stopped),
        Err(_) => Some(
            "so many people take longer than this page waits; `usher plan` looks at all of them"
                .to_owned(),
        ),
    };
    matches.cut_off = cut_off;
    page.matches = Some(matches);
    Ok(html(200, &page))
}
