//! Expressions: MiniJinja over the SCIM user, checked as far as possible when they are saved.
//!
//! At run time a missing attribute is empty, so that `displayName or name.formatted` works for
//! everyone. The price would be that a misspelt attribute is empty for everyone too, so names,
//! filters and methods are checked against lists when the expression is compiled, and the
//! expression is tried on made-up users.

use std::sync::LazyLock;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::context::{self, NAMES, Parts};
use super::filters;

/// Longest result, in characters: what the products' columns hold.
pub(super) const MAX_LENGTH: usize = 255;

/// Longest expression, in bytes.
const MAX_SOURCE: usize = 4096;

/// What one evaluation may cost. An ordinary expression takes less than 100; one that goes through
/// the groups of someone in thousands of them must still come through.
const FUEL: u64 = 100_000;

/// Filters worth suggesting; the environment itself decides what exists.
const FILTERS: &[&str] = &[
    "lower",
    "upper",
    "title",
    "capitalize",
    "trim",
    "replace",
    "split",
    "before",
    "after",
    "remove_prefix",
    "remove_suffix",
    "ascii",
    "join",
    "first",
    "last",
    "default",
    "length",
    "map",
    "select",
    "selectattr",
    "reject",
    "rejectattr",
    "sort",
    "unique",
    "string",
    "int",
];

const TESTS: &[&str] = &[
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "boolean",
    "sequence",
    "mapping",
    "true",
    "false",
    "startingwith",
    "endingwith",
    "lower",
    "upper",
    "in",
    "eq",
    "ne",
];

/// Built once and for all: it holds filters and limits, nothing of any mapping.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    // Functions are of no use for a name, and `debug` would print the whole user.
    for function in ["range", "dict", "debug", "namespace"] {
        environment.remove_global(function);
    }
    filters::add_to(&mut environment);
    environment
});

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    source: String,
    compiled: minijinja::Expression<'static, 'static>,
}

impl Expression {
    /// Compiles and checks; the error says in words what is wrong.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.trim().is_empty() {
            return Err("the expression is empty".to_owned());
        }
        if source.len() > MAX_SOURCE {
            return Err(format!("the expression is longer than {MAX_SOURCE} bytes"));
        }
        let compiled = ENVIRONMENT
            .compile_expression_owned(source.to_owned())
            .map_err(|error| in_words(&error))?;
        check_words(source)?;
        // Sorted, so that the same mistake is always told the same way.
        let mut names: Vec<_> = compiled.undeclared_variables(true).into_iter().collect();
        names.sort();
        names.iter().try_for_each(|name| check_name(name))?;
        let expression = Self {
            source: source.to_owned(),
            compiled,
        };
        expression
            .eval(&context::sample())
            .map_err(|text| format!("on a sample user: {text}"))?;
        // Goes through the other side of every `or`. What fails for want of data is no mistake.
        if let Err(error) = expression.compiled.eval(context::bare_sample())
            && is_mistake(error.kind())
        {
            return Err(in_words(&error));
        }
        Ok(expression)
    }

    /// As the administrator wrote it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The text for one user, trimmed; empty if there is nothing.
    pub(super) fn eval(&self, variables: &Value) -> Result<String, String> {
        let value = self
            .compiled
            .eval(variables.clone())
            .map_err(|error| in_words(&error))?;
        let text = text(&value)?;
        let text = text.trim();
        if text.chars().nth(MAX_LENGTH).is_some() {
            return Err(format!("the result is longer than {MAX_LENGTH} characters"));
        }
        Ok(text.to_owned())
    }
}

/// The candidate that a word was probably meant to be.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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

/// Says that there is no such word, and which one was probably meant.
pub(super) fn unknown<'a>(
    what: &str,
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(right) => format!("there is no {what} `{word}`; did you mean `{right}`?"),
        None => {
            let all = candidates.collect::<Vec<_>>().join(", ");
            format!("there is no {what} `{word}`; there are {all}")
        }
    }
}

/// Checks a dotted name such as `name.formatted`.
fn check_name(dotted: &str) -> Result<(), String> {
    let mut parts = dotted.split('.');
    let top = parts.next().unwrap_or_default();
    let Some((_, below)) = NAMES.iter().find(|(name, _)| *name == top) else {
        return Err(unknown(
            "attribute",
            top,
            NAMES.iter().map(|(name, _)| *name),
        ));
    };
    let Some(part) = parts.next() else {
        return Ok(());
    };
    match below {
        Parts::These(known) if !known.contains(&part) => Err(unknown(
            &format!("part of `{top}` called"),
            part,
            known.iter().copied(),
        )),
        Parts::None => Err(format!(
            "`{top}` has no parts, so there is no `{top}.{part}`"
        )),
        Parts::List => Err(format!(
            "`{top}` is a list, so there is no `{top}.{part}`; take one entry: `{top}[0].{part}`"
        )),
        Parts::These(_) | Parts::Any => Ok(()),
    }
}

/// Finds filters, tests and methods by their place in the text, also on paths that no sample
/// takes: MiniJinja looks them up only when it gets there.
fn check_words(source: &str) -> Result<(), String> {
    let words = tokens(source);
    for (i, word) in words.iter().enumerate() {
        let next = words.get(i + 1).copied().unwrap_or_default();
        let after = words.get(i + 2).copied().unwrap_or_default();
        match *word {
            "|" if is_word(next) && !exists(next, "filter") => {
                return Err(unknown("filter", next, FILTERS.iter().copied()));
            }
            "is" => {
                let test = if next == "not" { after } else { next };
                if is_word(test)
                    && !matches!(test, "none" | "true" | "false")
                    && !exists(test, "test")
                {
                    return Err(unknown("test", test, TESTS.iter().copied()));
                }
            }
            "." if is_word(next) && after == "(" => {
                return Err(format!(
                    "there is no method `.{next}()`; use a filter, as in `userName | split(\"@\") | first`"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Words and signs of an expression, without its quoted texts.
fn tokens(source: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' || c == '\'' {
            quoted_length(rest, c)
        } else if c.is_alphabetic() || c == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else {
            c.len_utf8()
        };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        if c != '"' && c != '\'' && !c.is_whitespace() {
            tokens.push(token);
        }
    }
    tokens
}

/// The length of the quoted text at the beginning, quotes included.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether the environment has such a filter or test.
fn exists(word: &str, kind: &'static str) -> bool {
    let question = if kind == "filter" {
        "word is filter"
    } else {
        "word is test"
    };
    ENVIRONMENT
        .compile_expression(question)
        .and_then(|question| question.eval(Value::from_pairs([("word", word)])))
        // In doubt the trial on the samples decides.
        .map_or(true, |answer| answer.is_true())
}

fn is_mistake(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
            | ErrorKind::OutOfFuel
    )
}

fn text(value: &Value) -> Result<String, String> {
    let found = match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(String::new()),
        ValueKind::String | ValueKind::Number => return Ok(value.to_string()),
        ValueKind::Bool => "true or false",
        ValueKind::Seq | ValueKind::Iterable => "a list (take one entry with `| first`)",
        ValueKind::Map => "several attributes (name one of them)",
        _ => "something else",
    };
    Err(format!("the result is {found}, not text"))
}

/// MiniJinja's words without the place, which is the same for every expression.
fn in_words(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "the expression does not come to an end in time".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}
