//! `usher check`

use anyhow::bail;
use serde_json::json;

use super::{Context, output};
use crate::app;
use crate::domain::{Connection, Expiry, Target};
use crate::idcs::Step;
use crate::store::settings;
use crate::targets::Check;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only the target or the connection of this name.
    name: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let configuration = context.store.read(settings::load).await?;
    let wanted = |name: &str| arguments.name.as_deref().is_none_or(|it| it == name);
    let targets: Vec<Target> = configuration
        .targets
        .into_iter()
        .filter(|t| wanted(&t.settings.name))
        .collect();
    // A connection that is only pushed to has nothing to try, but naming it is no mistake.
    let connections: Vec<Connection> = configuration
        .connections
        .into_iter()
        .filter(|c| {
            wanted(&c.settings.name) && (c.settings.pull.is_some() || arguments.name.is_some())
        })
        .collect();
    if targets.is_empty() && connections.is_empty() {
        match arguments.name {
            Some(name) => bail!("there is no target or connection {name:?}"),
            None => bail!("there is no target yet; make one with `usher apply`"),
        }
    }
    let vault = context.existing_vault()?;
    let connect = app::connector(vault.clone());
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
    let mut domains = Vec::new();
    for connection in connections {
        let name = &connection.settings.name;
        let reconciler = app::reconciler(&context.store, &context.clock, vault.clone());
        let steps = match reconciler.client(&connection).await {
            Ok(client) => client.check().await,
            Err(error) => vec![Step {
                what: "settings",
                outcome: Err(error.to_string()),
            }],
        };
        failed |= steps.iter().any(|step| step.outcome.is_err());
        if arguments.json {
            domains.push(steps_as_json(name, &steps));
        } else {
            print_steps(name, &steps);
        }
    }
    if arguments.json {
        output::json(&json!({ "targets": answers, "connections": domains }))?;
    }
    if failed {
        bail!("not everything can be used");
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

fn steps_as_json(name: &str, steps: &[Step]) -> serde_json::Value {
    let steps = steps.iter().map(|step| match &step.outcome {
        Ok(words) => json!({"tried": step.what, "ok": true, "found": words}),
        Err(error) => json!({"tried": step.what, "ok": false, "error": error}),
    });
    json!({"name": name, "steps": steps.collect::<Vec<_>>()})
}

fn print_steps(name: &str, steps: &[Step]) {
    output::line(&format!("{name}: the domain"));
    for step in steps {
        match &step.outcome {
            Ok(words) => output::line(&format!("  {}: {words}", step.what)),
            Err(error) => output::line(&format!("  {}: refused: {error}", step.what)),
        }
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
