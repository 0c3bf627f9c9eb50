//! Scopes: SCIM filters over the user, with one check more than SCIM has.
//!
//! In a SCIM query an attribute that does not exist is no mistake, it has no value. In a scope a
//! slip of the pen (`userTyp eq "Employee"`) would put everyone out of scope, or everyone into
//! it. So a name without a URN must be a known one; any other attribute is reached by its URN,
//! at the top level by that of the core schema.

use super::context::{ENTERPRISE, NAMES, Parts};
use super::expression::unknown;
use crate::scim::filter::{self, AttrPath, Compiled, Filter};
use crate::scim::{self, ResourceType};

/// Names that expressions have and documents have not.
const OURS: &[&str] = &["primary_email", "enterprise", "user"];

/// Reads and resolves a scope; the error says in words what is wrong.
pub(super) fn compile(text: &str) -> Result<Compiled, String> {
    let in_words = |error: scim::Error| error.detail().to_owned();
    let parsed = filter::parse(text).map_err(in_words)?;
    check(&parsed)?;
    filter::compile(ResourceType::User, &parsed).map_err(in_words)
}

fn check(filter: &Filter) -> Result<(), String> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().try_for_each(check),
        Filter::Not(inner) => check(inner),
        Filter::Compare { path, .. } | Filter::Present(path) | Filter::ValuePath { path, .. } => {
            check_path(path)
        }
    }
}

pub(super) fn check_path(path: &AttrPath) -> Result<(), String> {
    if path.urn.is_some() {
        return Ok(());
    }
    let names = || NAMES.iter().filter(|(name, _)| !OURS.contains(name));
    let Some((top, below)) = names().find(|(name, _)| name.eq_ignore_ascii_case(&path.name)) else {
        if let Some(name) = enterprise().find(|name| name.eq_ignore_ascii_case(&path.name)) {
            return Err(format!("`{name}` needs its schema: `{ENTERPRISE}:{name}`"));
        }
        return Err(unknown(
            "attribute",
            &path.name,
            names().map(|(name, _)| *name),
        ));
    };
    match (below, &path.sub) {
        (Parts::These(known), Some(sub)) if !known.iter().any(|k| k.eq_ignore_ascii_case(sub)) => {
            Err(unknown(
                &format!("part of `{top}` called"),
                sub,
                known.iter().copied(),
            ))
        }
        (Parts::None, Some(sub)) => Err(format!(
            "`{top}` has no parts, so there is no `{top}.{sub}`"
        )),
        _ => Ok(()),
    }
}

fn enterprise() -> impl Iterator<Item = &'static str> {
    let parts = NAMES
        .iter()
        .find(|(name, _)| *name == "enterprise")
        .map(|(_, parts)| parts);
    match parts {
        Some(Parts::These(parts)) => parts.iter().copied(),
        _ => [].iter().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (scope, text) in [
            (
                "userTyp eq \"a\"",
                "there is no attribute `userTyp`; did you mean `userType`?",
            ),
            (
                "active eq true and not (name.formated pr)",
                "there is no part of `name` called `formated`; did you mean `formatted`?",
            ),
            (
                "(active eq true) or emial pr",
                "there is no attribute `emial`; did you mean `emails`?",
            ),
            (
                "emial[type eq \"work\"]",
                "there is no attribute `emial`; did you mean `emails`?",
            ),
            (
                "userName.value pr",
                "`userName` has no parts, so there is no `userName.value`",
            ),
            (
                "Department eq \"R&D\"",
                "`department` needs its schema: \
                 `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`",
            ),
        ] {
            assert_eq!(compile(scope).unwrap_err(), text, "{scope}");
        }
    }

    #[test]
    fn ordinary_scopes_pass() {
        for scope in [
            "userType ne \"Service\"",
            "USERTYPE eq \"Employee\" and emails[type eq \"work\" and primary eq true]",
            "groups.display eq \"jira-users\" or Name.FamilyName sw \"B\"",
            "meta.lastModified gt \"2026-01-01T00:00:00Z\"",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"R&D\"",
            "urn:ietf:params:scim:schemas:core:2.0:User:badge pr",
            "urn:ietf:params:scim:schemas:idcs:extension:custom:User:login pr",
        ] {
            assert!(
                compile(scope).is_ok(),
                "{scope}: {:?}",
                compile(scope).err()
            );
        }
    }
}
