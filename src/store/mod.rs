//! All SQL and nothing else: the mirror, the ledger, the work queue, the configuration, the audit.
//!
//! Invariants: no other layer names `diesel`; [`Store::write`] is the only way to a writing transaction;
//! every query has one text for SQLite and PostgreSQL (see `on_each!`), but for the claim of work, the
//! row locks that SQLite does not need, and the reach into JSON of filters.

mod conn;
mod error;
mod filter_sql;
mod schema;
mod sort_sql;
mod statement;
mod writer;

pub mod admins;
pub mod alerts;
pub mod audit;
pub mod bell;
pub mod brakes;
pub mod consents;
pub mod drift;
pub mod figures;
pub mod group_list;
pub mod group_work;
pub mod groups;
pub mod ledger;
pub mod migrate;
pub mod pause;
pub mod people;
pub mod runs;
pub mod secrets;
pub mod settings;
pub mod signing_keys;
pub mod source;
pub mod tokens;
pub mod transfer;
pub mod users;
pub mod versions;
pub mod work;

pub use conn::{AnyConn, Pool, Store, Tx};
pub use error::Error;
pub use filter_sql::{After, Page, PageQuery};
pub use users::{Link, Stored};
