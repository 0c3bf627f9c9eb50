//! What the spectator sees: one line for each thing that happens at either end, in the order in which it
//! happened, with the time between cause and effect.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Width of the middle column.
const WIDTH: usize = 66;
/// Width of the first column: `Confluence ←`.
const SIDE: usize = 12;
/// In this order they are shown.
const PRODUCTS: [&str; 5] = [JIRA, CONFLUENCE, BITBUCKET, CROWD, GUARD];
/// Where products put new accounts by themselves.
const DEFAULT_GROUPS: [&str; 3] = [
    " added to jira-software-users",
    " added to confluence-users",
    " added to stash-users",
];

pub(crate) const JIRA: &str = "Jira";
pub(crate) const CONFLUENCE: &str = "Confluence";
pub(crate) const BITBUCKET: &str = "Bitbucket";
pub(crate) const CROWD: &str = "Crowd";
pub(crate) const GUARD: &str = "Guard";
/// Where sentences are broken.
const LONGEST: usize = 96;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";

/// The terminal. Shared by the story and by what the emulators tell from their own threads.
pub(crate) struct Screen {
    colour: bool,
    fast: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// SCIM ids, and the names that are shown instead of them.
    names: Vec<(String, String)>,
    /// When the push was sent that what now happens follows from.
    sent_at: Option<Instant>,
    /// A push is not answered yet: what happens in the products meanwhile is shown after it.
    pushing: bool,
    early: Vec<(&'static str, String, Instant)>,
    /// Lines are counted instead of shown.
    gathered: Option<Gathered>,
}

#[derive(Default)]
struct Gathered {
    pushes: Vec<(String, usize)>,
    /// With the product in front.
    changes: Vec<(String, usize)>,
    last_change: Option<Duration>,
}

impl Screen {
    pub(crate) fn new(fast: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
            fast,
            state: Mutex::default(),
        }
    }

    // The narrator

    /// A line as it is.
    pub(crate) fn line(&self, text: &str) {
        self.print(text, "");
    }

    /// The heading of a chapter.
    pub(crate) fn chapter(&self, text: &str) {
        self.print("", "");
        self.print(text, BOLD);
    }

    /// What is about to happen, or why.
    pub(crate) fn say(&self, text: &str) {
        for line in wrapped(text, LONGEST) {
            self.print(&format!("  {line}"), "");
        }
    }

    /// A command of the administrator and what it answered.
    pub(crate) fn command(&self, command: &str, answer: &str) {
        self.print(&format!("  $ {command}"), YELLOW);
        for line in answer.lines() {
            let text = line.trim_start();
            let indent = " ".repeat(4 + line.len() - text.len());
            // A table is not broken.
            let width = if text.matches("   ").count() > 3 {
                usize::MAX
            } else {
                LONGEST
            };
            for (index, part) in wrapped(text, width).iter().enumerate() {
                let deeper = if index == 0 { "" } else { "        " };
                self.print(&format!("{indent}{deeper}{part}"), DIM);
            }
        }
    }

    /// Something that was checked.
    pub(crate) fn claim(&self, held: bool, text: &str) {
        if held {
            self.print(&format!("  ✓ {text}"), GREEN);
        } else {
            self.print(&format!("  ✗ {text}"), RED);
        }
    }

    /// Why it cannot go on.
    pub(crate) fn failure(&self, text: &str) {
        self.print("", "");
        self.print(&format!("The demo failed: {text}"), RED);
    }

    /// Names and values in two columns.
    pub(crate) fn table(&self, rows: &[(&str, String)]) {
        let width = rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
        for (name, value) in rows {
            self.print(&format!("    {}  {value}", padded(name, width)), "");
        }
    }

    /// Time to read.
    pub(crate) async fn pause(&self, ms: u64) {
        if !self.fast {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    // The two ends

    /// From now on this name is shown instead of that id.
    pub(crate) fn name(&self, id: &str, name: &str) {
        let mut state = self.state();
        state.names.retain(|(known, _)| known != id);
        state.names.push((id.to_owned(), format!("‹{name}›")));
    }

    /// A push is being sent.
    pub(crate) fn push_begins(&self) {
        let mut state = self.state();
        state.pushing = true;
        // Of many the first one counts.
        if state.gathered.is_none() {
            state.sent_at = Some(Instant::now());
        }
    }

    /// It was answered, and its lines were shown.
    pub(crate) fn push_ends(&self) {
        let mut state = self.state();
        state.pushing = false;
        for (product, text, at) in std::mem::take(&mut state.early) {
            self.change(&mut state, product, &text, at);
        }
    }

    /// One request of the IDCS emulator, in its words: `IDCS POST /Users ada -> 201 (5 ms)`.
    pub(crate) fn pushed(&self, told: &str) {
        let mut state = self.state();
        let mut text = told.strip_prefix("IDCS ").unwrap_or(told).to_owned();
        for (id, name) in &state.names {
            if text.contains(id) {
                text = text.replace(id, name);
            }
        }
        let (request, outcome) = text.rsplit_once(" -> ").unwrap_or((&text, ""));
        if let Some(gathered) = &mut state.gathered {
            let mut parts = request.split(['/', ' ', '?']).filter(|it| !it.is_empty());
            let method = parts.next().unwrap_or_default();
            let kind = parts.next().unwrap_or_default();
            let status = outcome.split(' ').next().unwrap_or_default();
            let status = if status == "no" { "no answer" } else { status };
            count(&mut gathered.pushes, &format!("{method} /{kind}: {status}"));
            return;
        }
        let outcome = match outcome.split_once(" (") {
            Some((status, took)) => format!("{status} in {}", took.trim_end_matches(')')),
            None => outcome.to_owned(),
        };
        let request = request.replacen(' ', "  ", 1);
        self.row("IDCS →", BLUE, &request, &outcome);
    }

    /// One change in an emulated product, in its words.
    pub(crate) fn changed(&self, product: &'static str, told: &str) {
        let at = Instant::now();
        let mut state = self.state();
        if state.pushing && state.gathered.is_none() {
            state.early.push((product, told.to_owned(), at));
        } else {
            self.change(&mut state, product, told, at);
        }
    }

    /// Nothing is pushed any more: what happens from now on follows from no push of the story.
    pub(crate) fn open_end(&self) {
        self.state().sent_at = None;
    }

    /// From now on lines are counted.
    pub(crate) fn gather(&self) {
        let mut state = self.state();
        state.sent_at = Some(Instant::now());
        state.gathered = Some(Gathered::default());
    }

    /// Shows the counts, and lines again from now on.
    pub(crate) fn gathered(&self) {
        let mut state = self.state();
        let Some(gathered) = state.gathered.take() else {
            return;
        };
        for (what, times) in &gathered.pushes {
            let (request, status) = what.split_once(": ").unwrap_or((what, ""));
            self.row("IDCS →", BLUE, &format!("{times} × {request}"), status);
        }
        let mut changes = gathered.changes;
        changes.sort_by_key(|(what, _)| PRODUCTS.iter().position(|it| what.starts_with(it)));
        let last = changes.len().saturating_sub(1);
        for (index, (what, times)) in changes.iter().enumerate() {
            let (product, what) = what.split_once(": ").unwrap_or(("", what));
            let after = gathered.last_change.filter(|_| index == last);
            let after = after.map_or_else(String::new, |it| format!("all within {}", shown(it)));
            self.row(
                &format!("{product} ←"),
                YELLOW,
                &format!("{times} × {what}"),
                &after,
            );
        }
    }

    /// Lines again from now on, and what was counted is forgotten.
    pub(crate) fn forget_gathered(&self) {
        self.state().gathered = None;
    }

    fn change(&self, state: &mut State, product: &str, told: &str, at: Instant) {
        let after = state.sent_at.map(|sent_at| at - sent_at);
        if let Some(gathered) = &mut state.gathered {
            count(
                &mut gathered.changes,
                &format!("{product}: {}", kind_of(told)),
            );
            gathered.last_change = after.or(gathered.last_change);
            return;
        }
        let text = if is_default_group(told) {
            format!("{told} ({product}'s default)")
        } else {
            told.to_owned()
        };
        let after = after.map_or_else(String::new, |it| format!("after {}", shown(it)));
        self.row(&format!("{product} ←"), YELLOW, &text, &after);
    }

    fn row(&self, side: &str, colour: &str, text: &str, right: &str) {
        let side = &padded(side, SIDE);
        let (side, right) = (self.painted(side, colour), self.painted(right, DIM));
        self.print(&format!("    {side}  {}  {right}", padded(text, WIDTH)), "");
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        if self.colour && !colour.is_empty() && !text.is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn print(&self, text: &str, colour: &str) {
        let text = self.painted(text.trim_end(), colour);
        // A closed pipe (`cargo demo | head`) is no reason to panic.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time as people say it.
pub(crate) fn shown(time: Duration) -> String {
    match time.as_millis() {
        ms @ ..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// Whether somebody was put where the product puts everybody.
fn is_default_group(told: &str) -> bool {
    DEFAULT_GROUPS.iter().any(|group| told.ends_with(group))
}

/// What a change is, without whom it is about.
fn kind_of(told: &str) -> &'static str {
    let kinds = [
        (" created (", "account created"),
        (" added to ", "added to a group"),
        (" removed from ", "removed from a group"),
        (" renamed to ", "account renamed"),
        (": display name is now ", "display name changed"),
        (": full name is now ", "display name changed"),
        (": e-mail is now ", "e-mail changed"),
        (" deactivated", "account deactivated"),
        (" reactivated", "account reactivated"),
        (": the lead is now ", "lead changed"),
        (" has another password", "first password replaced"),
    ];
    if is_default_group(told) {
        return "added to its default group";
    }
    let known = kinds.iter().find(|(part, _)| told.contains(part));
    match known {
        Some((_, kind)) => kind,
        None if told.starts_with("group ") && told.ends_with(" created") => "group created",
        None => "other change",
    }
}

fn count(counts: &mut Vec<(String, usize)>, what: &str) {
    match counts.iter_mut().find(|(known, _)| known == what) {
        Some((_, times)) => *times += 1,
        None => counts.push((what.to_owned(), 1)),
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(length(text));
    format!("{text}{}", " ".repeat(missing))
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
