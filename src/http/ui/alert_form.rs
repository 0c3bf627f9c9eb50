//! The form for alerts on the settings page.

use super::super::edit::{self, AlertsWish, MailWish, WebhookWish};
use super::super::problem::Problem;
use super::form::{self, Fields};
use crate::config::span_text;
use crate::domain::AlertSettings;

/// The fields of the form for alerts, as text.
#[derive(Default)]
pub(super) struct AlertForm {
    pub(super) no_push: String,
    pub(super) backlog: String,
    pub(super) unreachable: String,
    pub(super) webhook: bool,
    /// Where the present secrets are; empty: there are none.
    pub(super) webhook_url: String,
    pub(super) webhook_token: String,
    pub(super) mail: bool,
    pub(super) mail_server: String,
    pub(super) mail_port: String,
    pub(super) mail_tls: String,
    pub(super) mail_username: String,
    pub(super) mail_password: String,
    pub(super) mail_from: String,
    pub(super) mail_to: String,
    pub(super) mistakes: Vec<String>,
}

impl AlertForm {
    pub(super) fn of(settings: &AlertSettings) -> Self {
        let span = |seconds: Option<u64>| seconds.map(span_text).unwrap_or_default();
        let mut form = Self {
            no_push: span(settings.no_push_s),
            backlog: span(settings.backlog_s),
            unreachable: span(settings.unreachable_s),
            mail_tls: "starttls".to_owned(),
            ..Self::default()
        };
        if let Some(webhook) = &settings.webhook {
            form.webhook = true;
            form.webhook_url = edit::secret_in_words(&webhook.url);
            form.webhook_token = webhook
                .token
                .as_ref()
                .map_or_else(String::new, edit::secret_in_words);
        }
        if let Some(mail) = &settings.mail {
            form.mail = true;
            form.mail_server.clone_from(&mail.server);
            form.mail_port = mail.port.to_string();
            form.mail_tls = form::word(&mail.tls);
            if let Some((name, password)) = &mail.login {
                form.mail_username.clone_from(name);
                form.mail_password = edit::secret_in_words(password);
            }
            form.mail_from.clone_from(&mail.from);
            form.mail_to = mail.to.join("\n");
        }
        form
    }

    /// What somebody typed, to be shown again with what is wrong with it.
    pub(super) fn typed(fields: &Fields, settings: &AlertSettings, mistakes: Vec<String>) -> Self {
        let text = |name| fields.get(name).to_owned();
        Self {
            no_push: text("no_push"),
            backlog: text("backlog"),
            unreachable: text("unreachable"),
            webhook: fields.ticked("webhook"),
            mail: fields.ticked("mail"),
            mail_server: text("mail_server"),
            mail_port: text("mail_port"),
            mail_tls: text("mail_tls"),
            mail_username: text("mail_username"),
            mail_from: text("mail_from"),
            mail_to: text("mail_to"),
            mistakes,
            ..Self::of(settings)
        }
    }
}

/// What somebody wants.
///
/// # Errors
/// Names the field that cannot be used.
pub(super) fn wish(fields: &Fields) -> Result<AlertsWish, Problem> {
    let span = |name| match fields.get(name) {
        "" => Ok(None),
        _ => fields.seconds(name, 0).map(Some),
    };
    let mail = match fields.ticked("mail") {
        false => None,
        true => Some(MailWish {
            server: fields.get("mail_server").to_owned(),
            port: match fields.number("mail_port", 0)? {
                0 => None,
                port => Some(
                    u16::try_from(port)
                        .map_err(|_| form::wrong("mail_port", "should be at most 65535"))?,
                ),
            },
            tls: fields.word("mail_tls")?,
            username: fields.text("mail_username"),
            password: fields.secret("mail_password"),
            from: fields.get("mail_from").to_owned(),
            to: fields.lines("mail_to"),
        }),
    };
    Ok(AlertsWish {
        no_push_s: span("no_push")?,
        backlog_s: span("backlog")?,
        unreachable_s: span("unreachable")?,
        webhook: fields.ticked("webhook").then(|| WebhookWish {
            url: fields.secret("webhook_url"),
            token: fields.secret("webhook_token"),
        }),
        mail,
    })
}
