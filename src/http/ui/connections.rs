//! Connections: how each identity provider is spoken to, its inbound credentials, and whether it can be read.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::super::State;
use super::super::credentials;
use super::super::edit::{self, ConnectionWish, Edit, PullWish};
use super::super::problem::Problem;
use super::form::{self, CONNECTION_KINDS, Fields};
use super::{Frame, html, see_other, when};
use crate::auth::credential::Kind;
use crate::auth::seat::Actor;
use crate::clock::ago;
use crate::config::span_text;
use crate::domain::{
    ClientAuth, ConnectionKind, ConnectionSettings, Grant, GroupAttribute, PullUsers, Role,
};
use crate::reconcile::Step;
use crate::store::tokens::{self, Credential};
use crate::store::{self, runs, settings};

/// As the audit names these pages.
const THROUGH: &str = "the page of connections";

/// A connection in the list.
struct Row {
    name: String,
    kind: &'static str,
    address: String,
    schedule: String,
    /// When the domain was read last, without trouble.
    read: String,
    /// The latest request.
    arrived: String,
}

#[derive(Template)]
#[template(path = "connections.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
    may_administer: bool,
    may_operate: bool,
}

/// `GET /connections`
pub(super) async fn list(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let (configuration, read) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((settings::load(conn)?, runs::last_done(conn)?))
        })
        .await?;
    let now = state.clock.now();
    let rows = configuration.connections.into_iter().map(|connection| {
        let pull = connection.settings.pull.as_ref();
        Row {
            kind: connection.settings.kind.as_str(),
            address: pull.map_or_else(|| "not read".to_owned(), |pull| pull.base_url.clone()),
            schedule: pull
                .and_then(|pull| pull.schedule.clone())
                .unwrap_or_else(|| "by hand".to_owned()),
            read: read
                .iter()
                .find(|(id, _)| *id == connection.id)
                .map_or_else(
                    || "never".to_owned(),
                    |(_, at)| format!("{} ago", ago(now - at)),
                ),
            arrived: state.arrivals.latest(&connection.id).map_or_else(
                || "none since the start".to_owned(),
                |it| format!("{} ago", ago(now - it.at)),
            ),
            name: connection.settings.name,
        }
    });
    let page = List {
        may_administer: actor.role.includes(Role::Administrator),
        may_operate: actor.role.includes(Role::Operator),
        frame: Frame::new("Connections", "/connections", actor),
        rows: rows.collect(),
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
    pub(super) client_id: String,
    /// Where the present secret is; empty: there is none.
    pub(super) secret: String,
    /// With a consent of an administrator, instead of as the application itself.
    pub(super) consent: bool,
    pub(super) app_id: String,
    pub(super) only_granted: bool,
    pub(super) pull_users: String,
    pub(super) pull_groups: String,
    pub(super) schedule: String,
    pub(super) full_every: String,
    pub(super) requests_per_second: String,
    pub(super) group_attributes: String,
    pub(super) mistakes: Vec<String>,
}

impl Form {
    /// An empty one.
    pub(super) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: ConnectionKind::OracleIdcs.as_str().to_owned(),
            pull_users: form::word(&PullUsers::All),
            schedule: "30m".to_owned(),
            full_every: "6h".to_owned(),
            requests_per_second: "2".to_owned(),
            ..Self::default()
        }
    }

    /// What a connection is.
    fn of(connection: &ConnectionSettings) -> Self {
        let attributes = connection.group_attributes.iter();
        let mut form = Self {
            known: true,
            kind: connection.kind.as_str().to_owned(),
            group_attributes: attributes
                .map(attribute_line)
                .collect::<Vec<_>>()
                .join("\n"),
            schedule: String::new(),
            ..Self::empty(&connection.name)
        };
        let Some(pull) = &connection.pull else {
            return form;
        };
        let (ClientAuth::Secret(secret) | ClientAuth::PrivateKey { key: secret, .. }) = &pull.auth;
        form.base_url.clone_from(&pull.base_url);
        form.client_id.clone_from(&pull.client_id);
        form.secret = edit::secret_in_words(secret);
        form.consent = pull.grant == Grant::RefreshToken;
        form.app_id = pull.app_id.clone().unwrap_or_default();
        form.only_granted = pull.only_granted;
        form.pull_users = form::word(&pull.users);
        form.pull_groups = pull.groups.clone().unwrap_or_default();
        form.schedule = pull.schedule.clone().unwrap_or_default();
        form.full_every = span_text(pull.full_every_s);
        form.requests_per_second = pull.requests_per_second.to_string();
        form
    }

    /// What somebody typed, to be shown again with what is wrong with it.
    fn typed(fields: &Fields, old: Option<&ConnectionSettings>, mistakes: Vec<String>) -> Self {
        let text = |name| fields.get(name).to_owned();
        Self {
            name: text("name"),
            known: old.is_some(),
            kind: text("kind"),
            base_url: text("base_url"),
            client_id: text("client_id"),
            secret: old.map(|old| Self::of(old).secret).unwrap_or_default(),
            consent: fields.get("grant") == "refresh-token",
            app_id: text("app_id"),
            only_granted: fields.ticked("only_granted"),
            pull_users: text("pull_users"),
            pull_groups: text("pull_groups"),
            schedule: text("schedule"),
            full_every: text("full_every"),
            requests_per_second: text("requests_per_second"),
            group_attributes: text("group_attributes"),
            mistakes,
        }
    }
}

/// An attribute of the user whose values are names of groups, on a line: path and, after a blank, separators.
pub(super) fn attribute_line(attribute: &GroupAttribute) -> String {
    if attribute.split.is_empty() {
        attribute.path.clone()
    } else {
        format!("{} split {}", attribute.path, attribute.split)
    }
}

/// Reads [`attribute_line`].
pub(super) fn attribute(line: &str) -> GroupAttribute {
    let (path, split) = line.split_once(" split ").unwrap_or((line, ""));
    GroupAttribute {
        path: path.trim().to_owned(),
        split: split.trim().to_owned(),
    }
}

fn wish(fields: &Fields) -> Result<ConnectionWish, Problem> {
    let attributes = fields.lines("group_attributes");
    let base_url = fields.text("base_url");
    let pull = match base_url {
        None if fields.text("client_id").is_some() || fields.secret("client_secret").is_some() => {
            return Err(form::wrong(
                "base_url",
                "is missing: without it the domain cannot be read",
            ));
        }
        None => None,
        Some(base_url) => Some(PullWish {
            base_url,
            client_id: fields.get("client_id").to_owned(),
            client_secret: fields.secret("client_secret"),
            grant: Some(fields.word("grant")?),
            app_id: fields.text("app_id"),
            only_granted: fields.ticked("only_granted"),
            users: fields.word("pull_users")?,
            groups: fields.text("pull_groups"),
            schedule: fields.text("schedule"),
            full_every_s: fields.seconds("full_every", 6 * 3600)?,
            requests_per_second: fields.number("requests_per_second", 2)?,
        }),
    };
    Ok(ConnectionWish {
        kind: fields.word("kind")?,
        group_attributes: attributes.iter().map(|line| attribute(line)).collect(),
        pull,
    })
}

/// The page of one connection.
#[derive(Template)]
#[template(path = "connection.html", config = "src/http/ui/askama.toml")]
struct One {
    frame: Frame,
    form: Form,
    credentials: Vec<Credential>,
    /// Label and secret of a credential that was made just now.
    made: Option<(String, String)>,
    steps: Option<Vec<Step>>,
    /// The address that the identity provider is told.
    base: String,
    may_administer: bool,
    may_operate: bool,
}

impl One {
    async fn new(
        state: &State,
        request: &HttpRequest,
        actor: Actor,
        form: Form,
    ) -> Result<Self, Problem> {
        let credentials = state.store.read(tokens::list).await?;
        let title = if form.known {
            form.name.clone()
        } else {
            "New connection".to_owned()
        };
        Ok(Self {
            may_administer: actor.role.includes(Role::Administrator),
            may_operate: actor.role.includes(Role::Operator),
            frame: Frame::new(title, "/connections", actor),
            credentials: credentials
                .into_iter()
                .filter(|it| it.connection == form.name)
                .collect(),
            form,
            made: None,
            steps: None,
            base: state.seen_as(request),
        })
    }
}

/// `GET /connections/new`
pub(super) async fn new(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
) -> Result<HttpResponse, Problem> {
    let page = One::new(&state, &request, actor, Form::empty("")).await?;
    Ok(html(200, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    said: String,
}

/// `GET /connections/{name}`
pub(super) async fn show(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    name: web::Path<String>,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let connection = edit::stored_connection(&state, &name).await?;
    let mut page = One::new(&state, &request, actor, Form::of(&connection.settings)).await?;
    page.frame = match said.said.as_str() {
        "saved" => page.frame.saying("good", "Saved."),
        "ended" => page.frame.saying("good", "The credential is ended."),
        _ => page.frame,
    };
    Ok(html(200, &page))
}

/// `POST /connections`
pub(super) async fn save(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let fields = fields.into_inner();
    let name = fields.get("name").to_owned();
    let mut edit = Edit::begin(&state).await?;
    let old = edit.connection(&name).cloned();
    let outcome = match wish(&fields).and_then(|wish| edit.put_connection(&name, wish)) {
        Ok(()) => edit
            .apply(&state, &actor, THROUGH, false)
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(_) => Ok(see_other(&super::after(
            &fields,
            &format!("/connections/{}?said=saved", crate::http::encoded(&name)),
        ))),
        Err(problem) if problem.status < 500 => {
            let form = Form::typed(&fields, old.as_ref(), form::mistakes(&problem));
            let mut page = One::new(&state, &request, actor, form).await?;
            page.frame = page
                .frame
                .saying("bad", "Nothing was saved; what is wrong stands below.");
            Ok(html(problem.status, &page))
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /connections/{name}/check`
pub(super) async fn check(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let connection = edit::stored_connection(&state, &name).await?;
    let steps = super::super::check::connection(&state, &connection).await?;
    let mut page = One::new(&state, &request, actor, Form::of(&connection.settings)).await?;
    page.steps = Some(steps);
    Ok(html(200, &page))
}

/// `POST /connections/{name}/credentials`
pub(super) async fn create(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    name: web::Path<String>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let label = fields.get("label").to_owned();
    let kind = match fields.get("scheme") {
        "basic" => Kind::Basic(label),
        "client" => Kind::Client,
        "hook" => Kind::Hook(label),
        _ => Kind::Bearer(label),
    };
    let days = fields.number("days", 0)?;
    let days = (days > 0).then_some(days);
    let made = credentials::create(&state, &actor, &name, kind, days, THROUGH).await?;
    shown(&state, &request, actor, &name, made).await
}

async fn shown(
    state: &State,
    request: &HttpRequest,
    actor: Actor,
    name: &str,
    made: crate::auth::credential::Made,
) -> Result<HttpResponse, Problem> {
    let connection = edit::stored_connection(state, name).await?;
    let mut page = One::new(state, request, actor, Form::of(&connection.settings)).await?;
    page.frame = page.frame.saying(
        "good",
        "The credential is made. Keep its secret now: it cannot be shown again.",
    );
    page.made = Some((made.label, made.secret.expose_secret().to_owned()));
    Ok(html(200, &page))
}

/// `POST /connections/{name}/credentials/rotate`
pub(super) async fn rotate(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
    name: web::Path<String>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let days = fields.number("days", 7)?;
    let made = credentials::rotate(&state, &actor, fields.get("id"), days, THROUGH).await?;
    shown(&state, &request, actor, &name, made).await
}

/// `POST /connections/{name}/credentials/revoke`
pub(super) async fn revoke(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    credentials::revoke(&state, &actor, fields.get("id"), THROUGH).await?;
    let name = crate::http::encoded(&name);
    Ok(see_other(&format!("/connections/{name}?said=ended")))
}
