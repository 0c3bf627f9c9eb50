//! `usher plan`

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Context, output};
use crate::app;
use crate::converge::{Outlook, Scope, Summary, Verdict};
use crate::domain::{ConnectionId, Mode, TargetId, UserId};
use crate::store::settings::{self, Configuration};
use crate::store::{self, users};

/// How many people are shown unless something else is asked for.
const SAMPLE: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only what comes from this connection.
    pub(super) connection: Option<String>,
    /// Only at this target.
    #[arg(long)]
    pub(super) target: Option<String>,
    /// Only this person: user name, e-mail address or SCIM id.
    #[arg(long)]
    pub(super) user: Option<String>,
    /// As if this file were applied: only the mappings that it changes.
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// How many people of each mapping are shown.
    #[arg(long, value_name = "N", default_value_t = SAMPLE, conflicts_with = "json")]
    pub(super) sample: usize,
    /// Everyone for whom there is something to say, one line of JSON each; the last line has the totals.
    #[arg(long)]
    pub(super) json: bool,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Totals, and so many people.
    Sample(usize),
    /// Lines of JSON.
    Json,
    /// One person in full.
    Person,
}

impl Default for Form {
    fn default() -> Self {
        Self::Sample(SAMPLE)
    }
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let wanted = arguments.user.clone();
    let (stored, people) = context
        .store
        .read(
            move |conn| -> Result<(Configuration, Vec<UserId>), store::Error> {
                let people = match &wanted {
                    Some(name) => users::named(conn, name)?,
                    None => Vec::new(),
                };
                Ok((settings::load(conn)?, people))
            },
        )
        .await?;
    let mut scope = Scope {
        users: people,
        ..Scope::default()
    };
    if let Some(user) = &arguments.user
        && scope.users.is_empty()
    {
        bail!("the mirror has no user {user:?}: the source has not pushed such a person");
    }
    let configuration = match &arguments.file {
        None => stored,
        Some(path) => {
            let by = context.by("usher plan");
            let report = app::apply(&context.store, &context.clock, path, by, true).await?;
            if report.changed.is_empty() {
                output::note("the file changes no mapping");
            }
            scope.mappings = Some(report.changed);
            report.configuration
        }
    };
    if let Some(name) = &arguments.connection {
        scope.connection = Some(connection(&configuration, name)?);
    }
    if let Some(name) = &arguments.target {
        scope.target = Some(target(&configuration, name)?);
    }
    let form = match (arguments.json, &arguments.user) {
        (true, _) => Form::Json,
        (false, Some(_)) => Form::Person,
        (false, None) => Form::Sample(arguments.sample),
    };
    show(context, configuration, &scope, form).await
}

/// The connection of that name.
pub(super) fn connection(
    configuration: &Configuration,
    name: &str,
) -> anyhow::Result<ConnectionId> {
    let found = configuration
        .connections
        .iter()
        .find(|c| c.settings.name == name);
    found.map(|c| c.id.clone()).with_context(|| {
        let names: Vec<&str> = configuration
            .connections
            .iter()
            .map(|c| c.settings.name.as_str())
            .collect();
        no_such("connection", name, &names)
    })
}

/// The target of that name.
pub(super) fn target(configuration: &Configuration, name: &str) -> anyhow::Result<TargetId> {
    let found = configuration
        .targets
        .iter()
        .find(|t| t.settings.name == name);
    found.map(|t| t.id.clone()).with_context(|| {
        let names: Vec<&str> = configuration
            .targets
            .iter()
            .map(|t| t.settings.name.as_str())
            .collect();
        no_such("target", name, &names)
    })
}

fn no_such(kind: &str, name: &str, names: &[&str]) -> String {
    match names {
        [] => format!("there is no {kind} {name:?}; make one with `usher apply` first"),
        names => format!(
            "there is no {kind} {name:?}; there are: {}",
            names.join(", ")
        ),
    }
}

/// Makes the plan and shows it as it comes.
pub(super) async fn show(
    context: &Context,
    configuration: Configuration,
    scope: &Scope,
    form: Form,
) -> anyhow::Result<()> {
    let mut shown = 0;
    let mut place = (String::new(), String::new());
    let mut each = |outlook: Outlook| {
        let here = (outlook.target.clone(), outlook.connection.clone());
        if here != place {
            (place, shown) = (here, 0);
        }
        match form {
            Form::Json if is_worth_a_line(&outlook) => output::json_line(&outlook),
            Form::Person => person(&outlook),
            Form::Sample(most) if !outlook.operations.is_empty() => {
                shown += 1;
                if shown <= most {
                    person(&outlook);
                }
            }
            _ => {}
        }
    };
    let summaries = context
        .engine()?
        .preview(configuration, scope, &mut each)
        .await?;
    if summaries.is_empty() {
        output::note("no mapping leads there");
    }
    match form {
        Form::Json => output::json_line(&json!({ "summary": summaries })),
        Form::Person => {}
        Form::Sample(most) => {
            for summary in &summaries {
                totals(summary, most);
            }
        }
    }
    for stopped in summaries.iter().filter(|s| s.stopped.is_some()) {
        output::note(&format!(
            "{}: the plan is not complete: {}; `usher check` says more",
            stopped.target,
            stopped.stopped.as_deref().unwrap_or_default()
        ));
    }
    Ok(())
}

fn is_worth_a_line(outlook: &Outlook) -> bool {
    outlook.verdict != Verdict::InStep
        || !outlook.takes_over.is_empty()
        || !outlook.not_done.is_empty()
}

fn person(outlook: &Outlook) {
    let verdict = match outlook.verdict {
        Verdict::InStep => "nothing to do",
        Verdict::Changes => "changes",
        Verdict::Waiting => "waits for the source",
        Verdict::Held => "held",
        Verdict::Unknown => "the target could not be asked",
    };
    output::line(&format!(
        "{} at {}: {verdict}{}",
        outlook.user_name,
        outlook.target,
        outlook
            .reason
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"))
    ));
    for foreseen in &outlook.operations {
        output::line(&format!("  {} [{}]", foreseen.text, foreseen.because));
    }
    for group in &outlook.takes_over {
        output::line(&format!(
            "  is in {group:?} already: the membership becomes Usher's"
        ));
    }
    for note in &outlook.not_done {
        output::line(&format!("  not done: {note}"));
    }
}

fn totals(summary: &Summary, most: usize) {
    let mode = match summary.mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow: nothing is written",
        Mode::Paused => "paused: nothing is written",
    };
    output::line(&format!(
        "{} -> {} ({mode}): {} of {} people change{}",
        summary.connection,
        summary.target,
        summary.changing,
        summary.people,
        if summary.changing > u64::try_from(most).unwrap_or(u64::MAX) {
            format!(", {most} are shown; --json lists them all")
        } else {
            String::new()
        }
    ));
    for (operation, count) in &summary.operations {
        output::line(&format!("  {operation}: {count}"));
    }
    for (what, count) in [
        ("wait for the source", summary.waiting),
        ("held for a decision", summary.held),
        ("could not be looked at", summary.unknown),
    ] {
        if count > 0 {
            output::line(&format!("  {what}: {count}"));
        }
    }
}
