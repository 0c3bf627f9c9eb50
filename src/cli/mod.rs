//! The command line: one file a command. Answers go to standard output, everything else to standard error.

mod apply;
mod check;
mod explain;
mod output;
mod retry;
mod runs;
mod serve;
mod status;
mod sync;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::server::{DatabaseUrl, DatabaseUrlError};
use crate::store::Store;
use crate::telemetry;

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

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Arguments),
    /// Store connections, targets and mappings from a TOML file. May be repeated.
    Apply(apply::Arguments),
    /// Connect to each target and each domain and say what it is and what the credential may do there.
    Check(check::Arguments),
    /// Read the domain of a connection now, all of it, what changed, or one person.
    Sync(sync::Arguments),
    /// The latest readings of domains, and what each changed.
    Runs(runs::Arguments),
    /// Make, list and revoke the credentials that identity providers show.
    #[command(subcommand)]
    Token(token::Command),
    /// What waits, what is held and what failed, for each target.
    Status(status::Arguments),
    /// What one person has at each target, and why, and why not.
    Explain(explain::Arguments),
    /// Try refused and held work again.
    Retry(retry::Arguments),
}

/// Reads the address without refusing it: clap would repeat the text, and with it the password, in its error.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a parser")]
fn unread(text: &str) -> Result<Result<DatabaseUrl, DatabaseUrlError>, std::convert::Infallible> {
    Ok(text.parse())
}

/// Runs one command. Exit codes: 0 done, 1 failed, 2 wrong usage.
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
    telemetry::init();
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
    let result = runtime.block_on(dispatch(url, arguments.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
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
        Command::Check(options) => check::run(&Context::open(&url)?, options).await,
        Command::Sync(options) => sync::run(&Context::open(&url)?, options).await,
        Command::Runs(options) => runs::run(&Context::open(&url)?, options).await,
        Command::Token(command) => token::run(&Context::open(&url)?, command).await,
        Command::Status(options) => status::run(&Context::open(&url)?, options).await,
        Command::Explain(options) => explain::run(&Context::open(&url)?, options).await,
        Command::Retry(options) => retry::run(&Context::open(&url)?, options).await,
    }
}

/// What commands that work on the database share.
struct Context {
    store: Store,
    clock: Clock,
}

impl Context {
    fn open(url: &DatabaseUrl) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::open(url)?,
            clock: Clock::System,
        })
    }
}
