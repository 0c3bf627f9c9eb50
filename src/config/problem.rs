//! A mistake in the configuration file and its place there.

use std::fmt;
use std::path::Path;

/// A place in a file; both numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// A mistake in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Problem {
    /// Line, beginning at 1.
    pub line: usize,
    /// Column in characters, beginning at 1.
    pub column: usize,
    /// The key in question, as in `mapping.users.scope`; empty for mistakes of syntax.
    pub key: String,
    /// What is wrong, in words. Holds no secrets.
    pub message: String,
}

impl Problem {
    /// A mistake at a place that is known already, such as one of [`super::ConfigFile::locate`].
    pub fn at(position: Position, key: impl Into<String>, message: impl Into<String>) -> Self {
        let Position { line, column } = position;
        Self {
            line,
            column,
            key: key.into(),
            message: message.into(),
        }
    }

    /// Shows the problem as `FILE:LINE:COL: message`, the form that editors can jump to.
    pub fn in_file<'a, P: AsRef<Path> + ?Sized>(&'a self, file: &'a P) -> impl fmt::Display + 'a {
        InFile(file.as_ref(), self)
    }
}

struct InFile<'a>(&'a Path, &'a Problem);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.display(), self.1)
    }
}
