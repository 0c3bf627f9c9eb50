//! `usher retry`

use anyhow::bail;
use serde_json::json;

use super::{Context, output};
use crate::domain::{TargetId, UserId};
use crate::store::{self, audit, settings, users, work};

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
    let (wanted_user, wanted_target) = (user.clone(), target.clone());
    let (users, targets) = context
        .store
        .read(
            move |conn| -> Result<(Vec<UserId>, Vec<TargetId>), store::Error> {
                let people = match &wanted_user {
                    Some(name) => users::named(conn, name)?,
                    None => Vec::new(),
                };
                let targets = settings::load(conn)?
                    .targets
                    .into_iter()
                    .filter(|t| Some(&t.settings.name) == wanted_target.as_ref())
                    .map(|t| t.id)
                    .collect();
                Ok((people, targets))
            },
        )
        .await?;
    if let Some(user) = &user
        && users.is_empty()
    {
        bail!("the mirror has no user {user:?}");
    }
    if let Some(target) = &target
        && targets.is_empty()
    {
        bail!("there is no target {target:?}");
    }
    let now = context.clock.now();
    let mut act = context.act(
        "retry",
        &json!({"user": user, "target": target}),
        "usher retry",
    );
    act.target_id = targets.first().cloned();
    let marked = context
        .store
        .write(move |tx| -> Result<usize, store::Error> {
            audit::append(tx, &act)?;
            let target = targets.first();
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
