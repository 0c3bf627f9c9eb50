//! `usher apply`

use std::path::PathBuf;

use super::{Context, output};
use crate::app::{self, Change};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file.
    file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let report = app::apply(
        &context.store,
        &context.clock,
        &arguments.file,
        arguments.dry_run,
    )
    .await?;
    let would = if arguments.dry_run { "would be " } else { "" };
    for (what, change) in &report.lines {
        output::line(&match change {
            Change::Created => format!("{what}: {would}created"),
            Change::Changed => format!("{what}: {would}changed"),
            Change::Unchanged => format!("{what}: unchanged"),
        });
    }
    if report.marked > 0 {
        output::line(&format!("{} people {would}looked at again", report.marked));
    }
    for line in &report.backlog {
        output::line(line);
    }
    for name in &report.left_alone {
        output::note(&format!("{name}: not in the file, left as it is"));
    }
    for note in &report.notes {
        output::note(note);
    }
    Ok(())
}
