//! `usher check`

use anyhow::bail;
use serde_json::json;

use super::{Context, output};
use crate::app;
use crate::domain::{Expiry, Target};
use crate::store::settings;
use crate::targets::Check;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this target.
    target: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let configuration = context.store.read(settings::load).await?;
    let targets: Vec<Target> = configuration
        .targets
        .into_iter()
        .filter(|t| {
            arguments
                .target
                .as_ref()
                .is_none_or(|name| *name == t.settings.name)
        })
        .collect();
    if targets.is_empty() {
        match arguments.target {
            Some(name) => bail!("there is no target {name:?}"),
            None => bail!("there is no target yet; make one with `usher apply`"),
        }
    }
    let connect = app::connector();
    let mut failed = false;
    let mut answers = Vec::new();
    for target in targets {
        let name = target.settings.name.clone();
        let expiry = target.settings.expiry(context.clock.now());
        let outcome = match connect(&target.settings) {
            Ok(client) => client.check().await.map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        failed |= outcome.is_err();
        if arguments.json {
            let mut answer = as_json(&name, &outcome);
            answer["token"] = json!(expiry);
            answers.push(answer);
        } else {
            print(&name, &outcome);
            if let Some(expiry) = expiry {
                print_expiry(&expiry);
            }
        }
    }
    if arguments.json {
        output::json(&json!({ "targets": answers }))?;
    }
    if failed {
        bail!("not every target can be used");
    }
    Ok(())
}

fn as_json(name: &str, outcome: &Result<Check, String>) -> serde_json::Value {
    match outcome {
        Ok(check) => json!({
            "name": name, "ok": true, "product": check.product, "version": check.version,
            "account": check.account, "rights": check.rights, "warnings": check.warnings,
        }),
        Err(error) => json!({"name": name, "ok": false, "error": error}),
    }
}

fn print(name: &str, outcome: &Result<Check, String>) {
    match outcome {
        Ok(check) => {
            output::line(&format!(
                "{name}: {} {}, signed in as {}",
                check.product, check.version, check.account
            ));
            for right in &check.rights {
                output::line(&format!("  {right}"));
            }
            for warning in &check.warnings {
                output::line(&format!("  warning: {warning}"));
            }
        }
        Err(error) => output::line(&format!("{name}: cannot be used: {error}")),
    }
}

fn print_expiry(expiry: &Expiry) {
    match expiry.advice() {
        Some(advice) => output::line(&format!("  warning: {advice}")),
        None => output::line(&format!(
            "  the token expires on {}, in {}",
            expiry.on,
            expiry.left()
        )),
    }
}
