//! `usher ready`: for health checks of containers, which have no other program to ask with.

use std::time::Duration;

use anyhow::bail;

use crate::outbound::{Client, Credential, Options, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    // Not called as the option `--server` of every command is inside: a value of the one would be one of the other.
    /// The server to ask.
    #[arg(
        long = "url",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    address: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options {
        timeout: Duration::from_secs(3),
        ..Options::default()
    };
    // Nobody checks who asks.
    let nobody = Credential::Bearer("none".into());
    let client = Client::new(&arguments.address, nobody, options)?;
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
        arguments.address,
        answer.status
    )
}
