//! `usher audit`

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use super::{Context, output, plan, time};
use crate::clock::rfc3339;
use crate::store::audit::{self, AuditRow, Cursor, Query};
use crate::store::settings::{self, Configuration};
use crate::store::{self, users};

/// How many rows are read at a time.
const PAGE: i64 = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only about this person: user name, e-mail address or SCIM id.
    #[arg(long)]
    user: Option<String>,
    /// Only at this target.
    #[arg(long)]
    target: Option<String>,
    /// Only from this connection.
    #[arg(long)]
    connection: Option<String>,
    /// Only what this administrator did.
    #[arg(long)]
    actor: Option<String>,
    /// Only this operation, such as `deactivate`. May be repeated.
    #[arg(long = "operation", value_name = "OPERATION")]
    operations: Vec<String>,
    /// Only with this outcome: done, already, recovered, rejected. May be repeated.
    #[arg(long = "outcome", value_name = "OUTCOME")]
    outcomes: Vec<String>,
    /// Only what was set off by something whose name contains this.
    #[arg(long)]
    cause: Option<String>,
    /// From this time on: 2h (so long ago), 2026-11-25, or 2026-11-25T08:30:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// At most so many rows.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..),
          conflicts_with = "all")]
    limit: i64,
    /// All rows, however many.
    #[arg(long)]
    all: bool,
    /// Go on where the last answer ended; it printed this.
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// How the rows are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Arguments {
    /// The same for the API of a server. `--connection`, `--actor`, `--cause` and `--oldest-first` are not among what
    /// it can be asked.
    pub(super) fn as_query(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        if self.connection.is_some()
            || self.actor.is_some()
            || self.cause.is_some()
            || self.oldest_first
            || self.format == Format::Csv
        {
            bail!(
                "--connection, --actor, --cause, --oldest-first and --format csv do not work with --server"
            );
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(vec![
            ("user", text(&self.user)),
            ("target", text(&self.target)),
            ("operation", self.operations.join(" ")),
            ("outcome", self.outcomes.join(" ")),
            ("since", text(&self.since)),
            ("until", text(&self.until)),
            (
                "cursor",
                self.after
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
        ])
    }

    /// At most so many rows; `None`: all.
    pub(super) fn most(&self) -> Option<usize> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        (!self.all).then_some(limit)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One line each, for people.
    Text,
    /// For spreadsheets.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

const COLUMNS: [&str; 12] = [
    "at",
    "actor",
    "connection",
    "target",
    "user",
    "user_id",
    "operation",
    "outcome",
    "message",
    "cause",
    "detail",
    "id",
];

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let wanted = arguments.user.clone();
    let (configuration, found) = context
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let found = match &wanted {
                Some(name) => users::named(conn, name)?,
                None => Vec::new(),
            };
            Ok((settings::load(conn)?, found))
        })
        .await?;
    let query = query(context, &arguments, &configuration, found)?;
    let names = Names::of(&configuration);
    if arguments.format == Format::Csv {
        output::line(&COLUMNS.join(","));
    }
    let mut left = if arguments.all {
        i64::MAX
    } else {
        arguments.limit
    };
    let mut query = query;
    loop {
        let (asked, page) = (query.clone(), left.min(PAGE));
        let rows = context
            .store
            .read(move |conn| audit::page(conn, &asked, page))
            .await?;
        for row in &rows {
            match arguments.format {
                Format::Text => output::line(&text(row, &names)),
                Format::Csv => output::line(&csv(row, &names)),
                Format::Jsonl => output::json_line(&as_json(row, &names)),
            }
        }
        let got = i64::try_from(rows.len()).unwrap_or(PAGE);
        left -= got;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        if got < page {
            return Ok(());
        }
        if left <= 0 {
            output::note(&format!(
                "there may be more: --after {}, or --all",
                last.cursor()
            ));
            return Ok(());
        }
        query.after = Some(last.cursor());
    }
}

fn query(
    context: &Context,
    arguments: &Arguments,
    configuration: &Configuration,
    found: Vec<crate::domain::UserId>,
) -> anyhow::Result<Query> {
    let now = context.clock.now();
    let instant = |text: &Option<String>| {
        text.as_deref()
            .map(|text| time::instant(text, now).map_err(|why| anyhow!(why)))
            .transpose()
    };
    let query = Query {
        // Whom the mirror has forgotten is still known by the name in the rows.
        user_name: arguments.user.clone().filter(|_| found.is_empty()),
        users: found,
        connection: arguments
            .connection
            .as_deref()
            .map(|name| plan::connection(configuration, name))
            .transpose()?,
        target: arguments
            .target
            .as_deref()
            .map(|name| plan::target(configuration, name))
            .transpose()?,
        actor: arguments.actor.clone(),
        operations: arguments.operations.clone(),
        outcomes: arguments.outcomes.clone(),
        cause: arguments.cause.clone(),
        since: instant(&arguments.since)?,
        until: instant(&arguments.until)?,
        oldest_first: arguments.oldest_first,
        after: arguments.after.clone(),
    };
    if let (Some(since), Some(until)) = (query.since, query.until)
        && since >= until
    {
        bail!("--since is not before --until: nothing lies between them");
    }
    Ok(query)
}

/// Names of what rows refer to by id; what is gone keeps its id.
struct Names(Vec<(String, String)>);

impl Names {
    fn of(configuration: &Configuration) -> Self {
        let connections = configuration
            .connections
            .iter()
            .map(|c| (c.id.0.clone(), c.settings.name.clone()));
        let targets = configuration
            .targets
            .iter()
            .map(|t| (t.id.0.clone(), t.settings.name.clone()));
        Self(connections.chain(targets).collect())
    }

    fn name<'a>(&'a self, id: Option<&'a String>) -> Option<&'a str> {
        let id = id?;
        let known = self.0.iter().find(|(known, _)| known == id);
        Some(known.map_or(id, |(_, name)| name))
    }
}

fn text(row: &AuditRow, names: &Names) -> String {
    let who = row.user_name.as_deref().or(row.actor.as_deref());
    let target = names.name(row.target_id.as_ref());
    format!(
        "{} {}{} {} {}{} {} [{}]",
        rfc3339(row.at),
        target.map_or_else(String::new, |target| format!("{target} ")),
        who.unwrap_or("-"),
        row.operation,
        row.outcome,
        row.message
            .as_ref()
            .map_or_else(String::new, |message| format!(" ({message})")),
        row.detail,
        row.cause,
    )
}

fn as_json(row: &AuditRow, names: &Names) -> Value {
    json!({
        "id": row.id,
        "at": rfc3339(row.at),
        "actor": row.actor,
        "connection": names.name(row.connection_id.as_ref()),
        "target": names.name(row.target_id.as_ref()),
        "user": row.user_name,
        "user_id": row.user_id,
        "operation": row.operation,
        "detail": serde_json::from_str::<Value>(&row.detail).unwrap_or_default(),
        "outcome": row.outcome,
        "message": row.message,
        "cause": row.cause,
    })
}

fn csv(row: &AuditRow, names: &Names) -> String {
    let at = rfc3339(row.at);
    let cells = [
        Some(at.as_str()),
        row.actor.as_deref(),
        names.name(row.connection_id.as_ref()),
        names.name(row.target_id.as_ref()),
        row.user_name.as_deref(),
        row.user_id.as_deref(),
        Some(row.operation.as_str()),
        Some(row.outcome.as_str()),
        row.message.as_deref(),
        Some(row.cause.as_str()),
        Some(row.detail.as_str()),
        Some(row.id.as_str()),
    ];
    let cells: Vec<String> = cells.map(|cell| quoted(cell.unwrap_or_default())).into();
    cells.join(",")
}

/// A cell as RFC 4180 has it. What a spreadsheet would take for a formula is made text: names come from outside.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if formula { "'" } else { "" };
    if formula || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{mark}{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (cell, wanted) in [
            ("ada", "ada"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("@sum", "\"'@sum\""),
        ] {
            assert_eq!(quoted(cell), wanted);
        }
    }
}
