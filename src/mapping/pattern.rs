//! Patterns over names: a wildcard, or a regular expression between slashes. Case does not matter.
//!
//! In a wildcard `*` stands for any text and `?` for one character, and it is anchored: `svc-*` does
//! not match `my-svc-1`. A regular expression (`/^team-[0-9]+$/`) matches anywhere unless it says
//! otherwise. The products compare names without case, so a pattern that protects must do so too.

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const MAX_SOURCE: usize = 1024;

/// Most memory that one compiled regular expression takes, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<(String, Regex)>);

impl Patterns {
    /// Reads a list; the error says which entry is wrong, and what is wrong with it.
    pub fn compile(patterns: &[String]) -> Result<Self, (usize, String)> {
        patterns
            .iter()
            .enumerate()
            .map(|(index, p)| Ok((p.clone(), compile(p).map_err(|text| (index, text))?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there is no pattern at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first pattern that matches `name`.
    pub fn matching(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, regex)| regex.is_match(name))
            .map(|(pattern, _)| pattern.as_str())
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.trim().is_empty() {
        return Err("a pattern is empty".to_owned());
    }
    let between = pattern
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    if let Some(expression) = between.filter(|e| !e.is_empty()) {
        return regular_expression(expression);
    }
    if pattern.len() > MAX_SOURCE {
        return Err(format!("a wildcard is longer than {MAX_SOURCE} bytes"));
    }
    let mut text = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push('$');
    RegexBuilder::new(&text)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build()
        // The engine's own words show the translated pattern, which says nothing to an administrator.
        .map_err(|_| "a wildcard is too long".to_owned())
}

/// Compiles what an administrator wrote as a regular expression; the error says in words what is wrong.
pub(super) fn regular_expression(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_SOURCE {
        return Err(format!(
            "the regular expression is longer than {MAX_SOURCE} bytes"
        ));
    }
    RegexBuilder::new(text)
        .case_insensitive(true)
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "the regular expression needs too much memory: shorten its repetitions".to_owned()
            }
            // Its last line says what is wrong; those before it draw a picture of where.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                let last = last.trim().trim_start_matches("error: ");
                format!("not a regular expression: {last}")
            }
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Patterns::compile(&[pattern.to_owned()])
            .unwrap()
            .matching(name)
            .is_some()
    }

    /// The definition, in the plainest way.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
            Some(('?', rest)) => !name.is_empty() && naive(rest, &name[1..]),
            Some((c, rest)) => {
                name.first()
                    .is_some_and(|n| n.to_lowercase().eq(c.to_lowercase()))
                    && naive(rest, &name[1..])
            }
        }
    }

    #[test]
    fn patterns_are_anchored_and_ignore_case() {
        assert!(matches("svc-*", "SVC-backup"));
        assert!(matches("svc-*", "svc-"));
        assert!(!matches("svc-*", "my-svc-1"));
        assert!(!matches("admin", "administrator"));
        assert!(matches("ÄRZTE-?", "ärzte-1"));
        assert!(matches("*", ""));
        assert!(!matches("?", ""));
    }

    #[test]
    fn regular_expression_characters_are_plain_text() {
        assert!(matches("a.b+(c)[d]^$|\\", "a.b+(c)[d]^$|\\"));
        assert!(!matches("a.b", "axb"));
    }

    #[test]
    fn a_line_break_does_not_hide_a_name() {
        assert!(matches("admin*", "admin\nx"));
        assert!(!matches("admin", "admin\n"));
    }

    #[test]
    fn an_empty_pattern_is_refused() {
        let (index, _) = Patterns::compile(&["ok".to_owned(), " ".to_owned()]).unwrap_err();
        assert_eq!(index, 1);
    }

    #[test]
    fn between_slashes_stands_a_regular_expression() {
        assert!(matches("/^team-[0-9]+$/", "Team-12"));
        assert!(!matches("/^team-[0-9]+$/", "team-12a"));
        assert!(matches("/eng/", "the engineers"));
        assert!(!matches("/(?-i)eng/", "the ENGINEERS"));
        // Neither a path nor a slash alone is one.
        assert!(matches("/corp/eng", "/corp/eng"));
        assert!(matches("//", "//"));
        assert!(matches("/", "/"));
        let wrong = |text: &str| Patterns::compile(&[text.to_owned()]).unwrap_err().1;
        assert_eq!(wrong("/(a/"), "not a regular expression: unclosed group");
        assert!(wrong("/(a{1000}){1000}/").contains("too much memory"));
        assert!(wrong(&format!("/{}/", "a".repeat(2000))).contains("longer than 1024 bytes"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(pattern in "[aAbÄä.*?+\n]{1,6}", name in "[aAbBäÄ.+\n]{0,7}") {
            prop_assume!(!pattern.trim().is_empty());
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(matches(&pattern, &name), naive(&p, &n));
        }
    }
}
