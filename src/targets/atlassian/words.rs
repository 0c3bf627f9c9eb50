//! A product's own words in an error body. Jira writes `{"errorMessages": ["..."], "errors": {"field": "..."}}`,
//! Bitbucket `{"errors": [{"context": "field", "message": "...", "exceptionName": "com.atlassian..."}]}`, Confluence
//! `{"statusCode": 404, "data": {"errors": [...]}, "message": "...", "reason": "Not Found"}`.

use serde_json::Value;

use crate::outbound::Response;

/// Longer texts are cut: they are shown in tables.
const LONGEST: usize = 1000;

/// What the product said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::targets) struct Words {
    /// The first field it named.
    pub(in crate::targets) field: Option<String>,
    /// Everything it said.
    pub(in crate::targets) text: String,
    /// What it calls the error, where it has names for them.
    pub(in crate::targets) exception: Option<String>,
}

impl Words {
    /// Reads an error body. `None`: it is not one of the product's.
    pub(in crate::targets) fn of(response: &Response) -> Option<Self> {
        let value = response.value()?;
        let mut words = Self::read_bitbucket(&value)
            .or_else(|| Self::read(&value))
            .or_else(|| Self::read_confluence(&value))?;
        if words.text.is_empty() {
            words.text = format!(
                "{}: answered {} without saying why",
                response.what(),
                response.status
            );
        }
        Some(words)
    }

    fn read(value: &Value) -> Option<Self> {
        let body = value.as_object()?;
        let (messages, errors) = (body.get("errorMessages"), body.get("errors"));
        if messages.is_none() && errors.is_none() {
            return None;
        }
        let fields = errors.and_then(Value::as_object);
        let general = messages.and_then(Value::as_array).into_iter().flatten();
        let special = fields.into_iter().flat_map(|f| f.values());
        let all: Vec<&str> = general
            .chain(special)
            .filter_map(Value::as_str)
            .map(str::trim)
            .collect();
        Some(Self {
            field: fields.and_then(|f| f.keys().next().cloned()),
            text: joined(&all),
            exception: None,
        })
    }

    fn read_bitbucket(value: &Value) -> Option<Self> {
        let errors = value.get("errors")?.as_array()?;
        let text = |name: &'static str| {
            let texts = errors
                .iter()
                .filter_map(move |error| error.get(name)?.as_str());
            texts.map(str::trim).filter(|text| !text.is_empty())
        };
        // Each of Bitbucket's errors has all three, if only as null.
        if !errors
            .iter()
            .any(|error| error.get("exceptionName").is_some())
        {
            return None;
        }
        Some(Self {
            field: text("context").next().map(str::to_owned),
            text: joined(&text("message").collect::<Vec<_>>()),
            exception: text("exceptionName").next().map(str::to_owned),
        })
    }

    /// The status alone would not do: gateways write `{"statusCode": 404, "message": "..."}` as well.
    fn read_confluence(value: &Value) -> Option<Self> {
        let body = value.as_object()?;
        body.get("statusCode")?.as_u64()?;
        let data = body.get("data").and_then(Value::as_object);
        if data.is_none() && !body.get("reason").is_some_and(Value::is_string) {
            return None;
        }
        let errors = data.and_then(|data| data.get("errors")?.as_array());
        let mut all: Vec<&str> = Vec::new();
        let message = body.get("message").and_then(Value::as_str);
        for text in message
            .into_iter()
            .chain(errors.into_iter().flatten().filter_map(translation))
        {
            let text = without_class(text.trim());
            if !text.is_empty() && !all.contains(&text) {
                all.push(text);
            }
        }
        Some(Self {
            field: None,
            text: joined(&all),
            exception: None,
        })
    }
}

fn joined(all: &[&str]) -> String {
    shown(all.join("; "))
}

/// An error of a validation: text, or a message with its key and its text.
fn translation(error: &Value) -> Option<&str> {
    let message = error.get("message").unwrap_or(error);
    ["translation", "key"]
        .iter()
        .find_map(|name| message.get(name)?.as_str())
        .or(message.as_str())
}

/// Newer versions put the name of the exception in front, and nothing else where it has no message.
fn without_class(text: &str) -> &str {
    let (first, rest) = text.split_once(": ").unwrap_or((text, ""));
    let is_class = first.starts_with("com.atlassian.") && !first.contains(char::is_whitespace);
    if is_class { rest.trim() } else { text }
}

/// A product's text as it is shown: not too long, and without a final full stop.
pub(in crate::targets) fn shown(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Option<(Option<String>, String)> {
        Words::read(value).map(|w| (w.field, w.text))
    }

    #[test]
    fn messages_and_fields_are_joined() {
        let body = json!({"errorMessages": ["No."], "errors": {"active": "Leads ABC.", "x": "y."}});
        assert_eq!(
            read(&body),
            Some((Some("active".into()), "No.; Leads ABC.; y".into()))
        );
        assert_eq!(
            read(&json!({"errorMessages": ["No"]})),
            Some((None, "No".into()))
        );
        assert_eq!(
            read(&json!({"errorMessages": [], "errors": {}})),
            Some((None, String::new()))
        );
    }

    #[test]
    fn other_bodies_are_not_the_products() {
        assert_eq!(
            read(&json!({"message": "null for uri", "status-code": 404})),
            None
        );
        assert_eq!(read(&json!("text")), None);
        assert_eq!(read(&json!([])), None);
    }

    #[test]
    fn bitbucket_is_understood_too() {
        let body = json!({"errors": [
            {"context": null, "message": "No.", "exceptionName": "com.atlassian.X"},
            {"context": "name", "message": "Taken", "exceptionName": null},
        ]});
        let words = Words::read_bitbucket(&body).unwrap();
        assert_eq!(words.field.as_deref(), Some("name"));
        assert_eq!(words.text, "No.; Taken");
        assert_eq!(words.exception.as_deref(), Some("com.atlassian.X"));
        for other in [
            json!({"errors": []}),
            json!({"errors": {"a": "b"}}),
            json!({"errors": ["a"]}),
        ] {
            assert_eq!(Words::read_bitbucket(&other), None);
        }
    }

    #[test]
    fn confluence_is_understood_too() {
        let read = |value: Value| Words::read_confluence(&value).map(|w| w.text);
        let data = json!({"authorized": false, "valid": true, "errors": [], "successful": false});
        let body =
            json!({"statusCode": 404, "data": data, "message": "No user.", "reason": "Not Found"});
        assert_eq!(read(body), Some("No user".into()));
        let class = "com.atlassian.confluence.api.service.exceptions.api.ConflictException";
        for (message, expected) in [
            (json!(format!("{class}: Exists: x")), "Exists: x"),
            (json!(class), ""),
            (Value::Null, ""),
        ] {
            let body = json!({"statusCode": 409, "data": data, "message": message});
            assert_eq!(read(body).as_deref(), Some(expected));
        }
        let errors = json!([
            {"message": {"key": "a.b", "args": [], "translation": "First."}},
            {"message": {"key": "c.d", "args": []}},
            "Third",
            "Refused",
        ]);
        let body = json!({"statusCode": 400, "data": {"errors": errors}, "message": "Refused"});
        assert_eq!(read(body), Some("Refused; First.; c.d; Third".into()));
        for other in [
            json!({"statusCode": 404, "message": "Resource not found"}),
            json!({"status-code": 404, "message": "null for uri: /x"}),
            json!({"statusCode": "404", "reason": "x"}),
        ] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let body = json!({"errorMessages": ["ü".repeat(5000)]});
        let (_, text) = read(&body).unwrap();
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
