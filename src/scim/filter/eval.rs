//! Evaluation in memory, on the folded form.

use serde_json::Value;

use super::compile::{Compiled, Operand, Test};

impl Compiled {
    /// Whether a folded resource (or a folded element, for the filter of a value path) fulfils the filter.
    pub fn matches(&self, folded: &Value) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::And(parts) => parts.iter().all(|part| part.matches(folded)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(folded)),
            Self::Not(inner) => !inner.matches(folded),
            Self::Test { path, test } => any(folded, path, &|element| test.holds(element)),
            Self::Any { path, filter } => any(folded, path, &|element| filter.matches(element)),
        }
    }
}

/// Whether some element at the end of the path passes.
fn any(folded: &Value, path: &[String], passes: &dyn Fn(&Value) -> bool) -> bool {
    match path {
        [] => passes(folded),
        [first, rest @ ..] => match folded.get(first) {
            Some(Value::Array(elements)) => {
                elements.iter().any(|element| any(element, rest, passes))
            }
            _ => false,
        },
    }
}

impl Test {
    fn holds(&self, element: &Value) -> bool {
        match self {
            Self::Present => true,
            Self::Eq(operand) => compare(element, operand).is_some_and(std::cmp::Ordering::is_eq),
            Self::Less(operand) => compare(element, operand).is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual(operand) => {
                compare(element, operand).is_some_and(std::cmp::Ordering::is_le)
            }
            Self::Greater(operand) => {
                compare(element, operand).is_some_and(std::cmp::Ordering::is_gt)
            }
            Self::GreaterOrEqual(operand) => {
                compare(element, operand).is_some_and(std::cmp::Ordering::is_ge)
            }
            Self::Contains(part) => element
                .as_str()
                .is_some_and(|text| text.contains(part.as_str())),
            Self::StartsWith(part) => element
                .as_str()
                .is_some_and(|text| text.starts_with(part.as_str())),
            Self::EndsWith(part) => element
                .as_str()
                .is_some_and(|text| text.ends_with(part.as_str())),
        }
    }
}

/// `None`: of different types.
fn compare(element: &Value, operand: &Operand) -> Option<std::cmp::Ordering> {
    match (element, operand) {
        (Value::String(text), Operand::Text(other)) => Some(text.as_str().cmp(other)),
        (Value::Number(number), Operand::Number(other)) => number.as_f64()?.partial_cmp(other),
        (Value::Bool(value), Operand::Bool(other)) => Some(value.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::scim::fold::fold;
    use crate::scim::{Doc, ResourceType, filter};

    fn holds(text: &str) -> bool {
        let doc: Doc = serde_json::from_value(json!({
            "userName": "Ada", "active": true, "userType": "Employee", "title": "",
            "name": {"familyName": "Byron"},
            "emails": [
                {"value": "ada@home.example", "type": "home"},
                {"value": "ada@work.example", "type": "work", "primary": true},
            ],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R&D"},
            "level": 7,
        }))
        .unwrap();
        let compiled = filter::compile(ResourceType::User, &filter::parse(text).unwrap()).unwrap();
        compiled.matches(&fold(ResourceType::User, &doc))
    }

    #[test]
    fn it_holds() {
        for text in [
            r#"userName eq "ADA""#,
            r#"userName ne "bob""#,
            r#"nickName ne "x""#,
            r#"active eq true and active eq "True""#,
            r#"emails[type eq "work" and value ew ".example"]"#,
            r#"emails.type eq "home" and emails.value sw "ada@work""#,
            "emails.primary eq true",
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "r&d""#,
            "level gt 6 and level le 7",
            "title eq null and not (title pr) and title eq \"\"",
            r#"name.familyName ge "byron" and name.familyName lt "c""#,
            "emails pr and name pr",
        ] {
            assert!(holds(text), "{text}");
        }
    }

    #[test]
    fn it_does_not_hold() {
        for text in [
            r#"emails[type eq "home" and value co "work"]"#,
            "level eq \"7\"",
            "nickName pr",
            "title pr",
            r#"userName gt "b""#,
            "missing.deep.sub pr",
            "userName.sub pr",
        ] {
            match filter::parse(text) {
                Ok(_) => assert!(!holds(text), "{text}"),
                Err(_) => assert!(text.contains("deep"), "{text}"),
            }
        }
    }
}
