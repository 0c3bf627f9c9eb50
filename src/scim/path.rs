//! The path of a PATCH operation (RFC 7644 section 3.5.2):
//! `attrPath / attrPath "[" filter "]" ["." subAttr]`, or the URN of a whole extension.

use std::fmt;

use nom::Parser;

use super::Error;
use super::filter::{AttrPath, Filter, attr_path, bracketed};

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPath {
    /// The attribute; its `sub` is empty if there is a filter.
    pub attr: AttrPath,
    /// Which elements.
    pub filter: Option<Filter>,
    /// The sub-attribute after the filter.
    pub sub: Option<String>,
}

impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.attr)?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

/// The longest path, in bytes.
const MAX_LENGTH: usize = 2048;

/// Reads a path.
pub fn parse(text: &str) -> Result<PatchPath, Error> {
    let wrong = || Error::invalid_path(format!("{text:?} is no path of an attribute"));
    if text.len() > MAX_LENGTH {
        return Err(Error::invalid_path(format!(
            "the path is longer than {MAX_LENGTH} bytes"
        )));
    }
    let (rest, attr) = attr_path.parse(text.trim()).map_err(|_| wrong())?;
    if rest.is_empty() {
        return Ok(PatchPath {
            attr,
            filter: None,
            sub: None,
        });
    }
    if attr.sub.is_some() {
        return Err(wrong());
    }
    let (rest, filter) = bracketed(rest).map_err(|e| match e {
        nom::Err::Error(t) | nom::Err::Failure(t) => {
            Error::invalid_path(format!("{text:?}: expected {}", t.expected))
        }
        nom::Err::Incomplete(_) => wrong(),
    })?;
    let sub = match rest.strip_prefix('.') {
        None if rest.is_empty() => None,
        Some(sub)
            if sub
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
                && !sub.is_empty() =>
        {
            Some(sub.to_owned())
        }
        _ => return Err(wrong()),
    };
    Ok(PatchPath {
        attr,
        filter: Some(filter),
        sub,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scim::filter::filters;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for text in [
            "members",
            "name.familyName",
            "addresses[type eq \"work\"]",
            "members[value eq \"2819c223-7f76-453a-919d-413861904646\"]",
            "members[value eq \"2819c223-7f76-453a-919d-413861904646\"].displayName",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "a b",
            "a[",
            "a[b pr",
            "a[b pr]x",
            "a.b[c pr]",
            "a.b.c",
            "1a",
            "a[b pr].",
            "[a pr]",
        ] {
            assert_eq!(
                parse(text).unwrap_err().scim_type(),
                Some("invalidPath"),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(filter in filters(), sub in prop::option::of("[a-z]{1,6}")) {
            let path = PatchPath {
                attr: AttrPath { urn: None, name: "emails".to_owned(), sub: None },
                filter: Some(filter),
                sub,
            };
            match parse(&path.to_string()) {
                Ok(parsed) => prop_assert_eq!(parsed, path),
                // A filter with a value path of its own, or too large a one, is no path.
                Err(e) => prop_assert_eq!(e.scim_type(), Some("invalidPath")),
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
