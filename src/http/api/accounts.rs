//! Administrators and API tokens.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::accounts::{self, Changing, Making};
use super::{Answer, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::clock::{parse_rfc3339, rfc3339};
use crate::domain::Role;
use crate::store::admins::{self, Admin, ApiToken, DomainLogin};

/// Somebody who may use the seat.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Administrator {
    /// Name.
    name: String,
    /// What they may do.
    role: Role,
    /// Whether they may not sign in.
    disabled: bool,
    /// Whether they may sign in with a password.
    password: bool,
    /// The domain that may sign them in.
    domain: Option<Domain>,
    /// When they were made.
    created_at: String,
    /// When they signed in last.
    signed_in_at: Option<String>,
}

impl From<Admin> for Administrator {
    fn from(admin: Admin) -> Self {
        Self {
            name: admin.name,
            role: admin.role,
            disabled: admin.disabled,
            password: admin.has_password,
            domain: admin.domain.map(Into::into),
            created_at: rfc3339(admin.created_at),
            signed_in_at: admin.signed_in_at.map(rfc3339),
        }
    }
}

/// Somebody in the identity domain that a connection reads.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Domain {
    /// Name of the connection.
    connection: String,
    /// Login name there, whatever its case.
    login: String,
}

impl From<DomainLogin> for Domain {
    fn from(DomainLogin { connection, login }: DomainLogin) -> Self {
        Self { connection, login }
    }
}

impl From<Domain> for DomainLogin {
    fn from(Domain { connection, login }: Domain) -> Self {
        Self { connection, login }
    }
}

/// `GET /api/v1/administrators`
pub(super) async fn administrators(state: web::Data<State>) -> Answer<Vec<Administrator>> {
    let admins = state.store.read(admins::list).await?;
    Ok(web::Json(admins.into_iter().map(Into::into).collect()))
}

/// Somebody to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAdministrator {
    /// Name.
    name: String,
    /// What they may do.
    role: Role,
    /// 12 to 200 characters. Needed where no domain signs them in.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The domain that may sign them in.
    domain: Option<Domain>,
}

/// `POST /api/v1/administrators`
pub(super) async fn create(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<NewAdministrator>,
) -> Result<HttpResponse, Problem> {
    let NewAdministrator {
        name,
        role,
        password,
        domain,
    } = body.into_inner();
    let making = Making {
        name,
        role,
        password,
        domain: domain.map(Into::into),
    };
    let made = accounts::create(&state, &actor, making, THROUGH).await?;
    Ok(HttpResponse::Created().json(Administrator::from(made)))
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAdministrator {
    /// What they may do.
    role: Option<Role>,
    /// Whether they may not sign in; `true` ends their sessions.
    disabled: Option<bool>,
    /// 12 to 200 characters; ends their sessions.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The domain that may sign them in; `null`: none any more. Ends their sessions.
    #[serde(default, deserialize_with = "stated")]
    #[schemars(with = "Option<Domain>")]
    domain: Option<Option<Domain>>,
}

/// Tells `null` from what is absent.
fn stated<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Domain>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PATCH /api/v1/administrators/{name}`
pub(super) async fn change(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<ChangeAdministrator>,
) -> Answer<Administrator> {
    let ChangeAdministrator {
        role,
        disabled,
        password,
        domain,
    } = body.into_inner();
    let changing = Changing {
        role,
        disabled,
        password,
        domain: domain.map(|domain| domain.map(Into::into)),
    };
    let changed = accounts::change(&state, &actor, name.into_inner(), changing, THROUGH).await?;
    Ok(web::Json(changed.into()))
}

/// `DELETE /api/v1/administrators/{name}`
pub(super) async fn remove(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    accounts::remove(&state, &actor, name.into_inner(), THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// An API token, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Token {
    /// Identifier.
    id: String,
    /// What it is for.
    label: String,
    /// What it may do.
    role: Role,
    /// Who made it.
    created_by: String,
    /// When it was made.
    created_at: String,
    /// When it ends.
    expires_at: Option<String>,
}

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            label: token.label,
            role: token.role,
            created_by: token.created_by,
            created_at: rfc3339(token.created_at),
            expires_at: token.expires_at.map(rfc3339),
        }
    }
}

/// `GET /api/v1/tokens`
pub(super) async fn tokens(state: web::Data<State>) -> Answer<Vec<Token>> {
    let tokens = state.store.read(admins::tokens).await?;
    Ok(web::Json(tokens.into_iter().map(Into::into).collect()))
}

/// A token to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is for.
    label: String,
    /// What it may do.
    role: Role,
    /// When it ends (RFC 3339). Without: never.
    expires_at: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeToken {
    /// The token.
    #[serde(flatten)]
    token: Token,
    /// Its secret. Keep it now: it cannot be shown again.
    secret: String,
}

/// `POST /api/v1/tokens`
pub(super) async fn create_token(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<NewToken>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let now = state.clock.now();
    let expires_at = match &body.expires_at {
        None => None,
        Some(text) => Some(parse_rfc3339(text).filter(|at| *at > now).ok_or_else(|| {
            Problem::new(
                400,
                "expires_at should be an instant in the future (RFC 3339)",
            )
        })?),
    };
    let (token, secret) =
        accounts::create_token(&state, &actor, &body.label, body.role, expires_at, THROUGH).await?;
    Ok(HttpResponse::Created().json(MadeToken {
        token: token.into(),
        secret: secret.expose_secret().to_owned(),
    }))
}

/// `DELETE /api/v1/tokens/{id}`
pub(super) async fn revoke_token(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    accounts::revoke_token(&state, &actor, id.into_inner(), THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}
