//! `usher apply`

use std::path::PathBuf;

use super::{Context, output, plan};
use crate::app::{self, Change, Report};
use crate::converge::Scope;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file.
    pub(super) file: PathBuf,
    /// Only say what would change, and for whom. Reads the targets; writes nothing anywhere.
    #[arg(long)]
    pub(super) plan: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let report = app::apply(
        &context.store,
        &context.clock,
        &arguments.file,
        context.by("usher apply"),
        arguments.plan,
    )
    .await?;
    show(context, report, arguments.plan).await
}

/// Tells what was applied; `plan`: what would be, and for whom that changes something.
pub(super) async fn show(context: &Context, report: Report, plan: bool) -> anyhow::Result<()> {
    let would = if plan { "would be " } else { "" };
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
    if let Some(version) = report.version {
        output::note(&format!("kept as version {version}"));
    }
    for name in &report.left_alone {
        output::note(&format!("{name}: not in the file, left as it is"));
    }
    for note in &report.notes {
        output::note(note);
    }
    if plan && !report.changed.is_empty() {
        let scope = Scope {
            mappings: Some(report.changed),
            ..Scope::default()
        };
        plan::show(context, report.configuration, &scope, plan::Form::default()).await?;
    }
    Ok(())
}
