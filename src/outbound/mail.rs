//! Sends mail over SMTP.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{MailSettings, MailTls};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends one message to all receivers.
///
/// # Errors
/// In words, for an administrator.
pub async fn send(
    settings: &MailSettings,
    password: Option<&SecretString>,
    subject: &str,
    text: &str,
) -> Result<(), String> {
    let mailbox = |address: &str| {
        let address: Address = address
            .parse()
            .map_err(|_| format!("{address:?} is no address"))?;
        Ok::<_, String>(Mailbox::new(None, address))
    };
    let mut message = Message::builder()
        .from(mailbox(&settings.from)?)
        .subject(subject);
    for to in &settings.to {
        message = message.to(mailbox(to)?);
    }
    let message = message
        .body(text.to_owned())
        .map_err(|e| format!("the message cannot be written: {e}"))?;
    let parameters = || {
        TlsParameters::new_rustls(settings.server.clone())
            .map_err(|e| format!("TLS cannot be set up: {e}"))
    };
    let tls = match settings.tls {
        MailTls::Starttls => Tls::Required(parameters()?),
        MailTls::Tls => Tls::Wrapper(parameters()?),
        MailTls::None => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.server)
        .port(settings.port)
        .tls(tls)
        .timeout(Some(TIMEOUT));
    if let (Some((username, _)), Some(password)) = (&settings.login, password) {
        let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
        transport = transport.credentials(credentials);
    }
    let sent = transport.build().send(message).await;
    let server = format!("{}:{}", settings.server, settings.port);
    sent.map(|_| ())
        .map_err(|error| format!("{server}: {error}"))
}
