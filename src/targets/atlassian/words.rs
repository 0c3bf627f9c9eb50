//! A product's own words in an error body: `{"errorMessages": ["..."], "errors": {"field": "..."}}`.

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
}

impl Words {
    /// Reads an error body. `None`: it is not one of the product's.
    pub(in crate::targets) fn of(response: &Response) -> Option<Self> {
        let value = response.value()?;
        let mut words = Self::read(&value)?;
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
            text: shown(all.join("; ")),
        })
    }
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
    fn long_texts_are_cut_between_characters() {
        let body = json!({"errorMessages": ["ü".repeat(5000)]});
        let (_, text) = read(&body).unwrap();
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
