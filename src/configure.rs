//! `usher apply`: makes the stored configuration what a file says. Idempotent, all or nothing.

use std::fmt::Write as _;

use serde_json::json;

use crate::clock::Clock;
use crate::config::{Position, Problem, file};
use crate::domain::{ConnectionId, Mode, TargetId};
use crate::mapping::{RuleError, Rules};
use crate::store::audit::{self, NewAudit};
use crate::store::settings::Configuration;
use crate::store::work::Backlog;
use crate::store::{self, Store, group_work, settings, versions, work};

/// Who changes the configuration, and through what.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The person.
    pub actor: &'a str,
    /// Such as `usher apply`.
    pub cause: &'a str,
}

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
    /// Stored connections, targets and mappings that the file does not name; they stay.
    pub left_alone: Vec<String>,
    /// What was recorded in shadow mode and is done now, one line for each mapping that goes live.
    pub backlog: Vec<String>,
    /// Things to know.
    pub notes: Vec<String>,
    /// The version under which the result is kept, if anything changed and was stored.
    pub version: Option<i64>,
    /// The whole configuration as it is now, or would be.
    pub configuration: Configuration,
    /// The mappings that are new or changed.
    pub changed: Vec<(ConnectionId, TargetId)>,
}

/// Why nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text cannot be used; everything that is wrong with it.
    #[error("the configuration has {} mistakes", .0.len())]
    Refused(Vec<Problem>),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Stores what `text` says; with `dry_run` only says what that would be.
pub async fn apply_text(
    store: &Store,
    clock: &Clock,
    text: &str,
    by: By<'_>,
    dry_run: bool,
) -> Result<Report, Error> {
    let parsed = file::parse(text).map_err(Error::Refused)?;
    let mut problems = Vec::new();
    let mut tell = |at: Position, e: RuleError| {
        let message = format!("{}: {}", e.key, e.text);
        problems.push(Problem::at(at, e.key, message));
    };
    for (index, connection) in parsed.connections.iter().enumerate() {
        for e in Rules::attribute_problems(&connection.group_attributes) {
            tell(parsed.locate_in_connection(index, &e.key), e);
        }
    }
    for (index, mapping) in parsed.mappings.iter().enumerate() {
        for e in Rules::problems(&mapping.settings) {
            tell(parsed.locate(index, &e.key), e);
        }
    }
    if !problems.is_empty() {
        return Err(Error::Refused(problems));
    }
    let now = clock.now();
    let (actor, cause) = (by.actor.to_owned(), by.cause.to_owned());
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
                        let why = format!("{cause}: the group attributes changed");
                        report.marked += work::mark_all(tx, &id, &mapping.target_id, &why, now)?;
                        report.changed.push((id.clone(), mapping.target_id.clone()));
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
                let was_in_shadow = before.mappings.iter().any(|m| {
                    m.connection_id == connection
                        && m.target_id == target
                        && m.settings.mode == Mode::Shadow
                });
                if was_in_shadow && entry.settings.mode == Mode::Live {
                    let backlog = work::backlog(tx.conn(), &connection, &target)?;
                    report.backlog.push(format!(
                        "mapping {} -> {} goes live: {}",
                        entry.connection,
                        entry.target,
                        in_words(&backlog)
                    ));
                }
                if changed {
                    let why = format!("{cause}: the mapping changed");
                    report.marked += work::mark_all(tx, &connection, &target, &why, now)?;
                    group_work::mark_asked(tx, &target, &entry.settings.groups, &why, now)?;
                    let pair = (connection, target);
                    if !report.changed.contains(&pair) {
                        report.changed.push(pair);
                    }
                }
                if entry.settings.mode == Mode::Shadow {
                    report.notes.push(format!(
                        "mapping {} -> {} is in shadow mode: `usher explain` shows what would be done; \
                         mode = \"live\" makes it write",
                        entry.connection, entry.target
                    ));
                }
            }
            match &parsed.alerts {
                Some(alerts) => {
                    let changed = settings::put_alerts(tx, alerts)?;
                    note(&mut report, "alerts".to_owned(), before.alerts.is_some(), changed);
                }
                None if before.alerts.is_some() => report.left_alone.push("alerts".to_owned()),
                None => {}
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
            for old in &before.mappings {
                let name = |found: Option<&String>| found.cloned().unwrap_or_default();
                let (connection, target) = (
                    name(before.connections.iter().find(|c| c.id == old.connection_id).map(|c| &c.settings.name)),
                    name(before.targets.iter().find(|t| t.id == old.target_id).map(|t| &t.settings.name)),
                );
                if !parsed.mappings.iter().any(|m| m.connection == connection && m.target == target) {
                    report.left_alone.push(format!("mapping {connection} -> {target}"));
                }
            }
            report.configuration = settings::load(tx.conn())?;
            if changed_any && !dry_run {
                settings::bump(tx)?;
                report.version = versions::keep(tx, &actor, &cause, now)?;
                let changes: Vec<&str> = report
                    .lines
                    .iter()
                    .filter(|(_, change)| *change != Change::Unchanged)
                    .map(|(what, _)| what.as_str())
                    .collect();
                let detail = json!({"version": report.version, "changed": changes, "marked": report.marked});
                audit::append(tx, &NewAudit::act(now, &actor, "apply", &detail, &cause))?;
            } else {
                tx.discard();
            }
            Ok(report)
        })
        .await?;
    Ok(report)
}

fn in_words(backlog: &Backlog) -> String {
    let mut text = format!("{} people differ", backlog.people);
    if !backlog.operations.is_empty() {
        let operations: Vec<String> = backlog
            .operations
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let _ = write!(text, " ({})", operations.join(", "));
    }
    if backlog.unseen > 0 {
        let _ = write!(
            text,
            "; {} people have not been looked at yet",
            backlog.unseen
        );
    }
    text
}
