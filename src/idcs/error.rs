//! Why a domain could not be read, by what can be done about it.

use std::time::Duration;

/// An error of the client. Texts are shown to administrators and hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("{text}")]
    Setup {
        /// Which, and why.
        text: String,
    },
    /// The domain refuses the application itself.
    #[error("{text}")]
    Unauthorized {
        /// What happened and what to do.
        text: String,
    },
    /// The application lacks an app role.
    #[error("{text}")]
    Forbidden {
        /// What happened and what to do.
        text: String,
    },
    /// The domain has no such thing.
    #[error("{text}")]
    NotFound {
        /// What is missing.
        text: String,
    },
    /// The domain does not accept the request.
    #[error("{text}")]
    Refused {
        /// Oracle's name for the reason.
        message_id: Option<String>,
        /// What happened.
        text: String,
    },
    /// The domain did not answer, or asks to come back later.
    #[error("{text}")]
    Unavailable {
        /// What happened.
        text: String,
        /// Set if it asks to slow down, with the time it named, if it named one.
        throttled: Option<Option<Duration>>,
    },
    /// Something answered that is no answer of a domain.
    #[error("{text}")]
    Unreadable {
        /// What came instead.
        text: String,
    },
}
