//! Targets, and whether they can be used.

use actix_web::web;
use jiff::civil::Date;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::super::edit::{self, Edit, TargetWish};
use super::super::{State, check as shared};
use super::configuration::Outcome;
use super::connections::{span, word};
use super::{Answer, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::domain::TargetAuth;
use crate::store::settings;

/// A target, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Target {
    /// Its name.
    name: String,
    /// `jira-dc`, `confluence-dc`, `bitbucket-dc`, `crowd` or `atlassian-guard`.
    kind: String,
    /// Address of the product.
    base_url: String,
    /// With which user name Usher signs in; absent: with a token.
    username: Option<String>,
    /// The first day on which the token does not work any more.
    token_expires: Option<String>,
    /// How many people are brought in step at the same time.
    concurrency: u32,
    /// How many requests a second it gets at most.
    requests_per_second: Option<u32>,
}

/// `GET /api/v1/targets`
pub(super) async fn list(state: web::Data<State>) -> Answer<Vec<Target>> {
    let configuration = state.store.read(settings::load).await?;
    let targets = configuration.targets.into_iter().map(|target| {
        let settings = target.settings;
        Target {
            kind: settings.kind.as_str().to_owned(),
            base_url: settings.base_url,
            username: match settings.auth {
                TargetAuth::Token(_) => None,
                TargetAuth::Basic { username, .. } => Some(username),
            },
            token_expires: settings.token_expires.map(|on| on.to_string()),
            concurrency: settings.concurrency,
            requests_per_second: settings.requests_per_second,
            name: settings.name,
        }
    });
    Ok(web::Json(targets.collect()))
}

/// What a target is to be. What is left out of an existing one becomes what it is by default, but for the secret,
/// which stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `jira-dc`, `confluence-dc`, `bitbucket-dc`, `crowd` or `atlassian-guard`.
    kind: String,
    /// Address of the product.
    base_url: String,
    /// With which user name Usher signs in; without, it shows a token.
    username: Option<String>,
    /// The token or the password: kept encrypted, never shown again.
    #[schemars(with = "Option<String>")]
    secret: Option<SecretString>,
    /// The first day on which the token does not work any more, such as `2027-03-01`.
    token_expires: Option<String>,
    /// How many people are brought in step at the same time: 1 to 32.
    concurrency: Option<u32>,
    /// How many requests a second it gets at most.
    requests_per_second: Option<u32>,
    /// How long one request may take, such as `20s`.
    timeout: Option<String>,
}

/// `PUT /api/v1/targets/{name}`
pub(super) async fn put(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<Wish>,
) -> Answer<Outcome> {
    let wish = body.into_inner();
    let token_expires: Option<Date> = wish
        .token_expires
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| {
            edit::missing(
                "token_expires",
                "token_expires should be a date such as 2027-03-01",
            )
        })?;
    let wish = TargetWish {
        kind: word("kind", &wish.kind)?,
        base_url: wish.base_url,
        username: wish.username,
        secret: wish.secret,
        token_expires,
        concurrency: wish.concurrency.unwrap_or(4),
        requests_per_second: wish.requests_per_second,
        timeout_s: span("timeout", wish.timeout.as_deref(), 20)?,
    };
    let mut edit = Edit::begin(&state).await?;
    edit.put_target(&name, wish)?;
    let report = edit
        .apply(&state, &actor, THROUGH, false)
        .await
        .map_err(Problem::from)?;
    Ok(web::Json(report.into()))
}

/// What a target says of itself.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Checked {
    /// Whether it can be used.
    ok: bool,
    /// Why not, in words.
    error: Option<String>,
    /// Name of the product.
    product: String,
    /// Its version.
    version: String,
    /// The account that Usher signs in with.
    account: String,
    /// What that account may do.
    rights: Vec<String>,
    /// What will not work.
    warnings: Vec<String>,
}

/// `POST /api/v1/targets/{name}/check`
pub(super) async fn check(state: web::Data<State>, name: web::Path<String>) -> Answer<Checked> {
    let target = edit::stored_target(&state, &name).await?;
    Ok(web::Json(match shared::target(&state, &target).await {
        Ok(check) => Checked {
            ok: true,
            error: None,
            product: check.product,
            version: check.version,
            account: check.account,
            rights: check.rights,
            warnings: check.warnings,
        },
        Err(error) => Checked {
            error: Some(error),
            ..Checked::default()
        },
    }))
}
