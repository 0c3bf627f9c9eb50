//! Emulators of the systems at both ends of Usher: the products that accounts are written to
//! ([`jira`], [`confluence`], [`bitbucket`], [`crowd`], [`guard`]) and an IDCS domain, as the client that pushes over SCIM
//! ([`idcs`]) and as the server that is read ([`idcs_domain`]).
//!
//! They are for tests and for the demo, are never linked into the product and know nothing of its
//! code, so that a mistake about a protocol cannot be made once for both sides. Awkward behaviour
//! of the real systems is kept on purpose; faults can be ordered ([`Fault`]) or left to chance
//! ([`Chaos`]).

pub mod bitbucket;
pub mod confluence;
pub mod crowd;
mod faults;
pub mod guard;
pub mod idcs;
pub mod idcs_domain;
pub mod jira;
mod kept;
mod recorded;
mod server;

pub use faults::{Chaos, Fault, FaultKind, Only};
pub use recorded::Recorded;
pub use server::{RateLimit, Server};
