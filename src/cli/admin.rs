//! `usher admin`: who may use the seat. Works on the database, so whoever can run it on the server's host can
//! always get back in.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret, SecretString};

use super::{Context, output};
use crate::auth::new_secret;
use crate::auth::seat::{Seat, good_login, good_name};
use crate::clock::{Micros, rfc3339};
use crate::domain::Role;
use crate::store::admins::{self, Admin, Change, DomainLogin, NewAdmin, Refused};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an administrator, an operator or an auditor. The password is read from standard input, unless a domain
    /// signs them in.
    Create {
        /// Name, as it is typed when signing in.
        name: String,
        /// What they may do: auditor (reads everything), operator (day-to-day work), administrator.
        #[arg(long, default_value = "administrator")]
        role: Role,
        /// Make a password and print it, once, alone on standard output.
        #[arg(long, conflicts_with = "login")]
        generate: bool,
        #[command(flatten)]
        domain: SignedIn,
    },
    /// Say which domain signs somebody in, in addition to a password. Without options: none any more. Ends all sessions
    /// of that person.
    Domain {
        /// Name.
        name: String,
        #[command(flatten)]
        domain: SignedIn,
    },
    /// Set a new password, read from standard input. Ends all sessions of that person.
    Password {
        /// Name.
        name: String,
        /// Make a password and print it, once, alone on standard output.
        #[arg(long)]
        generate: bool,
    },
    /// Change what somebody may do.
    Role {
        /// Name.
        name: String,
        /// auditor, operator or administrator.
        role: Role,
    },
    /// Keep somebody from signing in, and end all sessions.
    Disable {
        /// Name.
        name: String,
    },
    /// Let somebody sign in again.
    Enable {
        /// Name.
        name: String,
    },
    /// Remove somebody.
    Remove {
        /// Name.
        name: String,
    },
    /// Make a token for a program at the admin API and print it, once, alone on standard output.
    Token {
        /// What it is for.
        label: String,
        /// What it may do: auditor, operator or administrator.
        #[arg(long, default_value = "auditor")]
        role: Role,
        /// After how many days it ends. Without: never.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List everybody.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Somebody in the identity domain that a connection reads.
#[derive(Debug, clap::Args)]
pub(super) struct SignedIn {
    /// The connection whose domain signs them in.
    #[arg(long = "domain", value_name = "CONNECTION", requires = "login")]
    connection: Option<String>,
    /// Their login name there.
    #[arg(long, requires = "connection")]
    login: Option<String>,
}

impl SignedIn {
    fn wanted(self) -> anyhow::Result<Option<DomainLogin>> {
        let Some((connection, login)) = self.connection.zip(self.login) else {
            return Ok(None);
        };
        good_login(&login).map_err(anyhow::Error::msg)?;
        Ok(Some(DomainLogin { connection, login }))
    }
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    let seat = Seat::new(context.store.clone(), context.clock.clone());
    match command {
        Command::Create {
            name,
            role,
            generate,
            domain,
        } => {
            let name = good_name(&name).map_err(anyhow::Error::msg)?;
            let domain = domain.wanted()?;
            let typed = match &domain {
                None => Some(password(generate)?),
                Some(_) => None,
            };
            let new = NewAdmin {
                password: match &typed {
                    None => None,
                    Some(password) => Some(hash(&seat, &name, password).await?),
                },
                name,
                role,
                domain,
            };
            let now = context.clock.now();
            context
                .store
                .write(move |tx| admins::insert(tx, &new, now))
                .await?;
            if let Some(password) = typed {
                tell(generate, &password);
            }
            Ok(())
        }
        Command::Domain { name, domain } => {
            let change = Change {
                domain: Some(domain.wanted()?),
                ..Change::default()
            };
            apply(context, find(context, &name).await?, change).await
        }
        Command::Password { name, generate } => {
            let admin = find(context, &name).await?;
            let password = password(generate)?;
            let change = Change {
                password: Some(hash(&seat, &admin.name, &password).await?),
                ..Change::default()
            };
            apply(context, admin, change).await?;
            tell(generate, &password);
            Ok(())
        }
        Command::Role { name, role } => {
            let change = Change {
                role: Some(role),
                ..Change::default()
            };
            apply(context, find(context, &name).await?, change).await
        }
        Command::Disable { name } => {
            let change = Change {
                disabled: Some(true),
                ..Change::default()
            };
            apply(context, find(context, &name).await?, change).await
        }
        Command::Enable { name } => {
            let change = Change {
                disabled: Some(false),
                ..Change::default()
            };
            apply(context, find(context, &name).await?, change).await
        }
        Command::Remove { name } => {
            let admin = find(context, &name).await?;
            context
                .store
                .write(move |tx| admins::remove(tx, &admin.id))
                .await?;
            Ok(())
        }
        Command::Token {
            label,
            role,
            expires_in_days,
        } => {
            let label = good_name(&label).map_err(anyhow::Error::msg)?;
            let expires_at = expires_in_days
                .map(|days| context.clock.now() + Micros::from(days) * 86_400_000_000);
            let by = "usher admin token";
            let (_, secret) = seat.new_token(&label, role, by, expires_at).await?;
            tell(true, &secret);
            Ok(())
        }
        Command::List { json } => list(context, json).await,
    }
}

async fn find(context: &Context, name: &str) -> anyhow::Result<Admin> {
    let wanted = name.to_owned();
    let found = context
        .store
        .read(move |conn| admins::named(conn, &wanted))
        .await?;
    match found {
        Some((admin, _)) => Ok(admin),
        None => bail!("nobody is called {name:?}; `usher admin list` shows everybody"),
    }
}

async fn apply(context: &Context, admin: Admin, change: Change) -> anyhow::Result<()> {
    context
        .store
        .write(move |tx| -> Result<(), Refused> { admins::change(tx, &admin.id, &change) })
        .await?;
    Ok(())
}

async fn hash(seat: &Seat, name: &str, password: &SecretString) -> anyhow::Result<String> {
    seat.hash(name, password).await.map_err(anyhow::Error::msg)
}

/// From standard input, or made. Never from the command line, which other users of the machine can read.
fn password(generate: bool) -> anyhow::Result<SecretString> {
    if generate {
        return Ok(new_secret());
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("Password (it is shown while you type; --generate makes one):");
    }
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}

fn tell(generate: bool, password: &SecretString) {
    if generate {
        output::line(password.expose_secret());
        output::note("keep it now: it cannot be shown again");
    }
}

async fn list(context: &Context, json: bool) -> anyhow::Result<()> {
    let admins = context.store.read(admins::list).await?;
    if json {
        let rows: Vec<serde_json::Value> = admins
            .iter()
            .map(|admin| {
                serde_json::json!({
                    "name": admin.name, "role": admin.role, "disabled": admin.disabled,
                    "password": admin.has_password,
                    "domain": admin.domain.as_ref().map(|it| &it.connection),
                    "login": admin.domain.as_ref().map(|it| &it.login),
                    "created_at": rfc3339(admin.created_at),
                    "signed_in_at": admin.signed_in_at.map(rfc3339),
                })
            })
            .collect();
        return output::json(&rows);
    }
    output::table(
        &["NAME", "ROLE", "SIGNS IN", "LAST SIGNED IN"],
        admins
            .into_iter()
            .map(|admin| {
                let signs_in: String = match (admin.disabled, admin.has_password, &admin.domain) {
                    (true, ..) => "no (disabled)".to_owned(),
                    (_, true, None) => "with password".to_owned(),
                    (_, false, None) => "no".to_owned(),
                    (_, has_password, Some(who)) => format!(
                        "{}as {} in {}",
                        if has_password {
                            "with password, or "
                        } else {
                            ""
                        },
                        who.login,
                        who.connection
                    ),
                };
                vec![
                    admin.name,
                    admin.role.to_string(),
                    signs_in,
                    admin
                        .signed_in_at
                        .map_or_else(|| "never".to_owned(), rfc3339),
                ]
            })
            .collect(),
    );
    Ok(())
}
