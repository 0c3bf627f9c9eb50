//! `usher token`

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Context, output};
use crate::auth;
use crate::clock::{Micros, rfc3339};
use crate::store::audit::{self, NewAudit};
use crate::store::tokens::{self, CredentialScheme};
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
            let wanted = id.clone();
            let act = context.act("revoke_token", &json!({"id": id}), "usher token revoke");
            let ended = context
                .store
                .write(move |tx| -> Result<bool, store::Error> {
                    let ended = tokens::revoke(tx, &wanted)?;
                    if ended {
                        audit::append(tx, &act)?;
                    }
                    Ok(ended)
                })
                .await?;
            if !ended {
                bail!("there is no credential {id}");
            }
            output::note("revoked");
            Ok(())
        }
    }
}

/// What to make.
enum Kind {
    /// A bearer token with a label.
    Bearer(String),
    /// A password for this user name.
    Basic(String),
    /// A client id and secret.
    Client,
    /// A bearer token for the login hook, with a label.
    Hook(String),
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
    let secret = auth::new_secret();
    let (scheme, label, digest) = match &kind {
        Kind::Basic(username) if username.is_empty() || username.contains(':') => {
            bail!("a user name for HTTP Basic is not empty and has no colon (RFC 7617)");
        }
        Kind::Basic(username) => (
            CredentialScheme::Basic,
            username.clone(),
            auth::basic_digest(username, &secret),
        ),
        Kind::Client => {
            let client = format!("usher-{}", crate::domain::new_id());
            let digest = auth::client_digest(&client, &secret);
            (CredentialScheme::Client, client, digest)
        }
        Kind::Hook(label) => (
            CredentialScheme::Hook,
            label.clone(),
            auth::hook_digest(&secret),
        ),
        Kind::Bearer(label) => (
            CredentialScheme::Bearer,
            label.clone(),
            auth::bearer_digest(&secret),
        ),
    };
    let now = context.clock.now();
    let actor = context.actor.clone();
    let expires_at = expires_in_days.map(|days| now + Micros::from(days) * 86_400_000_000);
    let client = matches!(kind, Kind::Client).then(|| label.clone());
    context
        .store
        .write(move |tx| -> Result<String, store::Error> {
            let token = tokens::insert(tx, &id, scheme, &label, &digest, expires_at, now)?;
            let detail = json!({
                "id": token, "scheme": scheme.as_str(), "label": label, "expires_at": expires_at.map(rfc3339),
            });
            let mut act = NewAudit::act(now, &actor, "create_token", &detail, "usher token create");
            act.connection_id = Some(id.clone());
            audit::append(tx, &act)?;
            Ok(token)
        })
        .await?;
    if let Some(client) = client {
        output::line(&client);
    }
    output::line(secret.expose_secret());
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
