//! What administrators state: the file that `usher apply` reads, server settings, secrets.
//!
//! Everything is checked here once and handed on as domain types. Secrets are referred to, never
//! held: a value that is a secret is not repeated in any message.

mod alerts;
mod diff;
pub mod file;
mod login;
mod network;
mod print;
mod problem;
mod pull;
pub mod schedule;
pub mod secret;
mod section;
pub mod server;
mod shape;

pub use diff::diff;
pub use file::{ConfigFile, MappingEntry, parse};
pub use network::{NetworkError, Networks};
pub use print::{print, print_manual};
pub use problem::{Position, Problem};
pub use secret::{SecretError, resolve};
pub use section::{span_of_time, span_text};
pub use server::{DatabaseUrl, DatabaseUrlError};
pub use shape::keys;
