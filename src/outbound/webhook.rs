//! Posts to an address that is itself a secret: neither it nor the answer is repeated anywhere.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Credential, Options, USER_AGENT, authorization, is_loopback, network};

const TIMEOUT: Duration = Duration::from_secs(15);

/// Posts JSON. The error says what went wrong, with the host and without the rest of the address.
///
/// # Errors
/// In words, for an administrator.
pub async fn post(
    url: &SecretString,
    token: Option<SecretString>,
    body: &Value,
) -> Result<(), String> {
    // Not the parser's words: they may quote the address.
    let url = Url::parse(url.expose_secret().trim())
        .map_err(|_| "the address of the webhook is no URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address of the webhook must start with https://".to_owned());
    }
    let host = match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => return Err("the address of the webhook has no host".to_owned()),
    };
    let credential = token.map_or(Credential::Nothing, Credential::Bearer);
    let header = authorization(&credential).map_err(|e| e.to_string())?;
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT);
    if is_loopback(&url) {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|e| network::innermost(&e))?;
    let mut request = client.post(url).json(body);
    if let Some(header) = header {
        request = request.header(AUTHORIZATION, header);
    }
    let options = Options {
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        ..Options::default()
    };
    let answer = request
        .send()
        .await
        .map_err(|e| network::in_words(&e, &host, &options))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(format!("{host} answers {}", answer.status().as_u16()))
}
