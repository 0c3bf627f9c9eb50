//! `usher explain`

use anyhow::bail;
use serde_json::json;

use super::{Context, output, plan};
use crate::converge::{self, Explanation, TargetView};
use crate::domain::Presence;
use crate::store::{self, settings, users};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// User name, e-mail address or SCIM id.
    pub(super) user: String,
    /// Only at this target.
    #[arg(long)]
    pub(super) target: Option<String>,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let wanted = arguments.user.clone();
    let now = context.clock.now();
    let mut found: Vec<Explanation> = context
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let mut found = Vec::new();
            for id in users::named(conn, &wanted)? {
                found.extend(converge::explain(conn, &id, now)?);
            }
            Ok(found)
        })
        .await?;
    if let Some(target) = &arguments.target {
        let configuration = context.store.read(settings::load).await?;
        plan::target(&configuration, target)?;
        for person in &mut found {
            person.targets.retain(|view| view.target == *target);
            person
                .history
                .retain(|operation| operation.target == *target);
        }
    }
    // The living first; among those the newest, as `named` gives them.
    found.sort_by_key(|e| e.deleted);
    let Some(first) = found.first() else {
        bail!(
            "the mirror has no user {:?}: the source has not pushed such a person",
            arguments.user
        );
    };
    let others: Vec<&str> = found.iter().skip(1).map(|e| e.id.as_str()).collect();
    if arguments.json {
        let mut answer = serde_json::to_value(first)?;
        answer["others"] = json!(others);
        return output::json(&answer);
    }
    print(first);
    if !others.is_empty() {
        output::note(&format!(
            "others of that name (also deleted ones): {}",
            others.join(", ")
        ));
    }
    Ok(())
}

fn print(person: &Explanation) {
    output::line(&format!(
        "{} ({}) from {}{}",
        person.user_name,
        person.id,
        person.connection,
        if person.deleted {
            ", deleted at the source"
        } else {
            ""
        }
    ));
    if let Some(pause) = &person.paused {
        output::line(&format!("  nothing is written: {pause}"));
    }
    if person.targets.is_empty() {
        output::line("  no mapping leads from this connection to a target");
    }
    for target in &person.targets {
        print_target(target);
    }
    if !person.history.is_empty() {
        output::line("  history, newest first:");
    }
    for operation in &person.history {
        output::line(&format!(
            "    {} {}: {} {}{} [{}]",
            operation.at,
            operation.target,
            operation.text,
            operation.outcome,
            operation
                .message
                .as_ref()
                .map_or_else(String::new, |m| format!(" ({m})")),
            operation.cause,
        ));
    }
}

fn print_target(target: &TargetView) {
    output::line(&format!("  {} ({:?})", target.target, target.mode).to_lowercase());
    let wanted = match target.desired.presence {
        Presence::Active => "an active account",
        Presence::Inactive => "no access: inactive at the source",
        Presence::Deleted => "no access: deleted at the source",
        Presence::OutOfScope => "no access: not in the scope of the mapping",
    };
    output::line(&format!("    wanted: {wanted}"));
    for because in &target.desired.because {
        output::line(&format!("      {because}"));
    }
    match &target.account {
        None => output::line("    there:  no account that Usher knows of"),
        Some(account) => {
            output::line(&format!(
                "    there:  {} \"{}\" <{}> {}, {}, {}",
                account.username,
                account.display_name,
                account.email,
                if account.active { "active" } else { "inactive" },
                account.owner,
                account.standing,
            ));
            for group in &account.groups {
                output::line(&format!(
                    "      in {} ({}{})",
                    group.group,
                    group.owner,
                    if group.wanted { "" } else { ", not wanted" }
                ));
            }
            if let Some(taken) = &account.taken {
                let groups = taken.groups.iter().map(|held| held.name.as_str());
                let permissions = taken.permissions.iter().map(String::as_str);
                let all: Vec<&str> = groups.chain(permissions).collect();
                let all = if all.is_empty() {
                    "nothing".to_owned()
                } else {
                    all.join(", ")
                };
                output::line(&format!("      taken, to be given back on return: {all}"));
            }
        }
    }
    match &target.work {
        None => output::line("    open:   nothing"),
        Some(work) => output::line(&format!(
            "    open:   {}{}{} [{}]",
            work.state,
            work.due_at
                .as_ref()
                .map_or_else(String::new, |at| format!(", due {at}")),
            work.reason
                .as_ref()
                .map_or_else(String::new, |r| format!(": {r}")),
            work.cause,
        )),
    }
    for note in &target.notes {
        output::line(&format!("    note:   {note}"));
    }
}
