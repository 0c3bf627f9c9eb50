//! The classes of outbound failure: what the engine can do about each.

use std::time::Duration;

/// Why an operation at a target did not succeed. Texts are shown to administrators; they hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The target did not answer, or answered that it could not at the moment (5xx, time-out, connection lost).
    /// Whether the operation took effect is unknown.
    #[error("{text}")]
    Transient {
        /// What happened, in words.
        text: String,
    },
    /// No connection to the target could be made: nothing was sent, and nothing can come of it later.
    #[error("{text}")]
    Unreachable {
        /// What happened, in words.
        text: String,
    },
    /// The target asks to slow down (429, or 503 with `Retry-After`). The operation did not take effect.
    #[error("{text}")]
    Throttled {
        /// How long the target asked to wait, if it said so.
        after: Option<Duration>,
        /// What happened, in words.
        text: String,
    },
    /// The target refused this record; trying again without a change is useless.
    #[error("{text}")]
    Rejected {
        /// The field that the target named, if any.
        field: Option<String>,
        /// The product's own words.
        text: String,
    },
    /// The target refused the credential or its rights: every other operation would fail too.
    #[error("{text}")]
    Unauthorized {
        /// What happened, in words.
        text: String,
    },
    /// What the operation is about is not there (any more): the engine looks again.
    #[error("{text}")]
    Gone {
        /// What is missing.
        text: String,
    },
}

impl Failure {
    /// Its kind, for counting.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Transient { .. } => "transient",
            Self::Unreachable { .. } => "unreachable",
            Self::Throttled { .. } => "throttled",
            Self::Rejected { .. } => "rejected",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Gone { .. } => "gone",
        }
    }
}
