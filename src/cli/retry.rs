//! `usher retry`

use serde_json::json;

use super::{Context, output};
use crate::store::{self, audit, work};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this person: user name, e-mail address or SCIM id. Also tries what waits for its next attempt.
    user: Option<String>,
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { user, target } = arguments;
    let detail = json!({"user": user, "target": target});
    let users = context.people(user.into_iter().collect()).await?;
    let target = match target {
        Some(name) => context.targets(Some(&name)).await?.pop(),
        None => None,
    };
    let now = context.clock.now();
    let mut act = context.act("retry", &detail, "usher retry");
    act.target_id = target.as_ref().map(|target| target.id.clone());
    let marked = context
        .store
        .write(move |tx| -> Result<usize, store::Error> {
            audit::append(tx, &act)?;
            let target = target.as_ref().map(|target| &target.id);
            if users.is_empty() {
                return work::retry(tx, target, None, "usher retry", now);
            }
            let mut marked = 0;
            for user in &users {
                marked += work::retry(tx, target, Some(user), "usher retry", now)?;
            }
            Ok(marked)
        })
        .await?;
    output::line(&format!("{marked} work items are due again"));
    Ok(())
}
