//! `usher held`

use std::collections::BTreeMap;

use serde_json::json;

use super::{By, Context, output};
use crate::clock::{Micros, rfc3339};
use crate::domain::{RemovalKind, Target};
use crate::store::brakes::{self, Choice, Decision, Hold, Tripped};
use crate::store::work::{self, HeldItem};
use crate::store::{self};

/// How many people are shown for each brake unless all are asked for.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    decision: Option<Command>,
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// Everybody, however many there are.
    #[arg(long)]
    all: bool,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    /// What is decided about, and whether it is released, if something is decided.
    pub(super) fn decision(&self) -> Option<(&Which, bool)> {
        match self.decision.as_ref()? {
            Command::Release(which) => Some((which, true)),
            Command::Discard(which) => Some((which, false)),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have it done.
    Release(Which),
    /// Leave it undone, for as long as it is wanted for the same reason: an account stays active until the source
    /// says "active" and then "inactive" again, or deletes the person.
    Discard(Which),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// Only what this brake holds.
    #[arg(long, value_parser = kind, value_name = "deactivations|deletions|membership_removals")]
    brake: Option<RemovalKind>,
    /// This person: user name, e-mail address or SCIM id. May be repeated.
    #[arg(long, required_unless_present = "all", conflicts_with = "all")]
    user: Vec<String>,
    /// Everybody.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    by: By,
}

impl Which {
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    pub(super) fn brake(&self) -> Option<&'static str> {
        self.brake.map(RemovalKind::as_str)
    }

    pub(super) fn people(&self) -> &[String] {
        &self.user
    }

    pub(super) fn everybody(&self) -> bool {
        self.all
    }
}

fn kind(text: &str) -> Result<RemovalKind, String> {
    RemovalKind::parse(text).ok_or_else(|| {
        let all = RemovalKind::ALL.map(RemovalKind::as_str).join(", ");
        format!("there are {all}")
    })
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    match arguments.decision {
        Some(Command::Release(which)) => decide(context, which, Decision::Release).await,
        Some(Command::Discard(which)) => decide(context, which, Decision::Discard).await,
        None => list(context, arguments).await,
    }
}

async fn decide(context: &Context, which: Which, decision: Decision) -> anyhow::Result<()> {
    let target = match &which.target {
        Some(name) => context.targets(Some(name)).await?.pop(),
        None => None,
    };
    let choice = Choice {
        target: target.map(|target| target.id),
        kind: which.brake,
        users: match which.all {
            true => None,
            false => Some(context.people(which.user).await?),
        },
    };
    let (by, now) = (which.by.name(), context.clock.now());
    let decided = context
        .store
        .write(move |tx| brakes::decide(tx, &choice, decision, &by, now))
        .await?;
    output::line(&match decision {
        Decision::Release => format!("{decided} held removals are released"),
        Decision::Discard => format!("{decided} held removals are discarded"),
    });
    Ok(())
}

/// What is shown.
struct Shown {
    targets: Vec<Target>,
    holds: Vec<Hold>,
    others: Vec<HeldItem>,
    tripped: Vec<Tripped>,
}

async fn list(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let targets = context.targets(arguments.target.as_deref()).await?;
    let (holds, others, tripped) = context
        .store
        .read(|conn| -> Result<_, store::Error> {
            let holds = brakes::held(conn)?;
            Ok((holds, work::held(conn)?, brakes::tripped(conn)?))
        })
        .await?;
    let mut shown = Shown {
        targets,
        holds,
        others,
        tripped,
    };
    let known = |id: &str| shown.targets.iter().any(|target| target.id.as_str() == id);
    let (mut holds, mut others) = (shown.holds.clone(), shown.others.clone());
    holds.retain(|hold| known(&hold.target_id));
    others.retain(|item| known(&item.target_id));
    // What a brake holds is told there.
    others.retain(|item| {
        !holds
            .iter()
            .any(|hold| hold.target_id == item.target_id && hold.subject == item.user_id)
    });
    (shown.holds, shown.others) = (holds, others);
    if arguments.json {
        return output::json(&shown.as_json());
    }
    shown.print(if arguments.all { usize::MAX } else { SHOWN });
    Ok(())
}

impl Shown {
    fn name(&self, target: &str) -> String {
        self.targets
            .iter()
            .find(|known| known.id.as_str() == target)
            .map_or_else(|| target.to_owned(), |known| known.settings.name.clone())
    }

    /// By target and brake.
    fn groups(&self) -> BTreeMap<(String, &str), Vec<&Hold>> {
        let mut groups: BTreeMap<(String, &str), Vec<&Hold>> = BTreeMap::new();
        for hold in &self.holds {
            let key = (self.name(&hold.target_id), hold.kind.as_str());
            groups.entry(key).or_default().push(hold);
        }
        groups
    }

    fn tripped_at(&self, hold: &Hold) -> Option<Micros> {
        let is_it = |on: &&Tripped| on.target_id == hold.target_id && on.kind == hold.kind;
        self.tripped
            .iter()
            .filter(is_it)
            .filter_map(|on| on.tripped_at)
            .min()
    }

    fn print(&self, most: usize) {
        if self.holds.is_empty() && self.others.is_empty() {
            output::note("nothing is held");
            return;
        }
        for ((target, kind), holds) in self.groups() {
            let Some(first) = holds.iter().min_by_key(|hold| hold.since) else {
                continue;
            };
            output::line(&format!(
                "{target}: {} {kind} held since {} ({})",
                holds.len(),
                rfc3339(first.since),
                first.reason
            ));
            let rows = holds.iter().take(most).map(|hold| {
                vec![
                    String::new(),
                    hold.user_name.clone(),
                    hold.group.clone(),
                    rfc3339(hold.since),
                    hold.cause.clone(),
                ]
            });
            output::table(&["", "USER", "GROUP", "SINCE", "CAUSE"], rows.collect());
            if let Some(more) = holds.len().checked_sub(most).filter(|more| *more > 0) {
                output::line(&format!("  and {more} more: `usher held --all`"));
            }
        }
        if !self.holds.is_empty() {
            output::line(
                "`usher held release` has them done, `usher held discard` leaves them undone; what the source \
                 takes back ends by itself",
            );
        }
        if !self.others.is_empty() {
            output::line("held for other reasons; mend them, then `usher retry`:");
            let rows = self.others.iter().take(most).map(|item| {
                vec![
                    self.name(&item.target_id),
                    item.user_name.clone(),
                    rfc3339(item.marked_at),
                    item.cause.clone(),
                    item.reason.clone().unwrap_or_default(),
                ]
            });
            output::table(&["TARGET", "USER", "SINCE", "CAUSE", "WHY"], rows.collect());
            if let Some(more) = self.others.len().checked_sub(most).filter(|more| *more > 0) {
                output::line(&format!("and {more} more: `usher held --all`"));
            }
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let brakes: Vec<serde_json::Value> = self
            .groups()
            .into_iter()
            .map(|((target, kind), holds)| {
                let held: Vec<serde_json::Value> = holds
                    .iter()
                    .map(|hold| {
                        json!({
                            "user": hold.user_name,
                            "id": hold.user_id,
                            "group": (!hold.group.is_empty()).then_some(&hold.group),
                            "since": rfc3339(hold.since),
                            "cause": hold.cause,
                            "why": hold.reason,
                        })
                    })
                    .collect();
                json!({
                    "target": target,
                    "brake": kind,
                    "count": held.len(),
                    "tripped_at": holds.first().and_then(|hold| self.tripped_at(hold)).map(rfc3339),
                    "held": held,
                })
            })
            .collect();
        let others: Vec<serde_json::Value> = self
            .others
            .iter()
            .map(|item| {
                json!({
                    "target": self.name(&item.target_id),
                    "user": item.user_name,
                    "id": item.user_id,
                    "since": rfc3339(item.marked_at),
                    "cause": item.cause,
                    "why": item.reason,
                })
            })
            .collect();
        json!({ "brakes": brakes, "others": others })
    }
}
