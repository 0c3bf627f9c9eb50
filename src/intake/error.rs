//! Why the mirror refused a change.

use crate::{scim, store};

/// An error of the intake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is not acceptable.
    #[error("{}", .0.detail())]
    Scim(#[from] scim::Error),
    /// The database did not take it.
    #[error(transparent)]
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        // The index's name on PostgreSQL, the column's on SQLite.
        let taken = |name: &str| matches!(&error, store::Error::Conflict { constraint } if constraint.contains(name));
        if taken("scim_user") {
            Self::Scim(scim::Error::uniqueness("another user has this userName"))
        } else if taken("scim_group") {
            Self::Scim(scim::Error::uniqueness(
                "another group has this displayName",
            ))
        } else {
            Self::Store(error)
        }
    }
}
