//! `usher pause` and `usher resume`

use super::{By, Context, output};
use crate::clock::rfc3339;
use crate::store;
use crate::store::pause::{self, Pause};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this target.
    #[arg(long)]
    pub(super) target: Option<String>,
    /// Why, for everybody who looks at `usher status`.
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
    #[command(flatten)]
    pub(super) by: By,
}

pub(super) async fn pause(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let wanted = Pause {
        at: context.clock.now(),
        by: arguments.by.name(),
        reason: arguments.reason,
    };
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
