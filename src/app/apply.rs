//! `usher apply`: the configuration from a file, and words for what is wrong with it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::clock::Clock;
use crate::configure::{self, By, Error, Report};
use crate::store::Store;

/// Reads `path` and stores what it says; with `dry_run` only says what that would be.
pub async fn apply(
    store: &Store,
    clock: &Clock,
    path: &Path,
    by: By<'_>,
    dry_run: bool,
) -> anyhow::Result<Report> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    apply_text(store, clock, (path, &text), by, dry_run).await
}

/// The same for a text, with the place that mistakes in it are told at.
pub async fn apply_text(
    store: &Store,
    clock: &Clock,
    (path, text): (&Path, &str),
    by: By<'_>,
    dry_run: bool,
) -> anyhow::Result<Report> {
    let outcome = configure::apply_text(store, clock, text, by, dry_run).await;
    outcome.map_err(|error| match error {
        Error::Refused(problems) => {
            let mut message = "nothing was applied:".to_owned();
            for problem in &problems {
                let _ = write!(message, "\n{}", problem.in_file(path));
            }
            anyhow!(message)
        }
        Error::Store(error) => error.into(),
        other => anyhow!("nothing was applied: {other}"),
    })
}
