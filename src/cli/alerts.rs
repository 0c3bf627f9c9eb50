//! `usher alerts`

use super::{Context, output};
use crate::alerts::{self, Channel};
use crate::clock::rfc3339;
use crate::configure;
use crate::store::{alerts as rows, settings};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// What is wrong at the moment, and through what it was told.
    List,
    /// Send a test message through every channel that is set up.
    Test,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(context).await,
        Command::Test => test(context).await,
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let all = context.store.read(rows::all).await?;
    if all.is_empty() {
        output::line("nothing is wrong, as of the last look");
        return Ok(());
    }
    let lines = all
        .into_iter()
        .map(|row| {
            let state = match (row.ended_at, row.told_at) {
                (Some(_), _) => "over, not told yet".to_owned(),
                (None, Some(at)) => format!("told {}", rfc3339(at)),
                (None, None) => "not told yet".to_owned(),
            };
            vec![rfc3339(row.since), row.channel, state, row.text]
        })
        .collect();
    output::table(&["SINCE", "CHANNEL", "STATE", "ALERT"], lines);
    Ok(())
}

async fn test(context: &Context) -> anyhow::Result<()> {
    let configuration = context.store.read(settings::load).await?;
    let settings = configuration.alerts.unwrap_or_default();
    let mut failed = Vec::new();
    if Channel::of(&settings) == [Channel::Log] {
        anyhow::bail!(
            "no channel is set up: add [alerts.webhook] or [alerts.mail] and `usher apply` it"
        );
    }
    let secrets = configure::secrets(context.existing_vault()?);
    for (channel, outcome) in alerts::test(&settings, &secrets, context.clock.now()).await {
        match outcome {
            Ok(()) => output::line(&format!("{}: sent", channel.as_str())),
            Err(error) => failed.push(format!("{}: {error}", channel.as_str())),
        }
    }
    if !failed.is_empty() {
        anyhow::bail!("{}", failed.join("; "));
    }
    Ok(())
}
