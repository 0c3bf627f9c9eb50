//! What administrators state: the file that `usher apply` reads, server settings, secrets.
//!
//! Everything is checked here once and handed on as domain types. Secrets are referred to, never
//! held: a value that is a secret is not repeated in any message.

pub mod file;
mod print;
mod problem;
pub mod secret;
mod section;
pub mod server;
mod shape;

pub use file::{ConfigFile, MappingEntry, parse};
pub use print::{print, print_manual};
pub use problem::{Position, Problem};
pub use secret::{SecretError, resolve};
pub use server::{DatabaseUrl, DatabaseUrlError};
