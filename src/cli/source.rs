//! `usher source`

use serde_json::json;

use super::{Context, output};
use crate::app;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the page of the domain on which an administrator consents that it is read in their name: for
    /// connections with grant = "refresh-token". The server has to run: the answer goes to it.
    Authorize {
        /// Name of the connection.
        connection: String,
        /// The address of the server, as browsers reach it.
        #[arg(
            long,
            env = "USHER_PUBLIC_URL",
            value_name = "URL",
            default_value = "http://127.0.0.1:8080"
        )]
        public_url: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget the consent to read a connection's domain. The domain's own list of consents stays as it is.
    Forget {
        /// Name of the connection.
        connection: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    let consents = app::consents(&context.store, &context.clock, context.vault()?);
    match command {
        Command::Authorize {
            connection,
            public_url,
            json: as_json,
        } => {
            let begun = consents
                .begin(&connection, &public_url, &context.actor, false)
                .await?;
            if as_json {
                return output::json(&json!({"url": begun.url}));
            }
            output::line(&begun.url);
            output::note(
                "open this page within ten minutes, sign in as an administrator of the domain, and consent; it is \
                 good once",
            );
        }
        Command::Forget { connection } => {
            let forgotten = consents
                .forget(&connection, &context.actor, "usher source forget")
                .await?;
            output::line(if forgotten {
                "forgotten"
            } else {
                "there was no consent"
            });
        }
    }
    Ok(())
}
