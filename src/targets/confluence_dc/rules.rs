//! What Confluence takes for an account, checked before anything is sent: its own words do not say what an
//! administrator can do about it, and the rules of the mapping are where most of it is mended.

use crate::domain::Failure;

/// Refused in user names, besides white space.
const NOT_IN_USERNAMES: [char; 7] = ['\\', ',', '+', '<', '>', '\'', '"'];

/// Refused in full names.
pub(super) const NOT_IN_FULL_NAMES: &str = "<>";

/// Refused as user name and as full name.
const RESERVED: &str = "anonymous";

/// Whether an account of that name can be made.
pub(super) fn username(name: &str) -> Result<(), Failure> {
    let refused = |why: String| refused("username", why);
    if name.trim().is_empty() {
        return refused("the user name is empty: see the mapping's `username`".to_owned());
    }
    if name.contains(char::is_whitespace) {
        return refused(format!(
            "Confluence takes no white space in user names, as in {name:?}: the mapping's `username` can be \
             `userName | lower | replace(\" \", \".\")`"
        ));
    }
    if let Some(character) = name.chars().find(|c| NOT_IN_USERNAMES.contains(c)) {
        return refused(format!(
            "Confluence takes no {character:?} in user names, as in {name:?}: the mapping's `username` can take it \
             out with `replace`"
        ));
    }
    if name.eq_ignore_ascii_case(RESERVED) {
        return refused(format!("Confluence keeps the user name {name:?} to itself"));
    }
    if name != name.to_lowercase() {
        return refused(format!(
            "Confluence takes no capitals in user names, as in {name:?}: let the mapping's `username` be \
             `userName | lower`"
        ));
    }
    Ok(())
}

/// Whether an account can have that full name.
pub(super) fn full_name(name: &str) -> Result<(), Failure> {
    let refused = |why: String| refused("display_name", why);
    if name.trim().is_empty() {
        return refused("the full name is empty: see the mapping's `display_name`".to_owned());
    }
    if let Some(character) = name.chars().find(|c| NOT_IN_FULL_NAMES.contains(*c)) {
        return refused(format!(
            "Confluence takes no {character:?} in full names, as in {name:?}: the mapping's `display_name` can take \
             it out with `replace`"
        ));
    }
    if name.trim().eq_ignore_ascii_case(RESERVED) {
        return refused(format!("Confluence keeps the full name {name:?} to itself"));
    }
    Ok(())
}

/// Whether it has a chance of being an address; Confluence looks closer.
pub(super) fn email(address: &str) -> Result<(), Failure> {
    if address.contains('@') {
        Ok(())
    } else {
        refused(
            "email",
            format!("{address:?} is no e-mail address: see the mapping's `email`"),
        )
    }
}

/// Web servers refuse these in paths before Confluence sees the request.
pub(super) fn has_slash(name: &str) -> bool {
    name.contains(['/', '\\'])
}

fn refused(field: &str, text: String) -> Result<(), Failure> {
    Err(Failure::Rejected {
        field: Some(field.to_owned()),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: Result<(), Failure>, field: &str) -> String {
        match outcome.unwrap_err() {
            Failure::Rejected { field: named, text } => {
                assert_eq!(named.as_deref(), Some(field));
                text
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_user_name_that_is_refused_says_what_helps() {
        for name in [
            "ada",
            "ada.byron@example.com",
            "ada-b_1",
            "größe",
            "日本語",
            "a/b",
        ] {
            assert_eq!(username(name), Ok(()), "{name}");
        }
        assert!(text(username("Ada"), "username").contains("`userName | lower`"));
        assert!(text(username("GRÖSSE"), "username").contains("capitals"));
        assert!(text(username("ada b"), "username").contains("replace(\" \", \".\")"));
        assert!(text(username("ada\u{a0}b"), "username").contains("white space"));
        for name in ["a\\b", "a,b", "a+b", "a<b", "a>b", "a'b", "a\"b"] {
            assert!(
                text(username(name), "username").contains("`replace`"),
                "{name}"
            );
        }
        assert!(text(username("anonymous"), "username").contains("to itself"));
        for name in ["", "  "] {
            assert!(text(username(name), "username").contains("empty"));
        }
    }

    #[test]
    fn full_names_and_addresses() {
        for name in ["Ada Byron", "O'Neill, \"Q\" + Sons", "日本語"] {
            assert_eq!(full_name(name), Ok(()), "{name}");
        }
        for name in ["", " ", "a<b", "a>b", "Anonymous"] {
            text(full_name(name), "display_name");
        }
        assert_eq!(email("a@b"), Ok(()));
        for address in ["", "nobody"] {
            text(email(address), "email");
        }
    }
}
