//! `usher drift`

use serde_json::json;

use super::{By, Context, output};
use crate::clock::rfc3339;
use crate::store::audit;
use crate::store::drift::{self, Choice, Drift};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    decision: Option<Command>,
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// What was accepted before as well.
    #[arg(long)]
    all: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Push ours: make the account again what the source and the rules want.
    Push(Which),
    /// Accept theirs: leave the account as it is until the source says something new about the very thing.
    Accept(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// This person: user name, e-mail address or SCIM id. May be repeated.
    #[arg(long, required_unless_present = "all", conflicts_with = "all")]
    user: Vec<String>,
    /// Everybody.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    by: By,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    match arguments.decision {
        Some(Command::Push(which)) => decide(context, which, true).await,
        Some(Command::Accept(which)) => decide(context, which, false).await,
        None => list(context, arguments).await,
    }
}

async fn decide(context: &Context, which: Which, push: bool) -> anyhow::Result<()> {
    let target = match &which.target {
        Some(name) => context.targets(Some(name)).await?.pop(),
        None => None,
    };
    let choice = Choice {
        target: target.map(|target| target.id),
        users: match which.all {
            true => None,
            false => Some(context.people(which.user).await?),
        },
    };
    let (by, now) = (which.by.name(), context.clock.now());
    let (operation, cause) = if push {
        ("push_drift", "usher drift push")
    } else {
        ("accept_drift", "usher drift accept")
    };
    let detail = json!({"target": which.target, "by": by});
    let row = context.act(operation, &detail, cause);
    let decided = context
        .store
        .write(move |tx| -> Result<usize, crate::store::Error> {
            let decided = drift::decide(tx, &choice, push, &by, now)?;
            if decided > 0 {
                audit::append(tx, &row)?;
            }
            Ok(decided)
        })
        .await?;
    output::line(&if push {
        format!("{decided} accounts are put right")
    } else {
        format!("{decided} accounts stay as they are")
    });
    Ok(())
}

async fn list(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let targets = context.targets(arguments.target.as_deref()).await?;
    let mut found = context.store.read(drift::list).await?;
    found.retain(|it| arguments.all || !it.is_accepted);
    let name = |it: &Drift| {
        let target = targets.iter().find(|target| target.id == it.target_id);
        target.map(|target| target.settings.name.clone())
    };
    let found: Vec<(String, Drift)> = found
        .into_iter()
        .filter_map(|it| Some((name(&it)?, it)))
        .collect();
    if arguments.json {
        let rows: Vec<serde_json::Value> = found
            .iter()
            .map(|(target, it)| {
                json!({
                    "target": target, "user": it.user_name, "id": it.user_id,
                    "differences": it.differences, "would": it.would, "has_access": it.has_access,
                    "accepted": it.is_accepted, "decided_by": it.decided_by, "since": rfc3339(it.since),
                })
            })
            .collect();
        return output::json(&json!({"drift": rows}));
    }
    if found.is_empty() {
        output::line("no account is known to differ from how Usher left it");
        return Ok(());
    }
    let rows = found.iter().map(|(target, it)| {
        let mut state = match &it.decided_by {
            Some(by) if it.is_accepted => format!("accepted by {by}"),
            _ => String::new(),
        };
        if it.has_access {
            state = "SHOULD HAVE NO ACCESS".to_owned();
        }
        vec![
            target.clone(),
            it.user_name.clone(),
            it.differences.join("; "),
            it.would.join("; "),
            rfc3339(it.since),
            state,
        ]
    });
    output::table(
        &["target", "who", "differs", "push would", "since", ""],
        rows.collect(),
    );
    output::note("`usher drift push` puts it right, `usher drift accept` leaves it");
    Ok(())
}
