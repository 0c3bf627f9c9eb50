//! The command line: one file a command. Answers go to standard output, everything else to standard error.

mod admin;
mod alerts;
mod apply;
mod audit;
mod bundle;
mod check;
mod config;
mod drift;
mod explain;
mod groups;
mod held;
mod keep;
mod output;
mod pause;
mod plan;
mod ready;
mod remote;
mod retry;
mod runs;
mod secret;
mod serve;
mod source;
mod status;
mod sync;
mod time;
mod token;
mod undo;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use tokio::sync::Notify;

use crate::app;
use crate::clock::Clock;
use crate::config::server::{DatabaseUrl, DatabaseUrlError};
use crate::converge::{Engine, Options};
use crate::domain::{Target, UserId};
use crate::store::audit::NewAudit;
use crate::store::{self, Store, settings, users};
use crate::telemetry;
use crate::vault::{self, Vault};

/// Provisions Atlassian products from Oracle IDCS over SCIM 2.0.
#[derive(Debug, Parser)]
#[command(name = "usher", version, propagate_version = true)]
struct Arguments {
    /// Where the data is: `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/NAME`. A password is better put
    /// into the environment variable than on the command line, which other users of the machine can read.
    #[arg(
        long,
        global = true,
        env = "USHER_DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:usher.db",
        value_name = "URL",
        value_parser = unread
    )]
    database_url: Result<DatabaseUrl, DatabaseUrlError>,

    #[command(flatten)]
    server: remote::Server,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Arguments),
    /// Store connections, targets and mappings from a TOML file. May be repeated.
    Apply(apply::Arguments),
    /// What would be done for whom, and by which rule, without doing it.
    Plan(plan::Arguments),
    /// Print the whole configuration as a file for `usher apply`. Secrets stay references.
    Export,
    /// Former versions of the configuration: list, compare, go back.
    #[command(subcommand)]
    Config(config::Command),
    /// Connect to each target and each domain and say what it is and what the credential may do there.
    Check(check::Arguments),
    /// Read the domain of a connection now, all of it, what changed, or one person.
    Sync(sync::Arguments),
    /// The consent that a domain is read in an administrator's name.
    #[command(subcommand)]
    Source(source::Command),
    /// The latest readings of domains, and what each changed.
    Runs(runs::Arguments),
    /// Make, list and revoke the credentials that identity providers show.
    #[command(subcommand)]
    Token(token::Command),
    /// Secrets that Usher keeps, encrypted, for targets and connections.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Who may use the pages of the server: administrators, operators, auditors.
    #[command(subcommand)]
    Admin(admin::Command),
    /// What is wrong at the moment; send a test message.
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Print a script that completes commands in a shell. Needs no database.
    Completions {
        /// For this one.
        shell: clap_complete::Shell,
    },
    /// Print the OpenAPI document of the admin API. Needs no database.
    Openapi,
    /// Ask a running server whether it is ready: for health checks. Needs no database.
    Ready(ready::Arguments),
    /// What waits, what is held and what failed, for each target.
    Status(status::Arguments),
    /// What one person has at each target, and why, and why not.
    Explain(explain::Arguments),
    /// What was done, for whom, when and why: find it, follow it, export it.
    Audit(audit::Arguments),
    /// The groups that a source has pushed, and what each mapping makes of them.
    Groups(groups::Arguments),
    /// Try refused and held work again.
    Retry(retry::Arguments),
    /// Write how everything stands into a file for somebody who helps, without names of people and secrets.
    SupportBundle(bundle::Arguments),
    /// Write a copy of the database into a file, while the server runs (SQLite).
    Backup(keep::BackupArguments),
    /// Put a backup in the place of the database (SQLite). Pauses all targets.
    Restore(keep::RestoreArguments),
    /// Carry everything over from SQLite into an empty PostgreSQL database.
    Move(keep::MoveArguments),
    /// What waits for a person: show it, release it, discard it.
    Held(held::Arguments),
    /// Give back what was taken away: by a run, within a time, or by one cause.
    Undo(undo::Arguments),
    /// Accounts that somebody changed at a target by hand: show them, push ours, accept theirs.
    Drift(drift::Arguments),
    /// Stop writing to targets, all or one, within a second.
    Pause(pause::Arguments),
    /// Let paused targets go on.
    Resume(pause::ResumeArguments),
}

/// Reads the address without refusing it: clap would repeat the text, and with it the password, in its error.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a parser")]
fn unread(text: &str) -> Result<Result<DatabaseUrl, DatabaseUrlError>, std::convert::Infallible> {
    Ok(text.parse())
}

/// Runs one command. Exit codes: 0 done, 1 failed, 2 wrong usage; the guide has the same list.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(e) => {
            // Help and version are answers, not errors; clap knows which goes where.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let url = match arguments.database_url {
        Ok(url) => url,
        Err(e) => {
            output::error(&anyhow::Error::new(e).context("--database-url (USHER_DATABASE_URL)"));
            return ExitCode::from(2);
        }
    };
    let is_server = matches!(arguments.command, Command::Serve(_));
    let telemetry = match telemetry::init(is_server) {
        Ok(telemetry) => telemetry,
        Err(e) => {
            output::error(&anyhow::Error::new(e));
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            output::error(&anyhow::Error::new(e).context("cannot start"));
            return ExitCode::FAILURE;
        }
    };
    let (server, command) = (arguments.server, arguments.command);
    let result = runtime.block_on(async {
        match server.connect()? {
            Some(remote) => remote.run(command).await,
            None => dispatch(url, command).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    drop(telemetry);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            output::error(&e);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(url: DatabaseUrl, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => serve::run(url, options).await,
        Command::Apply(options) => apply::run(&Context::open(&url)?, options).await,
        Command::Plan(options) => plan::run(&Context::open(&url)?, options).await,
        Command::Export => config::export(&Context::open(&url)?).await,
        Command::Config(command) => config::run(&Context::open(&url)?, command).await,
        Command::Audit(options) => audit::run(&Context::open(&url)?, options).await,
        Command::Check(options) => check::run(&Context::open(&url)?, options).await,
        Command::Sync(options) => sync::run(&Context::open(&url)?, options).await,
        Command::Source(command) => source::run(&Context::open(&url)?, command).await,
        Command::Runs(options) => runs::run(&Context::open(&url)?, options).await,
        Command::Token(command) => token::run(&Context::open(&url)?, command).await,
        Command::Secret(command) => secret::run(&Context::open(&url)?, command).await,
        Command::Admin(command) => admin::run(&Context::open(&url)?, command).await,
        Command::Alerts(command) => alerts::run(&Context::open(&url)?, command).await,
        Command::Completions { shell } => {
            output::completions(shell, &mut Arguments::command());
            Ok(())
        }
        Command::Openapi => output::json(&crate::http::document()),
        Command::Ready(options) => ready::run(options).await,
        Command::Status(options) => status::run(&Context::open(&url)?, options).await,
        Command::Explain(options) => explain::run(&Context::open(&url)?, options).await,
        Command::Groups(options) => groups::run(&Context::open(&url)?, options).await,
        Command::Retry(options) => retry::run(&Context::open(&url)?, options).await,
        Command::SupportBundle(options) => bundle::run(&Context::open(&url)?, options).await,
        Command::Backup(options) => keep::backup(&url, options).await,
        Command::Restore(options) => keep::restore(&url, options),
        Command::Move(options) => keep::move_to(&url, options),
        Command::Held(options) => held::run(&Context::open(&url)?, options).await,
        Command::Undo(options) => undo::run(&Context::open(&url)?, options).await,
        Command::Drift(options) => drift::run(&Context::open(&url)?, options).await,
        Command::Pause(options) => pause::pause(&Context::open(&url)?, options).await,
        Command::Resume(options) => pause::resume(&Context::open(&url)?, options).await,
    }
}

/// What commands that work on the database share.
struct Context {
    store: Store,
    clock: Clock,
    /// The person at the keyboard, as the audit names them.
    actor: String,
    /// Where the master key is.
    master_key: Option<vault::Source>,
}

/// Who gives a command, for the audit.
#[derive(Debug, clap::Args)]
struct By {
    /// Who decides this, for the audit. Without: the user that is signed in to this machine.
    #[arg(long = "by", env = "USER", hide_env_values = true, value_name = "NAME")]
    name: Option<String>,
}

impl By {
    fn name(self) -> String {
        self.name
            .filter(|name| !name.trim().is_empty())
            .unwrap_or_else(|| "somebody".to_owned())
    }
}

impl Context {
    fn open(url: &DatabaseUrl) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::open(url)?,
            clock: Clock::System,
            actor: actor(),
            master_key: serve::master_key(
                url,
                std::env::var_os("USHER_MASTER_KEY_FILE").map(Into::into),
            ),
        })
    }

    /// What secrets in the database are encrypted with, if there is a key.
    fn vault(&self) -> anyhow::Result<Option<Vault>> {
        Ok(self.master_key.as_ref().map(Vault::open).transpose()?)
    }

    /// The same for whoever only reads: where there is no key yet, nothing is encrypted, and none is made.
    fn existing_vault(&self) -> anyhow::Result<Option<Vault>> {
        match &self.master_key {
            Some(vault::Source::File(path)) if !path.exists() => Ok(None),
            _ => self.vault(),
        }
    }

    /// The record of what the person at the keyboard does.
    fn act(&self, operation: &str, detail: &serde_json::Value, cause: &str) -> NewAudit {
        NewAudit::act(self.clock.now(), &self.actor, operation, detail, cause)
    }

    /// Who changes the configuration.
    fn by<'a>(&'a self, cause: &'a str) -> app::By<'a> {
        app::By {
            actor: &self.actor,
            cause,
        }
    }

    /// The engine, for commands that look or work once.
    fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::new(
            self.store.clone(),
            self.clock.clone(),
            app::connector(self.existing_vault()?),
            Arc::new(Notify::new()),
            &Options::default(),
        ))
    }

    /// The targets, all or the one of that name; an error if there is none such.
    async fn targets(&self, name: Option<&str>) -> anyhow::Result<Vec<Target>> {
        let configuration = self.store.read(settings::load).await?;
        let mut targets = configuration.targets;
        if let Some(name) = name {
            targets.retain(|target| target.settings.name == name);
            if targets.is_empty() {
                anyhow::bail!("there is no target {name:?}; `usher status` lists them");
            }
        }
        Ok(targets)
    }

    /// The people of these names (user name, e-mail address or SCIM id); an error for a name that nobody has.
    async fn people(&self, names: Vec<String>) -> anyhow::Result<Vec<UserId>> {
        let found = self
            .store
            .read(
                move |conn| -> Result<Vec<(String, Vec<UserId>)>, store::Error> {
                    names
                        .into_iter()
                        .map(|name| Ok((name.clone(), users::named(conn, &name)?)))
                        .collect()
                },
            )
            .await?;
        if let Some((name, _)) = found.iter().find(|(_, ids)| ids.is_empty()) {
            anyhow::bail!("the mirror has no user {name:?}");
        }
        Ok(found.into_iter().flat_map(|(_, ids)| ids).collect())
    }
}

/// The name that the system knows the person by; behind `sudo` the one who called it.
fn actor() -> String {
    ["SUDO_USER", "USER", "LOGNAME", "USERNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
