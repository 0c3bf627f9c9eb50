//! `usher ready`: for health checks of containers, which have no other program to ask with.

use std::time::Duration;

use anyhow::bail;

use crate::outbound::{Client, Credential, Options, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server to ask.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options {
        timeout: Duration::from_secs(3),
        ..Options::default()
    };
    // Nobody checks who asks.
    let nobody = Credential::Bearer("none".into());
    let client = Client::new(&arguments.url, nobody, options)?;
    let answer = client
        .send(Request {
            path: "/readyz",
            ..Request::default()
        })
        .await?;
    if answer.is_success() {
        return Ok(());
    }
    bail!(
        "{} answers {}: it is not ready",
        arguments.url,
        answer.status
    )
}
