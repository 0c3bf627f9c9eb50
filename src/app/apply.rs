//! `usher apply`: makes the stored configuration what a file says. Idempotent, all or nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::{Position, file};
use crate::domain::Mode;
use crate::mapping::{RuleError, Rules};
use crate::store::{self, Store, settings, work};

/// What became of one part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was different.
    Changed,
    /// It was so already.
    Unchanged,
}

/// What `apply` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// One line each: what, and what became of it.
    pub lines: Vec<(String, Change)>,
    /// How many people are looked at again because a mapping is new or changed.
    pub marked: usize,
    /// Stored connections and targets that the file does not name; they stay.
    pub left_alone: Vec<String>,
    /// Things to know.
    pub notes: Vec<String>,
}

/// Reads `path` and stores what it says; with `dry_run` only says what that would be.
pub async fn apply(
    store: &Store,
    clock: &Clock,
    path: &Path,
    dry_run: bool,
) -> anyhow::Result<Report> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parsed = match file::parse(&text) {
        Ok(parsed) => parsed,
        Err(problems) => {
            let mut message = String::new();
            for problem in &problems {
                let _ = write!(message, "\n{}", problem.in_file(path));
            }
            bail!("nothing was applied:{message}");
        }
    };
    let mut problems = String::new();
    let mut tell = |at: Position, e: &RuleError| {
        let _ = write!(
            problems,
            "\n{}:{}:{}: {}: {}",
            path.display(),
            at.line,
            at.column,
            e.key,
            e.text
        );
    };
    for (index, connection) in parsed.connections.iter().enumerate() {
        for e in Rules::attribute_problems(&connection.group_attributes) {
            tell(parsed.locate_in_connection(index, &e.key), &e);
        }
    }
    for (index, mapping) in parsed.mappings.iter().enumerate() {
        for e in Rules::problems(&mapping.settings) {
            tell(parsed.locate(index, &e.key), &e);
        }
    }
    if !problems.is_empty() {
        bail!("nothing was applied:{problems}");
    }
    let now = clock.now();
    let report = store
        .write(move |tx| -> Result<Report, store::Error> {
            let before = settings::load(tx.conn())?;
            let mut report = Report::default();
            let mut changed_any = false;
            let mut note = |report: &mut Report, what: String, was_there: bool, changed: bool| {
                changed_any |= changed;
                let change = match (was_there, changed) {
                    (false, _) => Change::Created,
                    (true, true) => Change::Changed,
                    (true, false) => Change::Unchanged,
                };
                report.lines.push((what, change));
            };
            let mut connections = Vec::new();
            for settings in &parsed.connections {
                let old = before.connections.iter().find(|c| c.settings.name == settings.name);
                let (id, changed) = settings::put_connection(tx, settings, now)?;
                note(&mut report, format!("connection {}", settings.name), old.is_some(), changed);
                if old.is_some_and(|old| old.settings.group_attributes != settings.group_attributes) {
                    for mapping in before.mappings.iter().filter(|m| m.connection_id == id) {
                        let cause = "usher apply: the group attributes changed";
                        report.marked += work::mark_all(tx, &id, &mapping.target_id, cause, now)?;
                    }
                }
                connections.push((settings.name.clone(), id));
            }
            let mut targets = Vec::new();
            for settings in &parsed.targets {
                let old = before.targets.iter().find(|t| t.settings.name == settings.name);
                let (id, changed) = settings::put_target(tx, settings, now)?;
                note(&mut report, format!("target {}", settings.name), old.is_some(), changed);
                if old.is_some_and(|old| old.settings.base_url != settings.base_url) {
                    report.notes.push(format!(
                        "target {} has a new address: what Usher knows about its accounts is kept, so it must be \
                         the same product with the same data; for another one choose another name",
                        settings.name
                    ));
                }
                targets.push((settings.name.clone(), id));
            }
            for entry in &parsed.mappings {
                let find = |list: &[(String, String)], name: &str| {
                    list.iter().find(|(known, _)| known == name).map(|(_, id)| id.clone())
                };
                let connection_ids: Vec<(String, String)> =
                    connections.iter().map(|(name, id)| (name.clone(), id.0.clone())).collect();
                let target_ids: Vec<(String, String)> =
                    targets.iter().map(|(name, id)| (name.clone(), id.0.clone())).collect();
                let (Some(connection), Some(target)) =
                    (find(&connection_ids, &entry.connection), find(&target_ids, &entry.target))
                else {
                    return Err(store::Error::Corrupt(format!(
                        "the mapping {} -> {} names what the file does not have",
                        entry.connection, entry.target
                    )));
                };
                let (connection, target) = (connection.into(), target.into());
                let was_there = before
                    .mappings
                    .iter()
                    .any(|m| m.connection_id == connection && m.target_id == target);
                let changed = settings::put_mapping(tx, &connection, &target, &entry.settings, now)?;
                note(
                    &mut report,
                    format!("mapping {} -> {}", entry.connection, entry.target),
                    was_there,
                    changed,
                );
                if changed {
                    report.marked +=
                        work::mark_all(tx, &connection, &target, "usher apply: the mapping changed", now)?;
                }
                if entry.settings.mode == Mode::Shadow {
                    report.notes.push(format!(
                        "mapping {} -> {} is in shadow mode: `usher explain` shows what would be done; \
                         mode = \"live\" makes it write",
                        entry.connection, entry.target
                    ));
                }
            }
            for old in &before.connections {
                if !parsed.connections.iter().any(|c| c.name == old.settings.name) {
                    report.left_alone.push(format!("connection {}", old.settings.name));
                }
            }
            for old in &before.targets {
                if !parsed.targets.iter().any(|t| t.name == old.settings.name) {
                    report.left_alone.push(format!("target {}", old.settings.name));
                }
            }
            if changed_any && !dry_run {
                settings::bump(tx)?;
            } else {
                tx.discard();
            }
            Ok(report)
        })
        .await?;
    Ok(report)
}
