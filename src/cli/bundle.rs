//! `usher support-bundle`: how everything stands, for somebody who helps and must not see who works here.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use regex::Regex;
use serde_json::{Value, json};

use super::{Context, output};
use crate::clock::rfc3339;
use crate::config::print;
use crate::domain::TargetAuth;
use crate::store::audit::{self, AuditRow};
use crate::store::figures::{self, Figures};
use crate::store::settings::Configuration;
use crate::store::versions::as_file;
use crate::store::{self, alerts, runs, work};

/// How many rows of the audit are in it.
const ROWS: i64 = 500;
/// What stands for something that is left out.
const MASK: &str = "***";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write.
    file: PathBuf,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let now = context.clock.now();
    type Read = (
        Figures,
        Vec<AuditRow>,
        Vec<runs::Run>,
        Vec<work::Refusals>,
        Vec<alerts::Row>,
    );
    let (figures, rows, runs, refusals, alerts): Read = context
        .store
        .read(|conn| -> Result<Read, store::Error> {
            Ok((
                figures::read(conn)?,
                audit::page(conn, &audit::Query::default(), ROWS)?,
                runs::list(conn, None, None, 100)?,
                work::refusals(conn, 100)?,
                alerts::all(conn)?,
            ))
        })
        .await?;
    let mut mask = Mask::new(&rows)?;
    let kind = if context.store.is_shared() {
        "postgres"
    } else {
        "sqlite"
    };
    let targets: Vec<Value> = figures
        .targets
        .iter()
        .map(|target| {
            json!({
                "name": target.name,
                "state": target.health.state,
                "failures": target.health.failures,
                "last_error": target.health.last_error.as_deref().map(|text| mask.text(text)),
                "last_success_at": target.health.last_success_at.map(rfc3339),
                "oldest_pending_at": target.oldest_pending_at.map(rfc3339),
                "paused": target.pause.is_some(),
                "people_held_by_brakes": target.braked,
                "queue": figures.depths.iter()
                    .filter(|depth| depth.target_id == target.target_id.as_str())
                    .map(|depth| (depth.state.clone(), depth.items))
                    .collect::<BTreeMap<_, _>>(),
            })
        })
        .collect();
    let connections: Vec<Value> = figures
        .connections
        .iter()
        .map(|connection| {
            json!({
                "name": connection.name,
                "last_push": connection.pushed_at.map(rfc3339),
                "runs_ended": connection.ended.iter()
                    .map(|(result, at)| (result.clone(), rfc3339(*at)))
                    .collect::<BTreeMap<_, _>>(),
            })
        })
        .collect();
    let bundle = json!({
        "usher": env!("CARGO_PKG_VERSION"),
        "made_at": rfc3339(now),
        "database": kind,
        "configuration": print(&as_file(masked(figures.configuration.clone()))),
        "targets": targets,
        "connections": connections,
        "alerts": alerts.iter().map(|row| json!({
            "about": mask.text(&row.text), "channel": row.channel, "since": rfc3339(row.since),
            "told_at": row.told_at.map(rfc3339), "ended_at": row.ended_at.map(rfc3339),
        })).collect::<Vec<_>>(),
        "runs": runs.iter().map(|run| json!({
            "kind": run.kind, "state": run.state, "started_at": rfc3339(run.started_at),
            "ended_at": run.ended_at.map(rfc3339), "message": run.message.as_deref().map(|text| mask.text(text)),
            "counts": serde_json::from_str::<Value>(&run.counts).unwrap_or_default(),
        })).collect::<Vec<_>>(),
        "refusals": refusals.iter().map(|kind| json!({
            "target": kind.target, "people": kind.people, "words": mask.text(&kind.words),
        })).collect::<Vec<_>>(),
        // The operation in full is left out: it is about a person.
        "audit": rows.iter().map(|row| json!({
            "at": rfc3339(row.at), "operation": row.operation, "outcome": row.outcome,
            "target": row.target_id, "connection": row.connection_id,
            "person": row.user_name.as_deref().map(|name| mask.person(name)),
            "by_an_administrator": row.actor.is_some(),
            "message": row.message.as_deref().map(|text| mask.text(text)),
        })).collect::<Vec<_>>(),
    });
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let place = arguments.file.display();
    let mut file = options
        .open(&arguments.file)
        .with_context(|| format!("cannot create {place}"))?;
    file.write_all(serde_json::to_string_pretty(&bundle)?.as_bytes())?;
    output::line(&format!(
        "{place}: written; look through it before you pass it on"
    ));
    output::note(
        "names of connections, targets and groups in rules, and addresses of servers, are in it",
    );
    Ok(())
}

/// Takes names of people out of the configuration. Secrets are not in it: it only says where they are.
fn masked(mut configuration: Configuration) -> Configuration {
    let hide = |list: &mut Vec<String>| list.iter_mut().for_each(|entry| MASK.clone_into(entry));
    for target in &mut configuration.targets {
        if let TargetAuth::Basic { username, .. } = &mut target.settings.auth {
            MASK.clone_into(username);
        }
    }
    for mapping in &mut configuration.mappings {
        let settings = &mut mapping.settings;
        hide(&mut settings.live_for);
        hide(&mut settings.users.protect);
        let users = &mut settings.users;
        let leads = [
            &mut users.default_project_lead,
            &mut users.default_component_lead,
        ];
        for name in leads.into_iter().flatten() {
            MASK.clone_into(name);
        }
    }
    if let Some(mail) = configuration
        .alerts
        .as_mut()
        .and_then(|alerts| alerts.mail.as_mut())
    {
        hide(&mut mail.to);
        MASK.clone_into(&mut mail.from);
        if let Some((username, _)) = &mut mail.login {
            MASK.clone_into(username);
        }
    }
    configuration
}

/// Gives people numbers, and takes what may be about them out of texts.
struct Mask {
    known: HashMap<String, String>,
    personal: Regex,
    /// Names that are known, the longest first.
    names: Vec<String>,
}

impl Mask {
    fn new(rows: &[AuditRow]) -> anyhow::Result<Self> {
        let mut names: Vec<String> = rows
            .iter()
            .filter_map(|row| row.user_name.clone())
            .collect();
        names.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        names.dedup();
        Ok(Self {
            known: HashMap::new(),
            // What stands in quotes, what looks like an address, and ids of people and requests in paths.
            personal: Regex::new(r#""[^"]*"|'[^']*'|`[^`]*`|\S+@\S+|\?\S+"#)?,
            names,
        })
    }

    /// The same for the same person, within one bundle.
    fn person(&mut self, name: &str) -> String {
        let number = self.known.len() + 1;
        self.known
            .entry(name.to_lowercase())
            .or_insert_with(|| format!("person {number}"))
            .clone()
    }

    fn text(&self, text: &str) -> String {
        let mut text = self.personal.replace_all(text, MASK).into_owned();
        for name in &self.names {
            // Two letters are in every word.
            if name.chars().count() > 2 {
                text = text.replace(name, MASK);
            }
        }
        text
    }
}
