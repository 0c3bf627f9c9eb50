//! Targets: where each product is, how Usher signs in there, and whether that works.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::check;
use super::super::edit::{self, Edit, TargetWish};
use super::super::problem::Problem;
use super::form::{self, Fields, TARGET_KINDS};
use super::{Frame, html, see_other};
use crate::auth::seat::Actor;
use crate::config::span_text;
use crate::converge::Check;
use crate::domain::{Role, TargetAuth, TargetKind, TargetSettings};
use crate::store::work::{self, TargetStatus};
use crate::store::{self, settings};

/// As the audit names these pages.
const THROUGH: &str = "the page of targets";

/// A target in the list.
struct Row {
    settings: TargetSettings,
    status: Option<TargetStatus>,
    /// Which connections lead there, and in which mode.
    mappings: Vec<(String, String)>,
    /// What is to be done about its token.
    expires: Option<String>,
}

#[derive(Template)]
#[template(path = "targets.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
    may_administer: bool,
}

/// `GET /targets`
pub(super) async fn list(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let (configuration, mut statuses) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((settings::load(conn)?, work::status(conn)?))
        })
        .await?;
    let now = state.clock.now();
    let rows = configuration.targets.iter().map(|target| {
        let at = statuses
            .iter()
            .position(|it| it.name == target.settings.name);
        let mappings = configuration
            .mappings
            .iter()
            .filter(|it| it.target_id == target.id);
        let name = |id: &crate::domain::ConnectionId| {
            let mut connections = configuration.connections.iter();
            connections
                .find(|it| it.id == *id)
                .map(|it| it.settings.name.clone())
        };
        Row {
            status: at.map(|at| statuses.swap_remove(at)),
            mappings: mappings
                .filter_map(|it| Some((name(&it.connection_id)?, form::word(&it.settings.mode))))
                .collect(),
            expires: target.settings.expiry(now).and_then(|it| it.advice()),
            settings: target.settings.clone(),
        }
    });
    let page = List {
        rows: rows.collect(),
        may_administer: actor.role.includes(Role::Administrator),
        frame: Frame::new("Targets", "/targets", actor),
    };
    Ok(html(200, &page))
}

/// The fields of the form, as text.
#[derive(Default)]
pub(super) struct Form {
    pub(super) name: String,
    /// It is there already.
    pub(super) known: bool,
    pub(super) kind: String,
    pub(super) base_url: String,
    pub(super) username: String,
    /// Where the present secret is; empty: there is none.
    pub(super) secret: String,
    pub(super) token_expires: String,
    pub(super) concurrency: String,
    pub(super) requests_per_second: String,
    pub(super) timeout: String,
    pub(super) mistakes: Vec<String>,
}

impl Form {
    /// An empty one.
    pub(super) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: TargetKind::JiraDc.as_str().to_owned(),
            concurrency: "4".to_owned(),
            timeout: "20s".to_owned(),
            ..Self::default()
        }
    }

    /// What a target is.
    fn of(target: &TargetSettings) -> Self {
        let (username, secret) = match &target.auth {
            TargetAuth::Token(token) => ("", token),
            TargetAuth::Basic { username, password } => (username.as_str(), password),
        };
        let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
        Self {
            name: target.name.clone(),
            known: true,
            kind: target.kind.as_str().to_owned(),
            base_url: target.base_url.clone(),
            username: username.to_owned(),
            secret: edit::secret_in_words(secret),
            token_expires: target
                .token_expires
                .map(|on| on.to_string())
                .unwrap_or_default(),
            concurrency: target.concurrency.to_string(),
            requests_per_second: number(target.requests_per_second),
            timeout: span_text(target.timeout_s),
            mistakes: Vec::new(),
        }
    }

    /// What somebody typed, to be shown again with what is wrong with it.
    fn typed(fields: &Fields, old: Option<&TargetSettings>, mistakes: Vec<String>) -> Self {
        let text = |name| fields.get(name).to_owned();
        Self {
            name: text("name"),
            known: old.is_some(),
            kind: text("kind"),
            base_url: text("base_url"),
            username: text("username"),
            secret: old.map(|old| Self::of(old).secret).unwrap_or_default(),
            token_expires: text("token_expires"),
            concurrency: text("concurrency"),
            requests_per_second: text("requests_per_second"),
            timeout: text("timeout"),
            mistakes,
        }
    }
}

fn wish(fields: &Fields) -> Result<TargetWish, Problem> {
    let rate = fields.number("requests_per_second", 0)?;
    let token_expires = fields
        .text("token_expires")
        .map(|text| {
            text.parse()
                .map_err(|_| form::wrong("token_expires", "should be a date such as 2027-03-01"))
        })
        .transpose()?;
    Ok(TargetWish {
        kind: fields.word("kind")?,
        base_url: fields.get("base_url").to_owned(),
        username: fields.text("username"),
        secret: fields.secret("secret"),
        token_expires,
        concurrency: fields.number("concurrency", 4)?,
        requests_per_second: (rate > 0).then_some(rate),
        timeout_s: fields.seconds("timeout", 20)?,
    })
}

#[derive(Template)]
#[template(path = "target.html", config = "src/http/ui/askama.toml")]
struct One {
    frame: Frame,
    form: Form,
    check: Option<Result<Check, String>>,
    /// Names of connections, and whether a mapping leads from there.
    connections: Vec<(String, bool)>,
    may_administer: bool,
    may_operate: bool,
}

impl One {
    async fn new(state: &State, actor: Actor, form: Form) -> Result<Self, Problem> {
        let edit = Edit::begin(state).await?;
        let connections = edit.file.connections.iter().map(|it| {
            let leads = edit.mapping(&it.name, &form.name).is_some();
            (it.name.clone(), leads)
        });
        let title = if form.known {
            form.name.clone()
        } else {
            "New target".to_owned()
        };
        Ok(Self {
            may_administer: actor.role.includes(Role::Administrator),
            may_operate: actor.role.includes(Role::Operator),
            frame: Frame::new(title, "/targets", actor),
            connections: connections.collect(),
            form,
            check: None,
        })
    }
}

/// `GET /targets/new`
pub(super) async fn new(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let page = One::new(&state, actor, Form::empty("")).await?;
    Ok(html(200, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    said: String,
}

/// `GET /targets/{name}`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let target = edit::stored_target(&state, &name).await?;
    let mut page = One::new(&state, actor, Form::of(&target.settings)).await?;
    if said.said == "saved" {
        page.frame = page
            .frame
            .saying("good", "Saved. Test says whether it works.");
    }
    Ok(html(200, &page))
}

/// `POST /targets`
pub(super) async fn save(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let fields = fields.into_inner();
    let name = fields.get("name").to_owned();
    let mut edit = Edit::begin(&state).await?;
    let old = edit.target(&name).cloned();
    let outcome = match wish(&fields).and_then(|wish| edit.put_target(&name, wish)) {
        Ok(()) => edit
            .apply(&state, &actor, THROUGH, false)
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(_) => Ok(see_other(&super::after(
            &fields,
            &format!("/targets/{}?said=saved", crate::http::encoded(&name)),
        ))),
        Err(problem) if problem.status < 500 => {
            let form = Form::typed(&fields, old.as_ref(), form::mistakes(&problem));
            let mut page = One::new(&state, actor, form).await?;
            page.frame = page
                .frame
                .saying("bad", "Nothing was saved; what is wrong stands below.");
            Ok(html(problem.status, &page))
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /targets/{name}/check`
pub(super) async fn test(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let target = edit::stored_target(&state, &name).await?;
    let outcome = check::target(&state, &target).await;
    let mut page = One::new(&state, actor, Form::of(&target.settings)).await?;
    page.check = Some(outcome);
    Ok(html(200, &page))
}
