//! `usher secret`

use std::io::{BufRead, IsTerminal};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{Context, output};
use crate::domain::StoredSecret;
use crate::store::{self, secrets, settings};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Keep a secret, read from standard input, under a name: `token = { stored = "NAME" }` refers to it.
    Set {
        /// The name.
        name: String,
    },
    /// The names of the secrets that are kept.
    List,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set { name } => set(context, name).await,
        Command::List => {
            let mut names: Vec<String> = context
                .store
                .read(secrets::all)
                .await?
                .into_keys()
                .collect();
            names.sort();
            output::table(
                &["NAME"],
                names.into_iter().map(|name| vec![name]).collect(),
            );
            Ok(())
        }
    }
}

async fn set(context: &Context, name: String) -> anyhow::Result<()> {
    if name.trim().is_empty() || name.chars().count() > 200 || name.contains(char::is_control) {
        bail!("a name of a secret has 1 to 200 characters, and no control characters");
    }
    let Some(vault) = context.vault()? else {
        bail!(
            "there is no master key: set USHER_MASTER_KEY or USHER_MASTER_KEY_FILE, as for the server"
        );
    };
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("Secret (it is shown while you type):");
    }
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .context("cannot read the secret from standard input")?;
    let secret = SecretString::from(line.trim_end_matches(['\r', '\n']));
    if secret.expose_secret().trim().is_empty() {
        bail!("the secret is empty");
    }
    let sealed = vault.seal(&StoredSecret::row(&name), secret.expose_secret().as_bytes())?;
    let act = context.act("set_secret", &json!({"name": name}), "usher secret set");
    let now = context.clock.now();
    context
        .store
        .write(move |tx| -> Result<(), store::Error> {
            secrets::put(tx, &name, &sealed, now)?;
            // Whoever runs has to connect anew.
            settings::bump(tx)?;
            store::audit::append(tx, &act)
        })
        .await?;
    output::note("kept");
    Ok(())
}
