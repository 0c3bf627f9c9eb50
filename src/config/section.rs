//! Reads the tables of the configuration file key by key and collects every mistake on the way.
//!
//! serde would stop at the first mistake, and repeats wrong values in its messages, of which some may be secrets.

use std::ops::Range;
use std::path::PathBuf;

use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{Position, Problem};
use super::shape::{Shape, Words};
use crate::domain::SecretRef;

/// A value with the byte at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The text of the file, and the mistakes found in it so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(ends).collect(),
            problems: Vec::new(),
        }
    }

    /// Line and column of a byte.
    pub(super) fn position(&self, at: usize) -> Position {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self
            .text
            .get(start..at)
            .map_or(at - start, |text| text.chars().count());
        Position {
            line,
            column: before + 1,
        }
    }

    pub(super) fn problem(
        &mut self,
        at: usize,
        key: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.problems
            .push(Problem::at(self.position(at), key, message));
    }

    /// All mistakes, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        self.problems
    }
}

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section<'a, 't> {
    /// Its place in the file: `mapping.users`; empty for the whole file.
    path: String,
    /// Where it begins.
    pub(super) at: usize,
    table: &'a DeTable<'t>,
}

/// An entry of a list that [`Section::texts_or_tables`] reads.
#[derive(Debug)]
pub(super) enum TextOrTable<'a, 't> {
    Text(String),
    Table(Section<'a, 't>),
}

impl<'a, 't> Section<'a, 't> {
    /// Opens a table and refuses the keys that it should not have.
    pub(super) fn open(
        reader: &mut Reader<'_>,
        path: String,
        at: usize,
        table: &'a DeTable<'t>,
        shape: &Shape,
    ) -> Self {
        let section = Self { path, at, table };
        for key in table.keys() {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            if shape.keys.contains(&name) {
                continue;
            }
            let message = unknown("key", name, shape.keys.iter().copied());
            reader.problem(at, section.path_of(name), message);
        }
        section
    }

    /// The full name of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            shown(key)
        } else {
            format!("{}.{}", self.path, shown(key))
        }
    }

    /// Where the value of `key` begins; where the table begins if there is none.
    pub(super) fn place_of(&self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.at, |value| value.span().start)
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, usize)> {
        self.table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), value.span().start))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says that a key is missing.
    pub(super) fn missing(&self, reader: &mut Reader<'_>, key: &str, example: &str) {
        reader.problem(
            self.at,
            self.path_of(key),
            format!("`{key}` is missing, as in {example}"),
        );
    }

    fn get(&self, key: &str) -> Option<(&'a DeValue<'t>, usize)> {
        self.table
            .get(key)
            .map(|value| (value.get_ref(), value.span().start))
    }

    fn wrong_type(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        at: usize,
        want: &str,
        is: &DeValue<'_>,
    ) {
        reader.problem(
            at,
            self.path_of(key),
            format!("`{key}` should be {want}, not {}", kind(is)),
        );
    }

    /// Text, of whatever characters. `None`: there is none, or the mistake has been noted.
    pub(super) fn any_text(&self, reader: &mut Reader<'_>, key: &str) -> Option<String> {
        let (value, at) = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(reader, key, at, "text in quotes", value);
        }
        text.map(str::to_owned)
    }

    /// Text that is not empty. `None`: there is none, or the mistake has been noted.
    pub(super) fn text(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<String>> {
        let at = self.place_of(key);
        let text = self.any_text(reader, key)?;
        if text.trim().is_empty() {
            reader.problem(
                at,
                self.path_of(key),
                format!("`{key}` is empty; leave the key out"),
            );
            return None;
        }
        Some(At { value: text, at })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, reader: &mut Reader<'_>, key: &str) -> Option<bool> {
        let (value, at) = self.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong_type(reader, key, at, "true or false", value);
        }
        flag
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        range: Range<u32>,
    ) -> Option<u32> {
        let (value, at) = self.get(key)?;
        let Some(number) = value.as_integer() else {
            self.wrong_type(reader, key, at, "a whole number", value);
            return None;
        };
        let number = whole(number).filter(|n| range.contains(n));
        if number.is_none() {
            let (least, most) = (range.start, range.end - 1);
            reader.problem(
                at,
                self.path_of(key),
                format!("`{key}` should be {least} to {most}"),
            );
        }
        number
    }

    /// A day such as `"2027-03-01"`, in quotes or not.
    pub(super) fn date(&self, reader: &mut Reader<'_>, key: &str) -> Option<Date> {
        let (value, at) = self.get(key)?;
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            other => {
                self.wrong_type(reader, key, at, "a date, as in \"2027-03-01\"", other);
                return None;
            }
        };
        let date = date_of(&text);
        if date.is_none() {
            let message = format!("`{key}` should be a day that exists, as in \"2027-03-01\"");
            reader.problem(at, self.path_of(key), message);
        }
        date
    }

    /// A span of time such as `20s`, in seconds, within `range`.
    pub(super) fn seconds(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        range: Range<u64>,
    ) -> Option<u64> {
        let (value, at) = self.get(key)?;
        let Some(text) = value.as_str() else {
            self.wrong_type(
                reader,
                key,
                at,
                "a span of time in quotes, as in \"20s\"",
                value,
            );
            return None;
        };
        let message = match span_of_time(text) {
            Some(seconds) if range.contains(&seconds) => return Some(seconds),
            Some(_) => format!(
                "`{key}` should be {} to {}",
                span_text(range.start),
                span_text(range.end - 1)
            ),
            None => format!("`{key}` should be a number with s, m, h or d, as in \"20s\""),
        };
        reader.problem(at, self.path_of(key), message);
        None
    }

    /// A part of a whole, from 0 to 1, in ten-thousandths.
    pub(super) fn share(&self, reader: &mut Reader<'_>, key: &str) -> Option<u32> {
        let (value, at) = self.get(key)?;
        let share = match value {
            DeValue::Float(number) => ten_thousandths(number.as_str()),
            DeValue::Integer(number) => whole(number).and_then(|n| n.checked_mul(10_000)),
            _ => {
                self.wrong_type(reader, key, at, "a part of 1, as in 0.10", value);
                return None;
            }
        };
        let share = share.filter(|share| *share <= 10_000);
        if share.is_none() {
            let message = format!("`{key}` should be 0 to 1, as in 0.10 for a tenth");
            reader.problem(at, self.path_of(key), message);
        }
        share
    }

    /// Whether the value of `key` is this text.
    pub(super) fn text_is(&self, key: &str, text: &str) -> bool {
        self.get(key)
            .is_some_and(|(value, _)| value.as_str() == Some(text))
    }

    /// Whether the value of `key` is text.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.get(key).is_some_and(|(value, _)| value.is_str())
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        words: Words<T>,
    ) -> Option<T> {
        let word = self.text(reader, key)?;
        self.word_at(reader, key, &word.value, word.at, words)
    }

    /// A list of some words; those that come twice are dropped.
    pub(super) fn words<T: Copy + PartialEq>(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        words: Words<T>,
    ) -> Option<Vec<T>> {
        let mut list = Vec::new();
        for entry in self.texts(reader, key)? {
            if let Some(value) = self.word_at(reader, key, &entry.value, entry.at, words)
                && !list.contains(&value)
            {
                list.push(value);
            }
        }
        Some(list)
    }

    /// The places of the entries of a list.
    pub(super) fn entries(&self, key: &str) -> Vec<usize> {
        let list = self.get(key).and_then(|(value, _)| value.as_array());
        list.into_iter()
            .flat_map(|list| list.iter().map(|entry| entry.span().start))
            .collect()
    }

    /// A list of which each entry is text, or a table where text does not say enough.
    pub(super) fn texts_or_tables(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        shape: &Shape,
    ) -> Option<Vec<TextOrTable<'a, 't>>> {
        let (value, at) = self.get(key)?;
        let Some(array) = value.as_array() else {
            let want = "a list in brackets, as in [\"…\", { … }]";
            self.wrong_type(reader, key, at, want, value);
            return None;
        };
        let mut list = Vec::new();
        for entry in array.iter() {
            let (value, at) = (entry.get_ref(), entry.span().start);
            match value {
                DeValue::String(text) if !text.trim().is_empty() => {
                    list.push(TextOrTable::Text(text.trim().to_owned()));
                }
                DeValue::String(_) => {
                    let message = format!("an entry of `{key}` is empty; leave it out");
                    reader.problem(at, self.path_of(key), message);
                }
                DeValue::Table(table) => list.push(TextOrTable::Table(Self::open(
                    reader,
                    self.path_of(key),
                    at,
                    table,
                    shape,
                ))),
                other => {
                    let message = format!(
                        "the entries of `{key}` should be text in quotes or tables in braces, not {}",
                        kind(other)
                    );
                    reader.problem(at, self.path_of(key), message);
                }
            }
        }
        Some(list)
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&self, reader: &mut Reader<'_>, key: &str) -> Option<Vec<At<String>>> {
        let (value, at) = self.get(key)?;
        let Some(array) = value.as_array() else {
            self.wrong_type(
                reader,
                key,
                at,
                "a list in brackets, as in [\"…\", \"…\"]",
                value,
            );
            return None;
        };
        let mut list = Vec::new();
        for entry in array.iter() {
            let (value, at) = (entry.get_ref(), entry.span().start);
            match value.as_str() {
                Some(text) if !text.trim().is_empty() => {
                    list.push(At {
                        value: text.to_owned(),
                        at,
                    });
                }
                Some(_) => {
                    let message = format!("an entry of `{key}` is empty; leave it out");
                    reader.problem(at, self.path_of(key), message);
                }
                None => {
                    let message = format!(
                        "the entries of `{key}` should be text in quotes, not {}",
                        kind(value)
                    );
                    reader.problem(at, self.path_of(key), message);
                }
            }
        }
        Some(list)
    }

    /// Where a secret is found. Nothing of a wrong value is repeated: it may be the secret.
    pub(super) fn secret(&self, reader: &mut Reader<'_>, key: &str) -> Option<SecretRef> {
        let (value, at) = self.get(key)?;
        let how = format!(
            "use {key} = {{ env = \"NAME_OF_A_VARIABLE\" }} or {key} = {{ file = \"/path/to/it\" }}"
        );
        let message = match value {
            DeValue::Table(table) => match secret_of(table) {
                Ok(secret) => return Some(secret),
                Err(message) => format!("{message}; {how}"),
            },
            DeValue::String(_) => format!("a secret is never written into this file; {how}"),
            other => format!(
                "`{key}` should say where the secret is, and is {}; {how}",
                kind(other)
            ),
        };
        reader.problem(at, self.path_of(key), message);
        None
    }

    /// A table below this one.
    pub(super) fn table(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        shape: &Shape,
    ) -> Option<Section<'a, 't>> {
        let (value, at) = self.get(key)?;
        let path = self.path_of(key);
        let DeValue::Table(table) = value else {
            self.wrong_type(
                reader,
                key,
                at,
                &format!("a table that begins with [{path}]"),
                value,
            );
            return None;
        };
        Some(Section::open(reader, path, at, table, shape))
    }

    /// The tables of a list below this one.
    pub(super) fn tables(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        shape: &Shape,
    ) -> Vec<Section<'a, 't>> {
        let Some((value, at)) = self.get(key) else {
            return Vec::new();
        };
        let path = self.path_of(key);
        let want = format!("a list of tables, each beginning with [[{path}]]");
        let DeValue::Array(array) = value else {
            self.wrong_type(reader, key, at, &want, value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in array.iter() {
            let at = Spanned::span(entry).start;
            match entry.get_ref() {
                DeValue::Table(table) => {
                    tables.push(Section::open(reader, path.clone(), at, table, shape));
                }
                other => self.wrong_type(reader, key, at, &want, other),
            }
        }
        tables
    }

    fn word_at<T: Copy>(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        word: &str,
        at: usize,
        words: Words<T>,
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == word) {
            return Some(*value);
        }
        let known = words.iter().map(|(w, _)| *w);
        let all = known.clone().collect::<Vec<_>>().join(", ");
        let message = match nearest(word, known) {
            Some(right) => {
                format!(
                    "unknown {key} `{}`; did you mean `{right}`? ({all})",
                    shown(word)
                )
            }
            None => format!("unknown {key} `{}`; there are {all}", shown(word)),
        };
        reader.problem(at, self.path_of(key), message);
        None
    }
}

/// The candidate that a word was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = 1 + word.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A name for a message: on one line and of bounded length.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 40;
    let mut text: String = name
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

fn unknown<'a>(
    what: &str,
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(right) => format!("unknown {what} `{}`; did you mean `{right}`?", shown(word)),
        None => {
            let all = candidates.collect::<Vec<_>>().join(", ");
            format!("unknown {what} `{}`; there are {all}", shown(word))
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn whole(number: &DeInteger<'_>) -> Option<u32> {
    u32::from_str_radix(number.as_str(), number.radix()).ok()
}

/// `0.10` is 1,000; smaller parts than one in ten thousand are none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within 0 and 10,000"
)]
fn ten_thousandths(text: &str) -> Option<u32> {
    let share: f64 = text.replace('_', "").parse().ok()?;
    (0.0..=1.0)
        .contains(&share)
        .then(|| (share * 10_000.0).round() as u32)
}

/// Seconds of a span of time such as `30m`.
pub fn span_of_time(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Year, month and day alone: jiff would also take a time and throw it away.
fn date_of(text: &str) -> Option<Date> {
    let text = text.trim();
    (text.len() == "2027-03-01".len()).then(|| text.parse().ok())?
}

/// A span of time as the file writes it.
pub fn span_text(seconds: u64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

fn secret_of(table: &DeTable<'_>) -> Result<SecretRef, &'static str> {
    let mut entries = table.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err("a secret has exactly one key, `env`, `file` or `stored`");
    };
    let text = value
        .get_ref()
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    match (key.get_ref().as_ref(), text) {
        ("env", Some(name)) if is_variable(name) => Ok(SecretRef::Env(name.to_owned())),
        ("env", _) => Err("`env` should be the name of an environment variable"),
        ("file", Some(path)) if !path.contains(char::is_control) => {
            Ok(SecretRef::File(PathBuf::from(path)))
        }
        ("file", _) => Err("`file` should be the path of a file"),
        ("stored", Some(name))
            if name.chars().count() <= 200 && !name.contains(char::is_control) =>
        {
            Ok(SecretRef::Stored(name.to_owned().into()))
        }
        ("stored", _) => Err("`stored` should be the name of a secret that Usher keeps"),
        _ => Err("the one key of a secret is `env`, `file` or `stored`"),
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let reader = Reader::new("äb\r\ncd\n");
        let at = |byte| {
            let Position { line, column } = reader.position(byte);
            (line, column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(2), (1, 2));
        assert_eq!(at(5), (2, 1));
        assert_eq!(at(6), (2, 2));
        assert_eq!(at(8), (3, 1));
        assert_eq!(at(99), (3, 1));
        // Within a character: counted in bytes rather than not at all.
        assert_eq!(at(1), (1, 2));
    }

    #[test]
    fn spans_of_time() {
        assert_eq!(span_of_time("20s"), Some(20));
        assert_eq!(span_of_time("2m"), Some(120));
        assert_eq!(span_of_time("1h"), Some(3600));
        assert_eq!(span_of_time("30d"), Some(30 * 86_400));
        for text in ["20s", "2m", "1h", "30d", "0s", "90s"] {
            assert_eq!(span_text(span_of_time(text).unwrap()), text);
        }
        for wrong in [
            "",
            "s",
            "20",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1w",
            "99999999999999999999s",
            "9é",
        ] {
            assert_eq!(span_of_time(wrong), None, "{wrong}");
        }
        assert_eq!(span_of_time("18446744073709551615h"), None);
    }

    #[test]
    fn dates_are_days_that_exist() {
        assert_eq!(
            date_of(" 2028-02-29 "),
            Some(jiff::civil::date(2028, 2, 29))
        );
        for wrong in [
            "2027-02-29",
            "2027-3-1",
            "01.03.2027",
            "20270301",
            "2027-03-01T00:00:00",
            "",
            "soon",
        ] {
            assert_eq!(date_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares() {
        for (text, share) in [
            ("0.10", Some(1_000)),
            ("1e-1", Some(1_000)),
            ("0.0025", Some(25)),
            ("1.0", Some(10_000)),
            ("0.0", Some(0)),
            ("1.01", None),
            ("-0.1", None),
            ("nan", None),
            ("inf", None),
        ] {
            assert_eq!(ten_thousandths(text), share, "{text}");
        }
    }

    #[test]
    fn names_in_messages_are_short_and_on_one_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 41);
    }
}
