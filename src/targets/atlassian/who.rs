//! What a user is addressed by.

use crate::domain::Failure;
use crate::targets::Whom;

/// A user, by what is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::targets) enum Who<'a> {
    Key(&'a str),
    Name(&'a str),
}

impl<'a> From<Whom<'a>> for Who<'a> {
    /// By key, which is stable; by name while the key is not known.
    fn from(whom: Whom<'a>) -> Self {
        if whom.remote_id.is_empty() {
            Self::Name(whom.username)
        } else {
            Self::Key(whom.remote_id)
        }
    }
}

impl<'a> Who<'a> {
    pub(in crate::targets) fn query(self) -> (&'static str, &'a str) {
        match self {
            Self::Key(key) => ("key", key),
            Self::Name(name) => ("username", name),
        }
    }

    /// The failure that there is none at `product`.
    pub(in crate::targets) fn gone(self, product: &str) -> Failure {
        let (by, value) = self.query();
        Failure::Gone {
            text: format!("{product} has no user with {by} {value}"),
        }
    }
}
