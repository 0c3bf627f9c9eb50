//! Of what administrators are told, and how.

use actix_web::web;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::alerts as shared;
use super::super::edit::{AlertsWish, Edit, MailWish, WebhookWish};
use super::configuration::Outcome;
use super::connections::span;
use super::{Answer, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::config::span_text;
use crate::domain::{AlertSettings, MailTls};

/// Of what administrators are told, and how; without secrets.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Alerts {
    /// A connection that has written nothing for so long, such as `2d`; absent: no alert.
    no_push: Option<String>,
    /// Work that has waited for so long; absent: no alert.
    backlog: Option<String>,
    /// A target that has been out of reach for so long; absent: no alert.
    unreachable: Option<String>,
    /// Whether alerts are posted to a webhook.
    webhook: bool,
    /// Whom alerts are mailed to.
    mail: Option<Mail>,
}

/// Whom alerts are mailed to, without the password.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Mail {
    /// Name of the server.
    server: String,
    /// Its port.
    port: u16,
    /// How the connection is kept private.
    tls: MailTls,
    /// With which user name Usher signs in there.
    username: Option<String>,
    /// Sender.
    from: String,
    /// Receivers.
    to: Vec<String>,
}

impl From<AlertSettings> for Alerts {
    fn from(settings: AlertSettings) -> Self {
        Self {
            no_push: settings.no_push_s.map(span_text),
            backlog: settings.backlog_s.map(span_text),
            unreachable: settings.unreachable_s.map(span_text),
            webhook: settings.webhook.is_some(),
            mail: settings.mail.map(|mail| Mail {
                server: mail.server,
                port: mail.port,
                tls: mail.tls,
                username: mail.login.map(|(name, _)| name),
                from: mail.from,
                to: mail.to,
            }),
        }
    }
}

/// `GET /api/v1/alerts`
pub(super) async fn show(state: web::Data<State>) -> Answer<Alerts> {
    Ok(web::Json(shared::stored(&state).await?.into()))
}

/// Of what administrators are to be told, and how. What is left out is off, but for secrets, which stay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// A connection that has written nothing for so long, such as `2d`.
    no_push: Option<String>,
    /// Work that has waited for so long.
    backlog: Option<String>,
    /// A target that has been out of reach for so long.
    unreachable: Option<String>,
    /// Where alerts are posted to.
    webhook: Option<Webhook>,
    /// Whom alerts are mailed to.
    mail: Option<NewMail>,
}

/// Where alerts are posted to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    /// The address: kept encrypted, never shown again. Left out: as before.
    #[schemars(with = "Option<String>")]
    url: Option<SecretString>,
    /// For `Authorization: Bearer`: kept encrypted, never shown again. Left out: as before.
    #[schemars(with = "Option<String>")]
    token: Option<SecretString>,
}

/// Whom alerts are mailed to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMail {
    /// Name of the server.
    server: String,
    /// Its port; left out: the usual one.
    port: Option<u16>,
    /// How the connection is kept private; left out: `starttls`.
    tls: Option<MailTls>,
    /// With which user name Usher signs in there.
    username: Option<String>,
    /// Kept encrypted, never shown again. Left out: as before.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// Sender.
    from: String,
    /// Receivers.
    to: Vec<String>,
}

/// `PUT /api/v1/alerts`
pub(super) async fn put(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Wish>,
) -> Answer<Outcome> {
    let wish = body.into_inner();
    let after = |field: &str, text: Option<String>| {
        text.map(|text| span(field, Some(&text), 0)).transpose()
    };
    let mail = wish.mail.map(|mail| MailWish {
        server: mail.server,
        port: mail.port,
        tls: mail.tls.unwrap_or(MailTls::Starttls),
        username: mail.username,
        password: mail.password,
        from: mail.from,
        to: mail.to,
    });
    let wish = AlertsWish {
        no_push_s: after("no_push", wish.no_push)?,
        backlog_s: after("backlog", wish.backlog)?,
        unreachable_s: after("unreachable", wish.unreachable)?,
        webhook: wish.webhook.map(|webhook| WebhookWish {
            url: webhook.url,
            token: webhook.token,
        }),
        mail,
    };
    let mut edit = Edit::begin(&state).await?;
    edit.put_alerts(wish)?;
    let report = edit
        .apply(&state, &actor, THROUGH, false)
        .await
        .map_err(Problem::from)?;
    Ok(web::Json(report.into()))
}

/// How a test message went.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tested {
    /// `log`, `webhook` or `mail`.
    channel: String,
    /// Why it could not be sent.
    error: Option<String>,
}

/// `POST /api/v1/alerts/test`
pub(super) async fn test(state: web::Data<State>) -> Answer<Vec<Tested>> {
    let outcomes = shared::test(&state).await?.into_iter();
    let tested = outcomes.map(|(channel, outcome)| Tested {
        channel: channel.to_owned(),
        error: outcome.err(),
    });
    Ok(web::Json(tested.collect()))
}
