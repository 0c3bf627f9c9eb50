//! The emulated Jira as a process of its own, for demos and for tests that kill processes.
//!
//! `jira-emulator [--host IP] [--port N] [--token TOKEN] [--admin NAME:PASSWORD]
//! [--version 10.3.24] [--context PATH] [--chaos SEED] [--state FILE] [--quiet]`
//!
//! The first line on standard output is the URL; each further line is one change of state. It is
//! steered through `/__emulator/` (see `src/jira/control.rs`) and runs until it is killed.

use std::io::Write as _;
use std::process::ExitCode;

use usher_emulators::Chaos;
use usher_emulators::jira::{Jira, JiraOptions};

struct Arguments {
    options: JiraOptions,
    chaos: Option<u64>,
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => return failed(&reason),
    };
    let jira = match Jira::start(arguments.options) {
        Ok(jira) => jira,
        Err(error) => return failed(&error.to_string()),
    };
    say(&jira.url());
    if !arguments.quiet {
        jira.on_event(Box::new(say));
    }
    jira.chaos(arguments.chaos.map(Chaos::new));
    loop {
        std::thread::park();
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        options: JiraOptions::default(),
        chaos: None,
        quiet: false,
    };
    let options = &mut arguments.options;
    while let Some(name) = words.next() {
        if name == "--quiet" {
            arguments.quiet = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let wrong = || format!("{name} cannot be {value}");
        match name.as_str() {
            "--host" => options.host = value,
            "--port" => options.port = value.parse().map_err(|_| wrong())?,
            "--token" => options.token = value,
            "--admin" => {
                let (user, password) = value.split_once(':').ok_or_else(wrong)?;
                options.admin = (user.to_owned(), password.to_owned());
            }
            "--version" => options.version = version(&value).ok_or_else(wrong)?,
            "--context" => options.context_path = value,
            "--chaos" => arguments.chaos = Some(value.parse().map_err(|_| wrong())?),
            "--state" => options.state_file = Some(value.into()),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(arguments)
}

fn version(text: &str) -> Option<[u32; 3]> {
    let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
    parts.ok()?.try_into().ok()
}

/// Nobody listening is no reason to stop.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}

fn failed(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "jira-emulator: {reason}");
    ExitCode::FAILURE
}
