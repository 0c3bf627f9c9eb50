//! Connections, their inbound credentials, and whether they can be read.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::super::edit::{self, ConnectionWish, Edit, PullWish};
use super::super::{State, check as shared, credentials};
use super::configuration::Outcome;
use super::{Answer, Problem, THROUGH};
use crate::auth::credential::{Kind, Made};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::config::{span_of_time, span_text};
use crate::domain::{ConnectionSettings, GroupAttribute};
use crate::reconcile::Step;
use crate::store::tokens;
use crate::store::{self, runs, settings};

/// A connection, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Connection {
    /// Its name.
    name: String,
    /// `oracle-idcs`, `entra-id`, `okta` or `scim`.
    kind: String,
    /// How its domain is read, if it is.
    pull: Option<Pull>,
    /// Attributes whose values are names of groups.
    group_attributes: Vec<String>,
    /// When it was read last, without trouble.
    read_at: Option<String>,
    /// When the latest request came in, since this server started.
    request_at: Option<String>,
}

/// How a domain is read.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Pull {
    /// Address of the domain.
    base_url: String,
    /// Client id.
    client_id: String,
    /// App id.
    app_id: Option<String>,
    /// Whether only people count whom the application is granted to.
    only_granted: bool,
    /// When it is read.
    schedule: Option<String>,
    /// How often everything is read.
    full_every: String,
}

impl Connection {
    fn of(settings: ConnectionSettings, read_at: Option<i64>, request_at: Option<i64>) -> Self {
        Self {
            kind: settings.kind.as_str().to_owned(),
            pull: settings.pull.map(|pull| Pull {
                base_url: pull.base_url,
                client_id: pull.client_id,
                app_id: pull.app_id,
                only_granted: pull.only_granted,
                schedule: pull.schedule,
                full_every: span_text(pull.full_every_s),
            }),
            group_attributes: settings
                .group_attributes
                .into_iter()
                .map(|it| it.path)
                .collect(),
            name: settings.name,
            read_at: read_at.map(rfc3339),
            request_at: request_at.map(rfc3339),
        }
    }
}

/// `GET /api/v1/connections`
pub(super) async fn list(state: web::Data<State>) -> Answer<Vec<Connection>> {
    let (configuration, read) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((settings::load(conn)?, runs::last_done(conn)?))
        })
        .await?;
    let connections = configuration.connections.into_iter().map(|connection| {
        let read_at = read
            .iter()
            .find(|(id, _)| *id == connection.id)
            .map(|(_, at)| *at);
        let request_at = state.arrivals.latest(&connection.id).map(|it| it.at);
        Connection::of(connection.settings, read_at, request_at)
    });
    Ok(web::Json(connections.collect()))
}

/// What a connection is to be. What is left out of an existing one becomes what it is by default, but for the
/// secret, which stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `oracle-idcs`, `entra-id`, `okta` or `scim`.
    kind: String,
    /// Address of the domain, if it is to be read; the next ones are about that.
    base_url: Option<String>,
    /// Client id of the confidential application.
    client_id: Option<String>,
    /// Its secret: kept encrypted, never shown again.
    #[schemars(with = "Option<String>")]
    client_secret: Option<SecretString>,
    /// The application whose grants count.
    app_id: Option<String>,
    /// Only people whom the application is granted to.
    #[serde(default)]
    only_granted: bool,
    /// `all`, or `pushed`: only those whom a push brought.
    pull_users: Option<String>,
    /// Filter of the domain for groups.
    pull_groups: Option<String>,
    /// A span such as `30m`, or cron with five fields in UTC.
    schedule: Option<String>,
    /// A span such as `6h`.
    full_every: Option<String>,
    /// How many requests a second may be sent.
    requests_per_second: Option<u32>,
    /// Attributes of the user whose values are names of groups.
    #[serde(default)]
    group_attributes: Vec<String>,
}

/// The word of a setting, as the configuration has it.
pub(super) fn word<T: serde::de::DeserializeOwned>(field: &str, text: &str) -> Result<T, Problem> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
        edit::missing(
            field,
            &format!("{field} is none of the words that it can be"),
        )
    })
}

/// A span of time in seconds.
pub(super) fn span(field: &str, text: Option<&str>, usually: u64) -> Result<u64, Problem> {
    match text {
        None => Ok(usually),
        Some(text) => span_of_time(text).ok_or_else(|| {
            edit::missing(
                field,
                &format!("{field} should be a span such as 20s, 30m or 6h"),
            )
        }),
    }
}

/// `PUT /api/v1/connections/{name}`
pub(super) async fn put(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<Wish>,
) -> Answer<Outcome> {
    let wish = body.into_inner();
    let full_every_s = span("full_every", wish.full_every.as_deref(), 6 * 3600)?;
    let users = match &wish.pull_users {
        Some(text) => word("pull_users", text)?,
        None => crate::domain::PullUsers::All,
    };
    let wish = ConnectionWish {
        kind: word("kind", &wish.kind)?,
        group_attributes: wish
            .group_attributes
            .into_iter()
            .map(|path| GroupAttribute {
                path,
                split: String::new(),
            })
            .collect(),
        pull: wish.base_url.map(|base_url| PullWish {
            base_url,
            client_id: wish.client_id.unwrap_or_default(),
            client_secret: wish.client_secret,
            grant: None,
            app_id: wish.app_id,
            only_granted: wish.only_granted,
            users,
            groups: wish.pull_groups,
            schedule: wish.schedule,
            full_every_s,
            requests_per_second: wish.requests_per_second.unwrap_or(2),
        }),
    };
    let mut edit = Edit::begin(&state).await?;
    edit.put_connection(&name, wish)?;
    let report = edit.apply(&state, &actor, THROUGH, false).await?;
    Ok(web::Json(report.into()))
}

/// What was tried.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Checked {
    /// Whether everything works.
    ok: bool,
    /// One thing after the other.
    steps: Vec<CheckedStep>,
}

/// One thing that was tried.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CheckedStep {
    /// What.
    what: String,
    /// Whether it works.
    ok: bool,
    /// What came of it, in words.
    words: String,
}

impl From<Step> for CheckedStep {
    fn from(step: Step) -> Self {
        let (ok, words) = match step.outcome {
            Ok(words) => (true, words),
            Err(words) => (false, words),
        };
        Self {
            what: step.what.to_owned(),
            ok,
            words,
        }
    }
}

/// `POST /api/v1/connections/{name}/check`
pub(super) async fn check(state: web::Data<State>, name: web::Path<String>) -> Answer<Checked> {
    let connection = edit::stored_connection(&state, &name).await?;
    let steps = shared::connection(&state, &connection).await?;
    let steps: Vec<CheckedStep> = steps.into_iter().map(CheckedStep::from).collect();
    Ok(web::Json(Checked {
        ok: steps.iter().all(|step| step.ok),
        steps,
    }))
}

/// An inbound credential, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Credential {
    /// Identifier.
    id: String,
    /// `bearer`, `basic`, `client` or `hook`.
    scheme: String,
    /// What it is for; the user name of a Basic credential, the id of a client.
    label: String,
    /// When it was made.
    created_at: String,
    /// When it ends.
    expires_at: Option<String>,
}

/// `GET /api/v1/connections/{name}/credentials`
pub(super) async fn credentials(
    state: web::Data<State>,
    name: web::Path<String>,
) -> Answer<Vec<Credential>> {
    let connection = edit::stored_connection(&state, &name).await?;
    let all = state.store.read(tokens::list).await?;
    let own = all
        .into_iter()
        .filter(|it| it.connection == connection.settings.name);
    Ok(web::Json(
        own.map(|it| Credential {
            id: it.id,
            scheme: it.scheme,
            label: it.label,
            created_at: rfc3339(it.created_at),
            expires_at: it.expires_at.map(rfc3339),
        })
        .collect(),
    ))
}

/// A credential to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCredential {
    /// `bearer`, `basic`, `client` or `hook`; bearer if it is left out.
    scheme: Option<Scheme>,
    /// What it is for; the user name of a Basic credential.
    #[serde(default)]
    label: String,
    /// After how many days it ends; never if it is left out.
    #[schemars(range(min = 1))]
    days: Option<u32>,
}

/// How a credential is presented.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// User name and password.
    Basic,
    /// A client id and secret, with which access tokens are asked for.
    Client,
    /// A bearer token for the login hook alone.
    Hook,
}

/// A credential that was made just now.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeCredential {
    /// Identifier.
    id: String,
    /// What it is for; the user name of a Basic credential, the id of a client.
    label: String,
    /// Its secret; it cannot be had again.
    secret: String,
}

impl From<Made> for MadeCredential {
    fn from(made: Made) -> Self {
        Self {
            id: made.id,
            label: made.label,
            secret: made.secret.expose_secret().to_owned(),
        }
    }
}

/// `POST /api/v1/connections/{name}/credentials`
pub(super) async fn create(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<NewCredential>,
) -> Result<HttpResponse, Problem> {
    let NewCredential {
        scheme,
        label,
        days,
    } = body.into_inner();
    let kind = match scheme.unwrap_or(Scheme::Bearer) {
        Scheme::Bearer => Kind::Bearer(label),
        Scheme::Basic => Kind::Basic(label),
        Scheme::Client => Kind::Client,
        Scheme::Hook => Kind::Hook(label),
    };
    let made = credentials::create(&state, &actor, &name, kind, days, THROUGH).await?;
    Ok(HttpResponse::Created().json(MadeCredential::from(made)))
}

/// How long the former one is taken still.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// In days; 7 if it is left out.
    days: Option<u32>,
}

/// `POST /api/v1/credentials/{id}/rotate`
pub(super) async fn rotate(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    body: web::Json<Rotate>,
) -> Result<HttpResponse, Problem> {
    let days = body.days.unwrap_or(7);
    let made = credentials::rotate(&state, &actor, &id, days, THROUGH).await?;
    Ok(HttpResponse::Created().json(MadeCredential::from(made)))
}

/// `DELETE /api/v1/credentials/{id}`
pub(super) async fn revoke(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    credentials::revoke(&state, &actor, &id, THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}
