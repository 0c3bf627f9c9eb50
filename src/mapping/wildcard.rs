//! Wildcards over names: `*` stands for any text, `?` for one character, case does not matter.
//!
//! They are anchored: `svc-*` does not match `my-svc-1`. The products compare names without case,
//! so a pattern that protects must do so too.

use regex::{Regex, RegexBuilder};

/// A list of wildcards.
#[derive(Debug, Clone, Default)]
pub(super) struct Wildcards(Vec<(String, Regex)>);

impl Wildcards {
    /// Reads a list; the error says which entry is wrong.
    pub(super) fn compile(patterns: &[String]) -> Result<Self, String> {
        patterns
            .iter()
            .map(|p| Ok((p.clone(), compile(p)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there is no pattern at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first pattern that matches `name`.
    pub(super) fn matching(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, regex)| regex.is_match(name))
            .map(|(pattern, _)| pattern.as_str())
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.trim().is_empty() {
        return Err("a wildcard is empty".to_owned());
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Wildcards::compile(&[pattern.to_owned()])
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
        assert!(Wildcards::compile(&["ok".to_owned(), " ".to_owned()]).is_err());
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
