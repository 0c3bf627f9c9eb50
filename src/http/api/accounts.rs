//! Administrators and API tokens.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::State;
use super::{Answer, Problem};
use crate::auth::seat::{Actor, good_name};
use crate::clock::{parse_rfc3339, rfc3339};
use crate::domain::Role;
use crate::store::admins::{self, Admin, ApiToken, Change, NewAdmin, Refused};
use crate::store::audit::{self, NewAudit};
use crate::store::{self};

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
            created_at: rfc3339(admin.created_at),
            signed_in_at: admin.signed_in_at.map(rfc3339),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Unknown => Self::new(404, refused.to_string()),
            Refused::NameTaken | Refused::Last => Self::new(409, refused.to_string()),
        }
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
    /// 12 to 200 characters.
    #[schemars(with = "String")]
    password: SecretString,
}

/// `POST /api/v1/administrators`
pub(super) async fn create(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<NewAdministrator>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let name = good_name(&body.name).map_err(|e| Problem::new(400, e))?;
    let password = state
        .seat
        .hash(&name, &body.password)
        .await
        .map_err(|e| Problem::new(400, e))?;
    let new = NewAdmin {
        name,
        role: body.role,
        password: Some(password),
        subject: None,
    };
    let now = state.clock.now();
    let made = state
        .store
        .write(move |tx| -> Result<Admin, Refused> {
            admins::insert(tx, &new, now)?;
            let detail = json!({"name": new.name, "role": new.role});
            let act = NewAudit::act(now, &actor.name, "create_administrator", &detail, "API");
            audit::append(tx, &act)?;
            found(tx, &new.name)
        })
        .await?;
    Ok(HttpResponse::Created().json(Administrator::from(made)))
}

fn found(tx: &mut store::Tx<'_>, name: &str) -> Result<Admin, Refused> {
    Ok(admins::named(tx.conn(), name)?.ok_or(Refused::Unknown)?.0)
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
}

/// `PATCH /api/v1/administrators/{name}`
pub(super) async fn change(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<ChangeAdministrator>,
) -> Answer<Administrator> {
    let (name, body) = (name.into_inner(), body.into_inner());
    let password = match &body.password {
        None => None,
        Some(password) => {
            let hash = state.seat.hash(&name, password).await;
            Some(hash.map_err(|e| Problem::new(400, e))?)
        }
    };
    let change = Change {
        role: body.role,
        password,
        disabled: body.disabled,
    };
    let now = state.clock.now();
    let changed = state
        .store
        .write(move |tx| -> Result<Admin, Refused> {
            let admin = found(tx, &name)?;
            if change == Change::default() {
                tx.discard();
                return Ok(admin);
            }
            admins::change(tx, &admin.id, &change)?;
            let detail = json!({
                "name": admin.name, "role": change.role, "disabled": change.disabled,
                "password": change.password.is_some(),
            });
            let act = NewAudit::act(now, &actor.name, "change_administrator", &detail, "API");
            audit::append(tx, &act)?;
            found(tx, &name)
        })
        .await?;
    Ok(web::Json(changed.into()))
}

/// `DELETE /api/v1/administrators/{name}`
pub(super) async fn remove(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let name = name.into_inner();
    let now = state.clock.now();
    state
        .store
        .write(move |tx| -> Result<(), Refused> {
            let admin = found(tx, &name)?;
            admins::remove(tx, &admin.id)?;
            let detail = json!({"name": admin.name});
            let act = NewAudit::act(now, &actor.name, "remove_administrator", &detail, "API");
            Ok(audit::append(tx, &act)?)
        })
        .await?;
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
    let label = good_name(&body.label).map_err(|_| {
        Problem::new(
            400,
            "label should have 1 to 100 characters, without control characters",
        )
    })?;
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
    let (token, secret) = state
        .seat
        .new_token(&label, body.role, &actor.name, expires_at)
        .await?;
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
    let id = id.into_inner();
    let now = state.clock.now();
    let found = state
        .store
        .write(move |tx| -> Result<bool, store::Error> {
            if !admins::revoke_token(tx, &id)? {
                tx.discard();
                return Ok(false);
            }
            let detail = json!({"token": id});
            audit::append(
                tx,
                &NewAudit::act(now, &actor.name, "revoke_api_token", &detail, "API"),
            )?;
            Ok(true)
        })
        .await?;
    if !found {
        return Err(Problem::new(404, "there is no such token (any more)"));
    }
    Ok(HttpResponse::NoContent().finish())
}
