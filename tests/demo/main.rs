//! The demo: one command that shows Usher at work between an IDCS domain and a Jira, a Confluence, a Bitbucket, a Crowd
//! and Atlassian Guard, all emulated.
//!
//! `cargo demo` starts them, tells a short story line by line (joiners, a marriage, leavers, an outage, a
//! crash), checks every claim it makes, and leaves everything running to be tried by hand. With
//! `--fast --exit` it is a test: the exit code says whether each claim held.
//!
//! Usher runs as it does for an administrator, as the program of its own: this binary starts itself again with
//! the first argument `usher`, so that nothing else has to be built.

mod beside;
mod cast;
mod screen;
mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;

use screen::Screen;
use stage::Stage;

/// Shows Usher at work between an emulated IDCS domain and emulated Atlassian products of all five kinds.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Arguments {
    /// Tell the story without pauses.
    #[arg(long)]
    fast: bool,
    /// Stop everything at the end of the story; the exit code is 0 if every claim held.
    #[arg(long)]
    exit: bool,
    /// Where database, configuration and log go. Default: a new folder among the system's temporary ones.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "usher") {
        return usher::cli::run(arguments);
    }
    let arguments = Arguments::parse();
    let screen = Arc::new(Screen::new(arguments.fast));
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(play(arguments, &screen)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen.failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every claim of the story held.
async fn play(arguments: Arguments, screen: &Arc<Screen>) -> anyhow::Result<bool> {
    let mut stage = Stage::set_up(arguments.dir, screen)?;
    // Listens from the first moment to the last, so that no stop is missed between story and waiting.
    let mut stop = std::pin::pin!(told_to_stop());
    let told = tokio::select! {
        biased;
        () = &mut stop => {
            screen.line("");
            screen.say("Stopped in the middle of the story.");
            stage.strike(false).await?;
            return Ok(false);
        }
        told = story::tell(&mut stage) => told,
    };
    if let Err(error) = told {
        stage.usher.show_log(screen);
        stage.strike(true).await?;
        return Err(error);
    }
    let held = stage.broken_claims() == 0;
    if arguments.exit {
        stage.strike(!held).await?;
        return Ok(held);
    }
    if let Err(error) = story::leave_running(&stage) {
        stage.strike(true).await?;
        return Err(error);
    }
    stop.await;
    screen.line("");
    screen.say("Stopping Usher and the emulated products.");
    stage.strike(true).await?;
    Ok(held)
}

/// Ctrl-C, or a polite `kill`.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
