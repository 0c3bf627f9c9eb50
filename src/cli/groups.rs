//! `usher groups`

use super::{Context, output};
use crate::app::groups::{self, Group, Leads};
use crate::config;
use crate::domain::{ManualRule, SourceNames};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name of the connection.
    connection: String,
    /// Only groups whose name matches: a wildcard, or a regular expression between slashes.
    pattern: Option<String>,
    /// As JSON.
    #[arg(long, conflicts_with = "toml")]
    json: bool,
    /// As manual rules, to be pasted into the configuration file and edited.
    #[arg(long)]
    toml: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let pattern = arguments.pattern.as_deref();
    let found = groups::list(&context.store, &arguments.connection, pattern).await?;
    if arguments.json {
        return output::json(&found);
    }
    if found.groups.is_empty() {
        output::note("no such group: the source has not pushed one");
    }
    if arguments.toml {
        let note = |rule: &ManualRule| match &rule.source {
            SourceNames::From(name) => format!("  # people: {}", found.people_of(name)),
            SourceNames::Matching(_) => String::new(),
        };
        let rules = found.as_manual_rules();
        output::line("# below [mapping.groups]");
        output::line(config::print_manual(&rules, note).trim_end());
        return Ok(());
    }
    let rows = found.groups.iter().flat_map(rows).collect();
    output::table(&["GROUP", "PEOPLE", "NESTED", "LEADS TO"], rows);
    for target in &found.targets {
        for compared in &target.compared {
            let note = compared.note.as_deref().unwrap_or("not compared yet");
            output::line(&format!(
                "{}: members of {:?} are compared with the source: {note}; next at {}",
                target.target, compared.group, compared.due_at
            ));
        }
        if !target.parked.is_empty() {
            output::line(&format!(
                "{}: parked, nobody is in them by Usher any more: {}",
                target.target,
                target.parked.join(", ")
            ));
        }
    }
    Ok(())
}

/// A line for each way, the group named on the first one.
fn rows(group: &Group) -> Vec<Vec<String>> {
    let mut ways: Vec<String> = group.mappings.iter().flat_map(ways).collect();
    if ways.is_empty() {
        ways.push("no mapping leads from this connection to a target".to_owned());
    }
    let mut head = vec![
        group.name.escape_debug().to_string(),
        group.people.to_string(),
        group.nested.to_string(),
    ];
    let mut rows = Vec::new();
    for way in ways {
        head.push(way);
        rows.push(std::mem::replace(&mut head, vec![String::new(); 3]));
    }
    rows
}

fn ways(leads: &Leads) -> Vec<String> {
    let known = leads
        .known_as
        .as_ref()
        .map_or_else(String::new, |name| format!(", known as {name:?}"));
    let ways = leads.ways.iter().map(|way| match &way.group {
        Some(group) => format!("{}: {group:?} ({}{known})", leads.target, way.because),
        None => format!("{}: nowhere, {}{known}", leads.target, way.because),
    });
    ways.collect()
}
