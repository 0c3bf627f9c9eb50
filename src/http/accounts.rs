//! What pages and API share about administrators and API tokens.

use secrecy::SecretString;
use serde_json::json;

use super::State;
use super::problem::Problem;
use crate::auth::seat::{Actor, good_login, good_name};
use crate::clock::Micros;
use crate::domain::Role;
use crate::store::admins::{self, Admin, ApiToken, Change, DomainLogin, NewAdmin, Refused};
use crate::store::audit::{self, NewAudit};
use crate::store::{self, Tx};

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Unknown => Self::new(404, refused.to_string()),
            Refused::NoDomain(_) => Self::new(400, refused.to_string()),
            Refused::NameTaken | Refused::LoginTaken | Refused::Last => {
                Self::new(409, refused.to_string())
            }
        }
    }
}

fn in_words(domain: &DomainLogin) -> String {
    format!("{} in {}", domain.login, domain.connection)
}

fn found(tx: &mut Tx<'_>, name: &str) -> Result<Admin, Refused> {
    Ok(admins::named(tx.conn(), name)?.ok_or(Refused::Unknown)?.0)
}

/// Somebody to be made.
pub(super) struct Making {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) password: Option<SecretString>,
    pub(super) domain: Option<DomainLogin>,
}

/// Makes somebody.
pub(super) async fn create(
    state: &State,
    actor: &Actor,
    making: Making,
    through: &'static str,
) -> Result<Admin, Problem> {
    let wrong = |detail: String| Problem::new(400, detail);
    let name = good_name(&making.name).map_err(wrong)?;
    let password = match &making.password {
        None => None,
        Some(password) => Some(state.seat.hash(&name, password).await.map_err(wrong)?),
    };
    if password.is_none() && making.domain.is_none() {
        return Err(wrong(
            "a password is missing, or the domain that signs this person in".to_owned(),
        ));
    }
    if let Some(domain) = &making.domain {
        good_login(&domain.login).map_err(wrong)?;
    }
    let new = NewAdmin {
        name,
        role: making.role,
        password,
        domain: making.domain,
    };
    let (by, now) = (actor.name.clone(), state.clock.now());
    let made = state
        .store
        .write(move |tx| -> Result<Admin, Refused> {
            admins::insert(tx, &new, now)?;
            let detail = json!({
                "name": new.name, "role": new.role, "password": new.password.is_some(),
                "domain": new.domain.as_ref().map(in_words),
            });
            let act = NewAudit::act(now, &by, "create_administrator", &detail, through);
            audit::append(tx, &act)?;
            found(tx, &new.name)
        })
        .await?;
    Ok(made)
}

/// What to change; what is `None` stays.
pub(super) struct Changing {
    pub(super) role: Option<Role>,
    pub(super) disabled: Option<bool>,
    pub(super) password: Option<SecretString>,
    /// `Some(None)`: no domain signs them in any more.
    pub(super) domain: Option<Option<DomainLogin>>,
}

/// Changes somebody.
pub(super) async fn change(
    state: &State,
    actor: &Actor,
    name: String,
    changing: Changing,
    through: &'static str,
) -> Result<Admin, Problem> {
    let password = match &changing.password {
        None => None,
        Some(password) => {
            let hash = state.seat.hash(&name, password).await;
            Some(hash.map_err(|detail| Problem::new(400, detail))?)
        }
    };
    let change = Change {
        role: changing.role,
        password,
        disabled: changing.disabled,
        domain: changing.domain,
    };
    if let Some(Some(domain)) = &change.domain {
        good_login(&domain.login).map_err(|detail| Problem::new(400, detail))?;
    }
    let (by, now) = (actor.name.clone(), state.clock.now());
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
                "domain": change.domain.as_ref().map(|it| it.as_ref().map(in_words)),
            });
            let act = NewAudit::act(now, &by, "change_administrator", &detail, through);
            audit::append(tx, &act)?;
            found(tx, &name)
        })
        .await?;
    Ok(changed)
}

/// Removes somebody.
pub(super) async fn remove(
    state: &State,
    actor: &Actor,
    name: String,
    through: &'static str,
) -> Result<(), Problem> {
    let (by, now) = (actor.name.clone(), state.clock.now());
    state
        .store
        .write(move |tx| -> Result<(), Refused> {
            let admin = found(tx, &name)?;
            admins::remove(tx, &admin.id)?;
            let detail = json!({"name": admin.name});
            let act = NewAudit::act(now, &by, "remove_administrator", &detail, through);
            Ok(audit::append(tx, &act)?)
        })
        .await?;
    Ok(())
}

/// Makes an API token. Returns it with its secret.
pub(super) async fn create_token(
    state: &State,
    actor: &Actor,
    label: &str,
    role: Role,
    expires_at: Option<Micros>,
    through: &'static str,
) -> Result<(ApiToken, SecretString), Problem> {
    let label = good_name(label).map_err(|_| {
        Problem::new(
            400,
            "label should have 1 to 100 characters, without control characters",
        )
    })?;
    let made = state
        .seat
        .new_token(&label, role, &actor.name, expires_at)
        .await?;
    let detail = json!({"token": made.0.id, "label": label, "role": role});
    let act = NewAudit::act(
        state.clock.now(),
        &actor.name,
        "create_api_token",
        &detail,
        through,
    );
    state.store.write(move |tx| audit::append(tx, &act)).await?;
    Ok(made)
}

/// Ends an API token.
pub(super) async fn revoke_token(
    state: &State,
    actor: &Actor,
    id: String,
    through: &'static str,
) -> Result<(), Problem> {
    let (by, now) = (actor.name.clone(), state.clock.now());
    let was_there = state
        .store
        .write(move |tx| -> Result<bool, store::Error> {
            if !admins::revoke_token(tx, &id)? {
                tx.discard();
                return Ok(false);
            }
            let detail = json!({"token": id});
            let act = NewAudit::act(now, &by, "revoke_api_token", &detail, through);
            audit::append(tx, &act)?;
            Ok(true)
        })
        .await?;
    if was_there {
        Ok(())
    } else {
        Err(Problem::new(404, "there is no such token (any more)"))
    }
}
