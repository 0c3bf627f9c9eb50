//! Of what an administrator is told, and how.

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// `[alerts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSettings {
    /// A connection that has written nothing for so many seconds. `None`: silence is no alert.
    pub no_push_s: Option<u64>,
    /// Work that has waited for so many seconds.
    pub backlog_s: Option<u64>,
    /// A target that has been out of reach for so many seconds.
    pub unreachable_s: Option<u64>,
    /// Where to post to.
    pub webhook: Option<WebhookSettings>,
    /// Whom to write to.
    pub mail: Option<MailSettings>,
}

/// What holds where nothing is stated: in the log alone.
impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            no_push_s: None,
            backlog_s: Some(3600),
            unreachable_s: Some(600),
            webhook: None,
            mail: None,
        }
    }
}

impl AlertSettings {
    /// Where its secrets are.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = &mut SecretRef> {
        let webhook = self.webhook.iter_mut();
        let mail = self.mail.iter_mut();
        webhook
            .flat_map(|it| std::iter::once(&mut it.url).chain(it.token.as_mut()))
            .chain(mail.filter_map(|it| it.login.as_mut().map(|(_, password)| password)))
    }
}

/// `[alerts.webhook]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSettings {
    /// Where the address is: whoever has it can post.
    pub url: SecretRef,
    /// Where a token for `Authorization: Bearer` is.
    pub token: Option<SecretRef>,
}

/// `[alerts.mail]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSettings {
    /// Name of the server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub tls: MailTls,
    /// User name, and where the password is.
    pub login: Option<(String, SecretRef)>,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Begins in the clear and must change to TLS (RFC 3207).
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// In the clear: for a server on the same host.
    None,
}

impl MailTls {
    /// The port that mail servers have for it (RFC 6409 section 3.1, RFC 8314 section 7.3, RFC 5321 section 4.5.4.2).
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}
