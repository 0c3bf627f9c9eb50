//! What can go wrong in the database, by what the caller can do about it.

use std::cell::Cell;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A unique constraint is violated: somebody else has that name.
    #[error("{constraint} is taken")]
    Conflict {
        /// The index or the columns, as the database names them.
        constraint: String,
    },
    /// The database is locked by others for too long: try again.
    #[error("the database is busy")]
    Busy,
    /// The database cannot be reached: try again.
    #[error("{0}")]
    Unavailable(String),
    /// There is no room for what is to be written; nothing of it was.
    #[error("the disk of the database is full")]
    Full,
    /// The database cannot be opened at all.
    #[error("{0}")]
    Open(String),
    /// The store is shutting down.
    #[error("the database is closed")]
    Closed,
    /// A query panicked; its transaction was rolled back.
    #[error("a database task ended unexpectedly")]
    Panicked,
    /// Something stored cannot be read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// This filter cannot be answered by the database.
    #[error("{0}")]
    Filter(String),
    /// Anything else.
    #[error("{0}")]
    Database(String),
}

thread_local! {
    // Set when a statement failed for a reason that a repetition of the transaction cures. A thread works
    // on one transaction at a time, and whoever ends it takes the flag.
    static PASSING: Cell<bool> = const { Cell::new(false) };
    // Set when a statement found no room, of which SQLite ends the whole transaction.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

/// Whether a statement of this thread found no room since the last call.
pub(super) fn take_full() -> bool {
    FULL.with(Cell::take)
}

/// Whether a statement of this thread failed for a passing reason since the last call.
pub(super) fn take_passing() -> bool {
    PASSING.with(Cell::take)
}

/// What the databases say of a full disk; diesel does not pass on that PostgreSQL has a number for it (53100).
const FULL_SAYS: [&str; 3] = [
    // SQLite.
    "database or disk is full",
    // PostgreSQL, and then what the system says; or, where there was room for half of a page, how much was written.
    "could not extend file",
    "No space left on device",
];

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                Self::Conflict {
                    // PostgreSQL names the index; SQLite says "UNIQUE constraint failed: table.column, …".
                    constraint: info
                        .constraint_name()
                        .map_or_else(|| info.message().to_owned(), ToOwned::to_owned),
                }
            }
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
                PASSING.with(|p| p.set(true));
                Self::Busy
            }
            // The latter comes of a connection that was found to be lost by an earlier statement.
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                info,
            ) => Self::Unavailable(info.message().to_owned()),
            DieselError::RollbackErrorOnCommit { commit_error, .. } => (*commit_error).into(),
            DieselError::BrokenTransactionManager => {
                Self::Unavailable("the connection to the database was lost".to_owned())
            }
            DieselError::DatabaseError(_, info) if info.message().contains("deadlock detected") => {
                PASSING.with(|p| p.set(true));
                Self::Busy
            }
            DieselError::DatabaseError(_, info)
                if info.message().contains("database is locked")
                    || info.message().contains("database table is locked") =>
            {
                Self::Busy
            }
            DieselError::DatabaseError(_, info)
                if FULL_SAYS.iter().any(|said| info.message().contains(said)) =>
            {
                FULL.with(|f| f.set(true));
                Self::Full
            }
            other => Self::Database(other.to_string()),
        }
    }
}

impl Error {
    /// If the same call may succeed later: what to tell the caller, and after how many seconds it is worth asking again.
    pub fn passing(&self) -> Option<(&'static str, u32)> {
        match self {
            Self::Busy | Self::Unavailable(_) | Self::Closed => {
                Some(("the database is busy; try again in a moment", 1))
            }
            Self::Full => Some((
                "the disk of the database is full; nothing of this was stored",
                60,
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_what_either_database_says() {
        for said in [
            "database or disk is full",
            "could not extend file \"base/16384/16397\": No space left on device",
            "could not extend file \"base/16384/16505\": wrote only 4096 of 8192 bytes at block 691",
            "could not write to file \"pg_wal/xlogtemp.29\": No space left on device",
        ] {
            let error =
                DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(said.to_owned()));
            assert_eq!(Error::from(error), Error::Full, "{said}");
        }
    }
}
