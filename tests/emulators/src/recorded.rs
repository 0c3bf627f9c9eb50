//! What an emulator has been asked, kept for tests to look at.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request as it arrived and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// HTTP method.
    pub method: String,
    /// Path without the query, as it stood on the wire.
    pub path: String,
    /// Query parameters in order, decoded.
    pub query: Vec<(String, String)>,
    /// The headers that matter, names in lower case. Of `authorization` only the scheme is kept.
    pub headers: Vec<(String, String)>,
    /// The body: JSON where it is JSON, otherwise its text; passwords are masked.
    pub body: Option<Value>,
    /// Status decided on; 0 when the connection was closed before anything was decided.
    pub status: u16,
    /// Whether the state of the emulated system is different after it.
    pub changed: bool,
    /// Whether an answer was sent at all.
    pub answered: bool,
    /// Name of the fault that struck, see [`crate::FaultKind::name`].
    pub fault: Option<String>,
    /// Milliseconds since the emulator started.
    pub at: u64,
}

impl Recorded {
    /// The first query parameter of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it is anything but a read.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }
}

/// Replaces every text under a `password` member, however deep; all texts if the whole is one.
pub(crate) fn mask(value: &mut Value, is_password: bool) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                mask(
                    member,
                    is_password || name.to_lowercase().contains("password"),
                );
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, is_password)),
        Value::String(text) if is_password => "***".clone_into(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        let mut body =
            json!({"name": "ada", "password": {"value": "a"}, "users": [{"Password": "b"}]});
        mask(&mut body, false);
        let masked =
            json!({"name": "ada", "password": {"value": "***"}, "users": [{"Password": "***"}]});
        assert_eq!(body, masked);
        let mut body = json!({"value": "a", "active": true});
        mask(&mut body, true);
        assert_eq!(body, json!({"value": "***", "active": true}));
    }
}
