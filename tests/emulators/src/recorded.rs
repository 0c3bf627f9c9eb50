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

/// Replaces the value of every `password` member, however deep.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if name.to_lowercase().contains("password") && member.is_string() {
                    *member = Value::String("***".into());
                } else {
                    mask(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}
