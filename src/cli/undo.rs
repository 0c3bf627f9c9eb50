//! `usher undo`

use anyhow::{anyhow, bail};
use serde_json::json;

use super::{By, Context, output, time};
use crate::converge::{self, Asking, Back, Chosen, Ended, Tally};
use crate::store::audit::Query;

/// How many people are shown unless all are asked for.
const SHOWN: u64 = 20;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["run", "since", "cause"])))]
pub(super) struct Arguments {
    /// What this run of the reconciler took away; `usher runs` lists them.
    #[arg(long, conflicts_with = "cause")]
    run: Option<String>,
    /// What was taken away from this time on: 2h (so long ago), 2026-11-25, or 2026-11-25T08:30:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", requires = "since")]
    until: Option<String>,
    /// What was set off by something whose name contains this, as `usher audit` shows it.
    #[arg(long)]
    cause: Option<String>,
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// Only from this person: user name, e-mail address or SCIM id. May be repeated.
    #[arg(long)]
    user: Vec<String>,
    /// Only show what would be given back. This is what happens without --confirm, too.
    #[arg(long, conflicts_with = "confirm")]
    plan: bool,
    /// Do it, if it is about so many people: the number that the plan says.
    #[arg(long, value_name = "PEOPLE")]
    confirm: Option<u64>,
    /// Show everybody.
    #[arg(long)]
    all: bool,
    /// Everybody, one line of JSON each; the last line has the totals.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    by: By,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let (query, through) = wanted(context, &arguments).await?;
    let Some(confirmed) = arguments.confirm else {
        let tally = show(context, &query, &arguments).await?;
        if arguments.json {
            return Ok(());
        }
        output::line(&format!("would give back: {}", words(&tally)));
        if tally.people > 0 {
            output::line(&format!(
                "what is given back is held until `usher held release`; to do it, say the same with --confirm {}",
                tally.people
            ));
        }
        return Ok(());
    };
    let asking = Asking {
        by: arguments.by.name(),
        through,
    };
    let now = context.clock.now();
    match converge::undo(&context.store, now, &query, &asking, confirmed).await? {
        Ended::Begun(tally) if arguments.json => output::json_line(&json!({ "totals": tally })),
        Ended::Begun(tally) => output::line(&format!(
            "gives back: {}; the server does it now, and `usher held` shows what stays held",
            words(&tally)
        )),
        Ended::Otherwise(tally) => bail!(
            "it is about {} people now, not {confirmed}: nothing was done; look at the plan and say --confirm {}",
            tally.people,
            tally.people
        ),
    }
    Ok(())
}

/// Which rows of the audit, and what that is called.
async fn wanted(context: &Context, arguments: &Arguments) -> anyhow::Result<(Query, String)> {
    let now = context.clock.now();
    let instant = |text: &Option<String>| {
        text.as_deref()
            .map(|text| time::instant(text, now).map_err(|why| anyhow!(why)))
            .transpose()
    };
    let chosen = Chosen {
        run: arguments.run.clone(),
        since: instant(&arguments.since)?,
        until: instant(&arguments.until)?,
        cause: arguments.cause.clone(),
        target: arguments.target.clone(),
        users: arguments.user.clone(),
    };
    Ok(chosen.resolve(&context.store).await?)
}

async fn show(context: &Context, query: &Query, arguments: &Arguments) -> anyhow::Result<Tally> {
    let (all, json) = (arguments.all, arguments.json);
    let mut shown = 0;
    let mut each = |back: Back| {
        if json {
            output::json_line(&back);
            return;
        }
        shown += 1;
        if all || shown <= SHOWN {
            person(&back);
        }
    };
    let tally = converge::foresee_undo(&context.store, query, &mut each).await?;
    if json {
        output::json_line(&json!({ "totals": tally }));
    } else if !all && shown > SHOWN {
        output::line(&format!("and {} more: --all", shown - SHOWN));
    }
    Ok(tally)
}

fn person(back: &Back) {
    output::line(&format!("{} at {}", back.user_name, back.target));
    if back.access {
        output::line("  active again");
    }
    for group in &back.groups {
        output::line(&format!("  in {group:?} again"));
    }
    for why in &back.cannot {
        output::line(&format!("  cannot be given back: {why}"));
    }
}

fn words(tally: &Tally) -> String {
    let Tally {
        people,
        accounts,
        memberships,
        cannot,
    } = tally;
    format!(
        "access of {accounts} accounts and {memberships} memberships, to {people} people; {cannot} cannot be given back"
    )
}
