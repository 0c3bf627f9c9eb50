//! Administrators, sessions, API tokens, alerts, and how long records are kept.

use actix_web::{HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::State;
use super::super::accounts::{self, Changing, Making};
use super::super::alerts;
use super::super::edit::Edit;
use super::super::problem::Problem;
use super::alert_form::{self, AlertForm};
use super::form::{self, Fields};
use super::{Frame, html, see_other, when};
use crate::auth::seat::Actor;
use crate::config::span_text;
use crate::consent::CALLBACK;
use crate::domain::Role;
use crate::store::admins::{self, Admin, ApiToken, DomainLogin, Session};
use crate::store::{self, settings};

#[derive(Template)]
#[template(path = "settings.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    admins: Vec<Admin>,
    sessions: Vec<Session>,
    tokens: Vec<ApiToken>,
    roles: [Role; 3],
    /// Connections whose domains can sign somebody in.
    domains: Vec<String>,
    /// Where domains send the answer.
    callback: String,
    /// Of a token that was made just now.
    secret: Option<String>,
    alerts: AlertForm,
    /// How long audit and results of runs are kept.
    kept: String,
}

/// `POST /settings/alerts`
pub(super) async fn save_alerts(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let fields = fields.into_inner();
    let mut edit = Edit::begin(&state).await?;
    let outcome = match alert_form::wish(&fields).and_then(|wish| edit.put_alerts(wish)) {
        Ok(()) => edit
            .apply(&state, &actor, "the settings page", false)
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(_) => Ok(see_other("/settings#alerts")),
        Err(problem) if problem.status < 500 => {
            let frame = Frame::new("Settings", "/settings", actor)
                .saying("bad", "Nothing was saved; what is wrong stands below.");
            let stored = alerts::stored(&state).await?;
            let form = AlertForm::typed(&fields, &stored, form::mistakes(&problem));
            let mut page = Page::new(&state, frame).await?;
            page.alerts = form;
            Ok(html(problem.status, &page))
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /settings/alerts/test`
pub(super) async fn test_alerts(
    state: web::Data<State>,
    actor: Actor,
) -> Result<HttpResponse, Problem> {
    let outcomes = alerts::test(&state).await?;
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(channel, outcome)| Some(format!("{channel}: {}", outcome.as_ref().err()?)))
        .collect();
    let frame = Frame::new("Settings", "/settings", actor);
    let frame = if failed.is_empty() {
        let sent: Vec<&str> = outcomes.iter().map(|(channel, _)| *channel).collect();
        frame.saying(
            "good",
            format!("A test message was sent by {}.", sent.join(", ")),
        )
    } else {
        frame.saying("bad", failed.join("; "))
    };
    Ok(html(200, &Page::new(&state, frame).await?))
}

/// `GET /settings`
pub(super) async fn show(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let frame = Frame::new("Settings", "/settings", actor);
    Ok(html(200, &Page::new(&state, frame).await?))
}

impl Page {
    async fn new(state: &State, frame: Frame) -> Result<Self, Problem> {
        let now = state.clock.now();
        let (admins, sessions, tokens, configuration) = state
            .store
            .read(move |conn| -> Result<_, store::Error> {
                Ok((
                    admins::list(conn)?,
                    admins::sessions(conn, now)?,
                    admins::tokens(conn)?,
                    settings::load(conn)?,
                ))
            })
            .await?;
        Ok(Self {
            frame,
            alerts: AlertForm::of(&configuration.alerts.clone().unwrap_or_default()),
            kept: state.engine.audit_retention().map_or_else(
                || "forever".to_owned(),
                |retention| format!("for {}", span_text(retention.as_secs())),
            ),
            admins,
            sessions,
            tokens,
            roles: Role::ALL,
            domains: configuration
                .connections
                .into_iter()
                .filter(|it| it.settings.pull.is_some())
                .map(|it| it.settings.name)
                .collect(),
            secret: None,
            callback: format!(
                "{}{CALLBACK}",
                state.public_url.as_deref().unwrap_or("https://this-server")
            ),
        })
    }
}

/// Back to the page, with what went wrong if something did.
async fn back(
    state: &State,
    actor: Actor,
    outcome: Result<(), Problem>,
) -> Result<HttpResponse, Problem> {
    match outcome {
        Ok(()) => Ok(see_other("/settings")),
        Err(problem) if problem.status < 500 => {
            let frame = Frame::new("Settings", "/settings", actor).saying("bad", problem.detail);
            Ok(html(problem.status, &Page::new(state, frame).await?))
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
pub(super) struct NewPerson {
    name: String,
    role: Role,
    password: SecretString,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    login: String,
}

/// The domain that signs somebody in, if one was chosen.
fn chosen(connection: &str, login: &str) -> Option<DomainLogin> {
    let login = login.trim().to_owned();
    let connection = connection.to_owned();
    (!connection.is_empty()).then_some(DomainLogin { connection, login })
}

/// `POST /settings/administrators`
pub(super) async fn create(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<NewPerson>,
) -> Result<HttpResponse, Problem> {
    let NewPerson {
        name,
        role,
        password,
        domain,
        login,
    } = form.into_inner();
    let making = Making {
        name,
        role,
        password: Some(password).filter(|it| !it.expose_secret().is_empty()),
        domain: chosen(&domain, &login),
    };
    let made = accounts::create(&state, &actor, making, "the settings page").await;
    back(&state, actor, made.map(|_| ())).await
}

#[derive(Deserialize)]
pub(super) struct ChangedPerson {
    name: String,
    /// `role`, `disable`, `enable`, `password`, `domain` or `remove`.
    what: String,
    role: Option<Role>,
    password: Option<SecretString>,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    login: String,
}

/// `POST /settings/administrators/change`
pub(super) async fn change(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<ChangedPerson>,
) -> Result<HttpResponse, Problem> {
    let form = form.into_inner();
    let through = "the settings page";
    let outcome = match form.what.as_str() {
        "remove" => accounts::remove(&state, &actor, form.name, through).await,
        what => {
            let changing = Changing {
                role: form.role.filter(|_| what == "role"),
                disabled: match what {
                    "disable" => Some(true),
                    "enable" => Some(false),
                    _ => None,
                },
                password: form.password.filter(|_| what == "password"),
                domain: (what == "domain").then(|| chosen(&form.domain, &form.login)),
            };
            accounts::change(&state, &actor, form.name, changing, through)
                .await
                .map(|_| ())
        }
    };
    back(&state, actor, outcome).await
}

#[derive(Deserialize)]
pub(super) struct NewToken {
    label: String,
    role: Role,
    #[serde(default)]
    days: String,
}

/// `POST /settings/tokens`
pub(super) async fn create_token(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<NewToken>,
) -> Result<HttpResponse, Problem> {
    let form = form.into_inner();
    let days = match form.days.trim() {
        "" => None,
        text => Some(text.parse::<u32>().map_err(|_| {
            Problem::new(
                400,
                "the number of days should be a whole number, or nothing",
            )
        })?),
    };
    let expires_at = days.map(|days| state.clock.now() + i64::from(days) * 86_400_000_000);
    match accounts::create_token(
        &state,
        &actor,
        &form.label,
        form.role,
        expires_at,
        "the settings page",
    )
    .await
    {
        Ok((_, secret)) => {
            let frame = Frame::new("Settings", "/settings", actor).saying(
                "good",
                "The token is made. Keep its secret now: it cannot be shown again.",
            );
            let mut page = Page::new(&state, frame).await?;
            page.secret = Some(secret.expose_secret().to_owned());
            Ok(html(200, &page))
        }
        Err(problem) => back(&state, actor, Err(problem)).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Id {
    id: String,
}

/// `POST /settings/tokens/revoke`
pub(super) async fn revoke_token(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<Id>,
) -> Result<HttpResponse, Problem> {
    let outcome =
        accounts::revoke_token(&state, &actor, form.into_inner().id, "the settings page").await;
    back(&state, actor, outcome).await
}

/// `POST /settings/sessions/end`
pub(super) async fn end_session(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<Id>,
) -> Result<HttpResponse, Problem> {
    state.seat.sign_out(&form.into_inner().id).await?;
    back(&state, actor, Ok(())).await
}
