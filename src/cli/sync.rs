//! `usher sync`

use std::sync::Arc;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Context, output};
use crate::app;
use crate::domain::Connection;
use crate::reconcile::{Counts, Extent, OnProgress, Report, Synced, Who};
use crate::store::runs::{self, RunResult};
use crate::store::{self, settings};

/// Lines of the result table; `usher runs RUN` shows all.
const SHOWN: i64 = 50;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The connection whose domain is read.
    pub(super) connection: String,
    /// Read everything, not only what changed since the last run.
    #[arg(long, conflicts_with = "user")]
    pub(super) full: bool,
    /// Read only this person (user name or id in the domain). Also brings back somebody whom a push took away.
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Believe the domain although up to so many percent of what is known are missing, this once: each one is still
    /// asked about by itself. A run that shows too little says how many percent that is.
    #[arg(long, value_name = "PERCENT", requires = "full",
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(super) accept_shrink: Option<u8>,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let connection = named(context, &arguments.connection).await?;
    let reconciler = app::reconciler(&context.store, &context.clock, context.existing_vault()?);
    if let Some(user) = &arguments.user {
        // Ids in a domain are 32 hex digits, and no login name is.
        let is_id = user.len() == 32 && user.bytes().all(|b| b.is_ascii_hexdigit());
        let who = if is_id {
            Who::Id(user.clone())
        } else {
            Who::Name(user.clone())
        };
        let synced = reconciler
            .one_user(&connection, &who, "usher sync", true)
            .await?;
        return show_user(user, &synced, arguments.json);
    }
    let extent = if arguments.full {
        Extent::Full
    } else {
        Extent::Incremental
    };
    let bar = ProgressBar::new_spinner();
    let begun = reconciler
        .begin(&connection, extent, "usher sync", false)
        .await?
        .accepting(arguments.accept_shrink);
    let report = reconciler.go_on(begun, Some(progress(&bar))).await;
    bar.finish_and_clear();
    let report = report?;
    let id = report.run.clone();
    let results = context
        .store
        .read(move |conn| runs::results(conn, &id, SHOWN + 1))
        .await?;
    if arguments.json {
        output::json(&json!({
            "run": report.run, "kind": report.kind, "state": report.state, "message": report.message,
            "counts": report.counts,
        }))?;
    } else {
        show(&report, &results);
    }
    match report.message {
        Some(text) => bail!("{text}"),
        None => Ok(()),
    }
}

/// The connection of that name.
pub(super) async fn named(context: &Context, name: &str) -> anyhow::Result<Connection> {
    let configuration = context.store.read(settings::load).await?;
    let found = configuration
        .connections
        .into_iter()
        .find(|it| it.settings.name == name);
    match found {
        Some(connection) => Ok(connection),
        None => bail!("there is no connection {name:?}"),
    }
}

/// A bar on standard error; it hides itself where nobody looks at a terminal.
fn progress(bar: &ProgressBar) -> OnProgress {
    let bar = bar.clone();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} [{elapsed}]") {
        bar.set_style(style);
    }
    Arc::new(move |progress| {
        bar.set_message(progress.phase);
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_position(progress.done);
    })
}

fn show(report: &Report, results: &[RunResult]) {
    output::line(&format!(
        "{} run {}: {}",
        report.kind, report.run, report.state
    ));
    output::table(&["what", "how many"], counted(&report.counts));
    show_results(results, SHOWN, &report.run);
}

/// The counts that are not zero.
pub(super) fn counted(counts: &Counts) -> Vec<Vec<String>> {
    let words = counts.in_words().into_iter();
    words
        .map(|(what, number)| vec![what.to_owned(), number.to_string()])
        .collect()
}

/// What was changed, at most `most` lines.
pub(super) fn show_results(results: &[RunResult], most: i64, run: &str) {
    if results.is_empty() {
        output::line("nothing changed");
        return;
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let rows = results.iter().take(most).map(|it| {
        let missed = if it.missed_push { "missed push" } else { "" };
        vec![
            it.subject.clone(),
            it.change.clone(),
            it.detail.clone(),
            missed.to_owned(),
        ]
    });
    output::table(&["who", "change", "what", ""], rows.collect());
    if results.len() > most {
        output::line(&format!("… and more: usher runs {run}"));
    }
}

fn show_user(user: &str, synced: &Synced, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        output::json(&json!({
            "user": user, "id": synced.user_id, "changed": synced.changed, "removed": synced.removed,
            "granted": synced.granted, "joined": synced.joined, "left": synced.left,
            "missed_push": synced.missed_push, "refused": synced.refused,
        }))?;
    }
    if let Some(text) = &synced.refused {
        bail!("{text}");
    }
    if as_json {
        return Ok(());
    }
    let words = match synced {
        Synced { removed: true, .. } => {
            "the domain has this user no more, and neither has the mirror"
        }
        Synced { user_id: None, .. } => {
            "the domain has this user; the connection takes in only those that are pushed"
        }
        Synced { changed: true, .. } => "brought in step",
        _ => "was in step already",
    };
    let missed = if synced.missed_push {
        "; a push should have brought that"
    } else {
        ""
    };
    output::line(&format!("{user}: {words}{missed}"));
    Ok(())
}

/// Reads what a run changed.
pub(super) async fn results_of(
    context: &Context,
    run: &str,
    limit: i64,
) -> Result<Vec<RunResult>, store::Error> {
    let run = run.to_owned();
    context
        .store
        .read(move |conn| runs::results(conn, &run, limit))
        .await
}
