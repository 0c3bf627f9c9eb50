//! `usher apply`: makes the stored configuration what a file says. Idempotent, all or nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::clock::Clock;
use crate::config::{ConfigFile, Position, Problem, file, secret};
use crate::domain::{
    AlertSettings, ConnectionId, Mode, SecretRef, Secrets, StoredSecret, TargetId,
};
use crate::mapping::{RuleError, Rules};
use crate::store::audit::{self, NewAudit};
use crate::store::settings::Configuration;
use crate::store::work::Backlog;
use crate::store::{self, Store, group_work, secrets, settings, versions, work};
use crate::vault::Vault;

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

/// A secret that somebody typed, to be kept under a name that the text refers to.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The name.
    pub name: String,
    /// The secret.
    pub secret: SecretString,
}

/// What is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The configuration, as a file has it.
    pub text: &'a str,
    /// Secrets that come with it.
    pub secrets: &'a [Typed],
    /// The generation that the text was made from; without, whatever is there is replaced.
    pub generation: Option<i64>,
    /// Only say what that would be.
    pub dry_run: bool,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was quicker.
    #[error(
        "somebody else changed the configuration at this moment: look at it again, then try again"
    )]
    Changed,
    /// A secret cannot be kept.
    #[error("{0}")]
    Secret(String),
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
    let order = Order {
        text,
        secrets: &[],
        generation: None,
        dry_run,
    };
    apply(store, clock, None, order, by).await
}

/// The same, with secrets that are kept in the `vault`.
pub async fn apply(
    store: &Store,
    clock: &Clock,
    vault: Option<&Vault>,
    order: Order<'_>,
    by: By<'_>,
) -> Result<Report, Error> {
    let Order {
        text,
        generation,
        dry_run,
        ..
    } = order;
    let mut parsed = file::parse(text).map_err(Error::Refused)?;
    let sealed = sealed(vault, order.secrets)?;
    let mut problems = unknown_secrets(store, &mut parsed, &sealed).await?;
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
        .write(move |tx| -> Result<Option<Report>, store::Error> {
            let before = settings::load(tx.conn())?;
            if generation.is_some_and(|generation| generation != before.generation) {
                tx.discard();
                return Ok(None);
            }
            for (name, sealed) in &sealed {
                secrets::put(tx, name, sealed, now)?;
            }
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
            for (name, _) in &sealed {
                report.lines.push((format!("secret {name}"), Change::Changed));
            }
            if (changed_any || !sealed.is_empty()) && !dry_run {
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
            Ok(Some(report))
        })
        .await?;
    report.ok_or(Error::Changed)
}

/// A secret, from where the configuration says it is.
///
/// # Errors
/// Says where it is looked for, and why it is not there.
pub fn resolve(vault: Option<&Vault>, reference: &SecretRef) -> Result<SecretString, String> {
    let SecretRef::Stored(stored) = reference else {
        return secret::resolve(reference).map_err(|e| e.to_string());
    };
    let name = &stored.name;
    let sealed = stored.sealed.as_deref().ok_or_else(|| {
        format!("no secret {name:?} is kept here: type it on the page of what needs it, or with `usher secret set`")
    })?;
    let vault = vault.ok_or_else(|| {
        format!(
            "the secret {name:?} is encrypted, and there is no master key: start with the key that this database was \
             used with (USHER_MASTER_KEY or --master-key-file)"
        )
    })?;
    let secret = vault
        .unseal(&StoredSecret::row(name), sealed)
        .map_err(|e| e.to_string())?;
    String::from_utf8(secret.expose_secret().to_vec())
        .map(SecretString::from)
        .map_err(|_| format!("the secret {name:?} is no text"))
}

/// What gives secrets to whoever only has references to them.
pub fn secrets(vault: Option<Vault>) -> Secrets {
    Arc::new(move |reference| resolve(vault.as_ref(), reference))
}

/// Name and encrypted text of each secret.
fn sealed(vault: Option<&Vault>, secrets: &[Typed]) -> Result<Vec<(String, String)>, Error> {
    secrets
        .iter()
        .map(|typed| {
            let vault = vault.ok_or_else(|| {
                Error::Secret(
                    "this server keeps no secrets, for it has no master key: start it with --master-key-file or \
                     USHER_MASTER_KEY, or name an environment variable or a file instead"
                        .to_owned(),
                )
            })?;
            let row = StoredSecret::row(&typed.name);
            let sealed = vault.seal(&row, typed.secret.expose_secret().as_bytes());
            sealed
                .map(|sealed| (typed.name.clone(), sealed))
                .map_err(|e| Error::Secret(e.to_string()))
        })
        .collect()
}

/// Whatever in a file refers to a secret that nobody typed.
async fn unknown_secrets(
    store: &Store,
    parsed: &mut ConfigFile,
    typed: &[(String, String)],
) -> Result<Vec<Problem>, store::Error> {
    let mut references = Vec::new();
    for (index, connection) in parsed.connections.iter_mut().enumerate() {
        let what = format!("connection {}", connection.name);
        if let Some(SecretRef::Stored(secret)) = connection.secret_mut() {
            references.push((what, secret.name.clone(), Some(index)));
        }
    }
    for target in &mut parsed.targets {
        let what = format!("target {}", target.name);
        if let SecretRef::Stored(secret) = target.secret_mut() {
            references.push((what, secret.name.clone(), None));
        }
    }
    for secret in parsed
        .alerts
        .iter_mut()
        .flat_map(AlertSettings::secrets_mut)
    {
        if let SecretRef::Stored(secret) = secret {
            references.push(("alerts".to_owned(), secret.name.clone(), None));
        }
    }
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let kept = store.read(secrets::all).await?;
    references.retain(|(_, name, _)| {
        !kept.contains_key(name) && !typed.iter().any(|(known, _)| known == name)
    });
    let problems = references.into_iter().map(|(what, name, connection)| {
        let at = connection.map_or(Position { line: 1, column: 1 }, |index| {
            parsed.locate_in_connection(index, "client_secret")
        });
        let message = format!(
            "{what}: no secret {name:?} is kept here: type it on the page of the {what}, or with `usher secret set`"
        );
        Problem::at(at, "stored", message)
    });
    Ok(problems.collect())
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
