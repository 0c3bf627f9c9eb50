//! `usher token`

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret;

use super::{Context, output};
use crate::auth::credential::{self, By, Kind};
use crate::clock::{Micros, rfc3339};
use crate::store::tokens;
use crate::store::{self};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a credential for a connection and print its secret, once, alone on standard output.
    Create {
        /// Name of the connection.
        connection: String,
        /// Make a password for HTTP Basic with this user name, instead of a bearer token.
        #[arg(long, value_name = "USERNAME")]
        basic: Option<String>,
        /// Make a client id and a client secret, with which access tokens are asked for at /oauth2/v1/token; print
        /// the id, then the secret, a line each.
        #[arg(long, conflicts_with = "basic")]
        client: bool,
        /// Make a bearer token that opens nothing but the login hook, for integrations and proxies.
        #[arg(long, conflicts_with_all = ["basic", "client"])]
        hook: bool,
        /// What it is for, as `usher token list` shows it.
        #[arg(long, default_value = "")]
        label: String,
        /// After how many days it ends. Without: never.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List credentials, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a credential. A running server refuses it within five seconds.
    Revoke {
        /// Its id, from `usher token list`.
        id: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create {
            connection,
            basic,
            client,
            hook,
            label,
            expires_in_days,
        } => {
            let kind = match basic {
                Some(username) => Kind::Basic(username),
                None if client => Kind::Client,
                None if hook => Kind::Hook(label),
                None => Kind::Bearer(label),
            };
            create(context, connection, kind, expires_in_days).await
        }
        Command::List { json } => list(context, json).await,
        Command::Revoke { id } => {
            let by = By {
                actor: &context.actor,
                cause: "usher token revoke",
            };
            if !credential::revoke(&context.store, &context.clock, &id, by).await? {
                bail!("there is no credential {id}");
            }
            output::note("revoked");
            Ok(())
        }
    }
}

async fn create(
    context: &Context,
    name: String,
    kind: Kind,
    expires_in_days: Option<u32>,
) -> anyhow::Result<()> {
    let wanted = name.clone();
    let (id, names) = context
        .store
        .read(move |conn| -> Result<_, store::Error> {
            Ok((
                tokens::connection_named(conn, &wanted)?,
                tokens::connection_names(conn)?,
            ))
        })
        .await?;
    let id = id.with_context(|| match names.as_slice() {
        [] => format!("there is no connection {name:?}; make one with `usher apply` first"),
        names => format!(
            "there is no connection {name:?}; there are: {}",
            names.join(", ")
        ),
    })?;
    let is_client = kind == Kind::Client;
    let expires_at =
        expires_in_days.map(|days| context.clock.now() + Micros::from(days) * 86_400_000_000);
    let by = By {
        actor: &context.actor,
        cause: "usher token create",
    };
    let made = credential::create(&context.store, &context.clock, id, kind, expires_at, by).await?;
    if is_client {
        output::line(&made.label);
    }
    output::line(made.secret.expose_secret());
    output::note("keep it now: it cannot be shown again");
    Ok(())
}

async fn list(context: &Context, json: bool) -> anyhow::Result<()> {
    let credentials = context.store.read(tokens::list).await?;
    if json {
        let rows: Vec<serde_json::Value> = credentials
            .iter()
            .map(|c| {
                serde_json::json!({
                    "id": c.id, "connection": c.connection, "scheme": c.scheme, "label": c.label,
                    "created_at": rfc3339(c.created_at), "expires_at": c.expires_at.map(rfc3339),
                })
            })
            .collect();
        return output::json(&rows);
    }
    output::table(
        &["ID", "CONNECTION", "SCHEME", "LABEL", "CREATED", "EXPIRES"],
        credentials
            .into_iter()
            .map(|c| {
                vec![
                    c.id,
                    c.connection,
                    c.scheme,
                    c.label,
                    rfc3339(c.created_at),
                    c.expires_at.map_or_else(|| "never".to_owned(), rfc3339),
                ]
            })
            .collect(),
    );
    Ok(())
}
