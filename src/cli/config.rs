//! `usher export` and `usher config`

use std::path::Path;

use anyhow::{Context as _, bail};

use super::{Context, apply, output};
use crate::app;
use crate::clock::rfc3339;
use crate::config::diff;
use crate::store::versions;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The versions of the configuration, the newest first.
    History {
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What changed from one version to another, or to the present.
    Diff {
        /// The number of the older version.
        from: i64,
        /// The number of the newer version. Without: the present configuration.
        to: Option<i64>,
    },
    /// Make the configuration again what a version says, the way `usher apply` does.
    Rollback {
        /// The number of the version.
        #[arg(value_name = "VERSION")]
        number: i64,
        /// Only say what would change, and for whom.
        #[arg(long)]
        plan: bool,
    },
}

pub(super) async fn export(context: &Context) -> anyhow::Result<()> {
    let text = context.store.read(versions::export).await?;
    output::line(text.trim_end());
    Ok(())
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::History { limit, json } => history(context, limit, json).await,
        Command::Diff { from, to } => {
            let old = text(context, from).await?;
            let new = match to {
                Some(to) => text(context, to).await?,
                None => context.store.read(versions::export).await?,
            };
            let differences = diff(&old, &new);
            if differences.is_empty() {
                output::note("no difference");
            } else {
                output::line(differences.trim_end());
            }
            Ok(())
        }
        Command::Rollback { number, plan } => {
            let text = text(context, number).await?;
            let place = format!("version {number}");
            let cause = format!("usher config rollback {number}");
            let report = app::apply_text(
                &context.store,
                &context.clock,
                (Path::new(&place), &text),
                context.by(&cause),
                plan,
            )
            .await?;
            apply::show(context, report, plan).await
        }
    }
}

async fn history(context: &Context, limit: i64, json: bool) -> anyhow::Result<()> {
    let versions = context
        .store
        .read(move |conn| versions::list(conn, limit))
        .await?;
    if json {
        let rows: Vec<serde_json::Value> = versions
            .iter()
            .map(|v| {
                serde_json::json!({
                    "version": v.version, "at": rfc3339(v.at), "author": v.author, "cause": v.cause,
                })
            })
            .collect();
        return output::json(&rows);
    }
    if versions.is_empty() {
        output::note("there is no version yet; `usher apply` makes the first one");
        return Ok(());
    }
    output::table(
        &["VERSION", "AT", "AUTHOR", "CAUSE"],
        versions
            .into_iter()
            .map(|v| vec![v.version.to_string(), rfc3339(v.at), v.author, v.cause])
            .collect(),
    );
    Ok(())
}

async fn text(context: &Context, version: i64) -> anyhow::Result<String> {
    if version < 1 {
        bail!("versions count from 1; `usher config history` lists them");
    }
    context
        .store
        .read(move |conn| versions::text(conn, version))
        .await?
        .with_context(|| {
            format!("there is no version {version}; `usher config history` lists them")
        })
}
