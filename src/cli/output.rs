//! The only place that prints.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

/// A line of the answer.
pub(super) fn line(text: &str) {
    // A closed pipe (`usher status | head`) is no reason to panic.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Something to know that is no part of the answer.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The answer as JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A part of the answer as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// The answer as a table.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(header.iter().copied())
        .add_rows(rows);
    for row in table.to_string().lines() {
        line(row.trim_end());
    }
}

/// A script that completes commands in a shell.
pub(super) fn completions(shell: clap_complete::Shell, command: &mut clap::Command) {
    clap_complete::generate(shell, command, "usher", &mut std::io::stdout());
}

/// Why a command failed, with what led to it.
pub(super) fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "usher: {error:#}");
}
