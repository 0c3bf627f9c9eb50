//! `usher held`

use serde_json::json;

use super::{By, Context, output};
use crate::clock::{Micros, rfc3339};
use crate::domain::{RemovalKind, Target};
use crate::store::brakes::{self, Choice, Decision, Hold, Tripped};
use crate::store::work::{self, HeldItem};
use crate::store::{self, AnyConn};

/// How many people are shown for each brake unless all are asked for.
const SHOWN: i64 = 20;
/// The same of `--json`.
const IN_JSON: i64 = 1000;

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

/// What one brake holds at one target.
struct Group {
    target: String,
    brake: String,
    count: i64,
    tripped_at: Option<Micros>,
    /// The oldest of them.
    holds: Vec<Hold>,
}

/// What is shown.
struct Shown {
    groups: Vec<Group>,
    /// With the names of their targets.
    others: Vec<(String, HeldItem)>,
    count_of_others: i64,
}

async fn list(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let targets = context.targets(arguments.target.as_deref()).await?;
    let most = match (arguments.all, arguments.json) {
        (true, _) => i64::MAX,
        (false, true) => IN_JSON,
        (false, false) => SHOWN,
    };
    let shown = context
        .store
        .read(move |conn| read(conn, &targets, most))
        .await?;
    if arguments.json {
        return output::json(&shown.as_json());
    }
    shown.print();
    Ok(())
}

fn read(conn: &mut AnyConn, targets: &[Target], most: i64) -> Result<Shown, store::Error> {
    let (sums, tripped) = (brakes::held_sums(conn)?, brakes::tripped(conn)?);
    let mut shown = Shown {
        groups: Vec::new(),
        others: Vec::new(),
        count_of_others: 0,
    };
    for target in targets {
        let name = &target.settings.name;
        for sum in sums.iter().filter(|s| s.target_id == target.id.as_str()) {
            let choice = Choice {
                target: Some(target.id.clone()),
                kind: RemovalKind::parse(&sum.kind),
                users: None,
            };
            let is_it = |on: &&Tripped| on.target_id == sum.target_id && on.kind == sum.kind;
            let tripped_at = tripped.iter().filter(is_it).filter_map(|on| on.tripped_at);
            shown.groups.push(Group {
                target: name.clone(),
                brake: sum.kind.clone(),
                count: sum.count,
                tripped_at: tripped_at.min(),
                holds: brakes::held(conn, &choice, None, most)?,
            });
        }
        let others = work::held(conn, Some(&target.id), None, most)?;
        shown
            .others
            .extend(others.into_iter().map(|item| (name.clone(), item)));
        shown.count_of_others += work::held_count(conn, Some(&target.id))?;
    }
    Ok(shown)
}

impl Shown {
    fn print(&self) {
        if self.groups.is_empty() && self.others.is_empty() {
            output::note("nothing is held");
            return;
        }
        for Group {
            target,
            brake,
            count,
            holds,
            ..
        } in &self.groups
        {
            let Some(first) = holds.first() else {
                continue;
            };
            output::line(&format!(
                "{target}: {count} {brake} held since {} ({})",
                rfc3339(first.since),
                first.reason
            ));
            let rows = holds.iter().map(|hold| {
                vec![
                    String::new(),
                    hold.user_name.clone(),
                    hold.group.clone(),
                    rfc3339(hold.since),
                    hold.cause.clone(),
                ]
            });
            output::table(&["", "USER", "GROUP", "SINCE", "CAUSE"], rows.collect());
            more(*count, holds.len());
        }
        if !self.groups.is_empty() {
            output::line(
                "`usher held release` has them done, `usher held discard` leaves them undone; what the source \
                 takes back ends by itself",
            );
        }
        if !self.others.is_empty() {
            output::line("held for other reasons; mend them, then `usher retry`:");
            let rows = self.others.iter().map(|(target, item)| {
                vec![
                    target.clone(),
                    item.user_name.clone(),
                    rfc3339(item.marked_at),
                    item.cause.clone(),
                    item.reason.clone().unwrap_or_default(),
                ]
            });
            output::table(&["TARGET", "USER", "SINCE", "CAUSE", "WHY"], rows.collect());
            more(self.count_of_others, self.others.len());
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let brakes: Vec<serde_json::Value> = self
            .groups
            .iter()
            .map(|group| {
                let held: Vec<serde_json::Value> = group
                    .holds
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
                    "target": group.target,
                    "brake": group.brake,
                    "count": group.count,
                    "tripped_at": group.tripped_at.map(rfc3339),
                    "held": held,
                })
            })
            .collect();
        let others: Vec<serde_json::Value> = self
            .others
            .iter()
            .map(|(target, item)| {
                json!({
                    "target": target,
                    "user": item.user_name,
                    "id": item.user_id,
                    "since": rfc3339(item.marked_at),
                    "cause": item.cause,
                    "why": item.reason,
                })
            })
            .collect();
        json!({ "brakes": brakes, "others": others, "others_count": self.count_of_others })
    }
}

fn more(count: i64, shown: usize) {
    let more = count - i64::try_from(shown).unwrap_or(count);
    if more > 0 {
        output::line(&format!("  and {more} more: `usher held --all`"));
    }
}
