//! `usher backup`, `usher restore` and `usher move`

use std::path::PathBuf;

use super::{By, output};
use crate::app;
use crate::clock::Clock;
use crate::config::server::{DatabaseUrl, DatabaseUrlError};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The file to write.
    file: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    replace: bool,
}

pub(super) async fn backup(url: &DatabaseUrl, arguments: BackupArguments) -> anyhow::Result<()> {
    let written = app::keep::backup(url, &arguments.file, arguments.replace).await?;
    output::line(&format!(
        "{}: {} bytes, read back and whole",
        arguments.file.display(),
        written.bytes
    ));
    output::note("the master key is not in it: keep a copy of that in another place");
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The backup.
    file: PathBuf,
    /// Move a database aside that is there.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    by: By,
}

pub(super) fn restore(url: &DatabaseUrl, arguments: RestoreArguments) -> anyhow::Result<()> {
    let by = arguments.by.name();
    let former = app::keep::restore(url, &arguments.file, arguments.replace, &by, &Clock::System)?;
    output::line(&format!("restored from {}", arguments.file.display()));
    if let Some(former) = former {
        output::line(&format!("the former database is {}", former.display()));
    }
    output::line("all targets are paused. What to do now:");
    output::line(
        "  usher token list    credentials that were revoked since the backup are valid again",
    );
    output::line("  usher serve         and in another window:");
    output::line("  usher sync          what the source changed since the backup");
    output::line("  usher plan          what would be done");
    output::line("  usher resume        lets the targets go on");
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct MoveArguments {
    /// The new, empty database: `postgres://USER@HOST/NAME`. A password is better put into the environment
    /// variable, or into the file that PGPASSFILE names.
    #[arg(
        long,
        env = "USHER_MOVE_TO",
        hide_env_values = true,
        value_name = "URL",
        value_parser = super::unread
    )]
    to: Result<DatabaseUrl, DatabaseUrlError>,
}

pub(super) fn move_to(url: &DatabaseUrl, arguments: MoveArguments) -> anyhow::Result<()> {
    let to = arguments
        .to
        .map_err(|e| anyhow::Error::new(e).context("--to (USHER_MOVE_TO)"))?;
    let (moved, aside) = app::keep::move_to(url, &to)?;
    for (table, rows) in moved.tables.iter().filter(|(_, rows)| *rows > 0) {
        output::line(&format!("{table}: {rows}"));
    }
    output::line(&format!(
        "all of it is in {to}: start the server with that as USHER_DATABASE_URL"
    ));
    output::note(&format!(
        "the file is {} now; servers on PostgreSQL are told with --master-key-file where the master key is",
        aside.display()
    ));
    Ok(())
}
