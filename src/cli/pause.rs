//! `usher pause` and `usher resume`

use anyhow::bail;

use super::{By, Context, output};
use crate::clock::rfc3339;
use crate::domain::UserId;
use crate::store::pause::{self, Pause};
use crate::store::{self, users};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this target.
    #[arg(long)]
    pub(super) target: Option<String>,
    /// Only this person, at every target: user name, e-mail address or SCIM id.
    #[arg(long, conflicts_with = "target")]
    pub(super) user: Option<String>,
    /// Why, for everybody who looks at it.
    #[arg(long)]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) by: By,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    /// Only this target.
    #[arg(long)]
    pub(super) target: Option<String>,
    /// Only this person: user name, e-mail address or SCIM id.
    #[arg(long, conflicts_with = "target")]
    pub(super) user: Option<String>,
    #[command(flatten)]
    pub(super) by: By,
}

/// The one person of that name.
async fn person(context: &Context, name: &str) -> anyhow::Result<UserId> {
    let wanted = name.to_owned();
    let found = context
        .store
        .read(move |conn| users::named(conn, &wanted))
        .await?;
    match found.as_slice() {
        [] => bail!("the mirror has no user {name:?}"),
        [one] => Ok(one.clone()),
        several => {
            let ids: Vec<&str> = several.iter().map(UserId::as_str).collect();
            bail!(
                "several people go by {name:?}: say which by SCIM id, one of {}",
                ids.join(", ")
            )
        }
    }
}

pub(super) async fn pause(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let wanted = Pause {
        at: context.clock.now(),
        by: arguments.by.name(),
        reason: arguments.reason,
    };
    if let Some(name) = &arguments.user {
        let id = person(context, name).await?;
        let paused = context
            .store
            .write(move |tx| pause::pause_user(tx, &id, &wanted, "usher pause"))
            .await?;
        output::line(&if paused {
            format!("{name}: paused; `usher resume --user` lets it go on")
        } else {
            format!("{name}: paused already; `usher explain` says by whom")
        });
        return Ok(());
    }
    for target in context.targets(arguments.target.as_deref()).await? {
        let (id, wanted) = (target.id.clone(), wanted.clone());
        let before = context
            .store
            .write(move |tx| -> Result<Option<Pause>, store::Error> {
                if pause::pause(tx, &id, &wanted, "usher pause")? {
                    return Ok(None);
                }
                let before = pause::paused(tx.conn())?;
                Ok(before.into_iter().find(|(t, _)| *t == id).map(|(_, p)| p))
            })
            .await?;
        let name = &target.settings.name;
        output::line(&match before {
            None => format!("{name}: paused; `usher resume` lets it go on"),
            Some(before) => format!("{name}: {} already", words(&before)),
        });
    }
    Ok(())
}

pub(super) async fn resume(context: &Context, arguments: ResumeArguments) -> anyhow::Result<()> {
    let wanted = Pause {
        at: context.clock.now(),
        by: arguments.by.name(),
        reason: None,
    };
    if let Some(name) = &arguments.user {
        let id = person(context, name).await?;
        let resumed = context
            .store
            .write(move |tx| pause::resume_user(tx, &id, &wanted, "usher resume"))
            .await?;
        output::line(&if resumed {
            format!("{name}: goes on")
        } else {
            format!("{name}: was not paused")
        });
        return Ok(());
    }
    for target in context.targets(arguments.target.as_deref()).await? {
        let (id, wanted) = (target.id.clone(), wanted.clone());
        let resumed = context
            .store
            .write(move |tx| pause::resume(tx, &id, &wanted, "usher resume"))
            .await?;
        let name = &target.settings.name;
        output::line(&if resumed {
            format!("{name}: goes on")
        } else {
            format!("{name}: was not paused")
        });
    }
    Ok(())
}

/// A pause in words: `paused since … by …: …`.
pub(super) fn words(pause: &Pause) -> String {
    let reason = pause
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    format!("paused since {} by {}{reason}", rfc3339(pause.at), pause.by)
}
