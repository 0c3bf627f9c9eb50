//! Where identity providers deviate, or may deviate, from the RFCs: one named function each.
//!
//! No capture of what IDCS pushes is public, so every plausible form is accepted from a connection of kind
//! `oracle-idcs`. What Entra ID and Okta send is documented; a connection of kind `entra-id` or `okta` is given
//! what those need and no more, and one of kind `scim` gets the RFC to the letter. Each function has a fixture
//! in `tests/fixtures/{idcs,entra,okta}/`, and a test walks these folders. Quirks that need no function,
//! because the RFC's own rules cover them, have a fixture all the same: a missing `active` (is `true`), late
//! e-mails (a PATCH "add"), a pushed `password` (write-only, dropped), unknown extensions (kept).
//!
//! One form is taken from everybody: `remove` of `members` with a value removes those that the value names.
//! RFC 7644 section 3.5.2.2 has no such value, and passing over it would empty the group.

use serde_json::Value;

use super::Dialect;

/// `"value": ["false"]` for a single-valued attribute: Oracle's own documents write it so.
pub(super) fn single_value_in_array(dialect: Dialect, value: Value) -> Value {
    match value {
        Value::Array(mut values) if dialect == Dialect::Idcs && values.len() == 1 => {
            values.remove(0)
        }
        other => other,
    }
}

/// `"active": "false"`: booleans as text.
pub(super) fn boolean_as_text(dialect: Dialect, value: Value) -> Value {
    match &value {
        Value::String(text) if matches!(dialect, Dialect::Idcs | Dialect::EntraId) => {
            match text.to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => value,
            }
        }
        _ => value,
    }
}

/// `"employeeNumber": 7`: a form field that looks like a number is sent as one.
pub(super) fn number_for_text(dialect: Dialect, value: Value) -> Value {
    match &value {
        Value::Number(number) if dialect == Dialect::Idcs => Value::String(number.to_string()),
        _ => value,
    }
}

/// `"emails": {"value": …}`: one element without its array.
pub(super) fn element_without_array(dialect: Dialect, value: Value) -> Value {
    match value {
        Value::Object(_) | Value::String(_) if dialect == Dialect::Idcs => {
            Value::Array(vec![value])
        }
        other => other,
    }
}

/// `"emails": ["ada@example.com"]`: an element that is only its value.
pub(super) fn element_is_its_value(dialect: Dialect, value: Value) -> Value {
    match value {
        Value::String(text) if dialect == Dialect::Idcs => serde_json::json!({ "value": text }),
        other => other,
    }
}

/// `"manager": "26118915"`: a complex attribute that is only its value.
pub(super) fn complex_is_its_value(dialect: Dialect, value: Value) -> Value {
    match value {
        Value::String(text) if matches!(dialect, Dialect::Idcs | Dialect::EntraId) => {
            serde_json::json!({ "value": text })
        }
        other => other,
    }
}

/// `{"op": "replace", "value": {"name.givenName": "Ada"}}`: paths as keys of a value without a path.
pub(super) fn paths_as_keys(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Idcs | Dialect::EntraId)
}

/// A PUT that carries only what changed: what is absent stays. `null` and `[]` still clear.
pub(super) fn put_is_partial(dialect: Dialect) -> bool {
    dialect == Dialect::Idcs
}

/// Groups changed on the user instead of on the group: `PATCH /Users/{id}` with the path `groups`. The RFC
/// has that attribute read-only.
pub(super) fn groups_on_user(dialect: Dialect) -> bool {
    dialect == Dialect::Idcs
}

/// Bodies without `schemas`, or with URNs of SCIM 1 in it.
pub(super) fn schemas_optional(dialect: Dialect) -> bool {
    dialect == Dialect::Idcs
}

/// A path that names no attribute of a known schema: kept as sent.
pub(super) fn unknown_path_kept(dialect: Dialect) -> bool {
    dialect == Dialect::Idcs
}

/// `replace` on `emails[type eq "work"].value` when there is no such element yet: made, as by `add`.
pub(super) fn replace_makes_element(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Idcs | Dialect::EntraId)
}

/// Two elements marked primary in one request: the first one is.
pub(super) fn first_primary_wins(dialect: Dialect) -> bool {
    dialect == Dialect::Idcs
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use crate::scim::resource::{self, Change, MemberEdit};
    use crate::scim::{Dialect, Doc, ResourceType, patch};

    /// Runs what a fixture says: a request on a stored document, and what comes of it.
    fn run(dialect: Dialect, fixture: &Value) -> Result<Change, crate::scim::Error> {
        let rt = match fixture["resource"].as_str() {
            Some("Group") => ResourceType::Group,
            _ => ResourceType::User,
        };
        let before: Doc = serde_json::from_value(fixture["before"].clone()).unwrap_or_default();
        let body = fixture["body"].clone();
        match fixture["method"].as_str().unwrap() {
            "POST" => resource::parse_create(rt, dialect, body),
            "PUT" => resource::apply_put(rt, dialect, &before, body),
            "PATCH" => patch::apply(rt, dialect, &before, &patch::parse(dialect, body)?),
            other => panic!("{other}"),
        }
    }

    fn members(edits: &[MemberEdit]) -> Value {
        let values = |members: &[resource::MemberRef]| {
            members.iter().map(|m| m.value.clone()).collect::<Vec<_>>()
        };
        edits
            .iter()
            .map(|edit| match edit {
                MemberEdit::Add(members) => json!({"add": values(members)}),
                MemberEdit::Remove(ids) => json!({"remove": ids}),
                MemberEdit::RemoveWhere(_) => json!("remove where"),
                MemberEdit::ReplaceAll(members) => json!({"replace": values(members)}),
            })
            .collect()
    }

    /// The fixtures of one folder, by file name.
    fn fixtures(folder: &str) -> Vec<(String, Value)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(folder);
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                (
                    path.display().to_string(),
                    serde_json::from_str(&text).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn every_fixture_comes_out_as_it_says() {
        for (folder, dialect, least) in [
            ("idcs", Dialect::Idcs, 15),
            ("entra", Dialect::EntraId, 8),
            ("okta", Dialect::Okta, 5),
        ] {
            let all = fixtures(folder);
            assert!(all.len() >= least, "{folder}: only {} fixtures", all.len());
            for (path, fixture) in all {
                assert!(
                    fixture["source"].is_string() && fixture["date"].is_string(),
                    "{path}: where is it from?"
                );
                let change = run(dialect, &fixture).unwrap_or_else(|e| panic!("{path}: {e}"));
                assert_eq!(Value::Object(change.doc), fixture["after"], "{path}");
                let expected = fixture.get("members").cloned().unwrap_or_else(|| json!([]));
                assert_eq!(members(&change.members), expected, "{path}");
            }
        }
    }

    #[test]
    fn what_only_entra_sends_is_refused_from_others() {
        for (path, fixture) in fixtures("entra") {
            if fixture["strict"] == "refused" {
                for dialect in [Dialect::Rfc, Dialect::Okta] {
                    assert!(run(dialect, &fixture).is_err(), "{path}");
                }
            }
        }
    }
}
