//! The schema, embedded and brought up to date at every start.

use diesel::backend::Backend;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::AnyConn;
use super::error::Error;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// A number of our own for PostgreSQL's advisory locks: replicas that start together migrate one by one.
const LOCK: i64 = 0x7573_6865_7200;

/// Refuses a database whose schema a newer program has made: this one would read it wrongly.
pub fn refuse_newer(conn: &mut AnyConn) -> Result<(), Error> {
    match conn {
        AnyConn::Sqlite(c) => refuse_unknown(c, SQLITE),
        AnyConn::Postgres(c) => refuse_unknown(c, POSTGRES),
    }
}

fn refuse_unknown<DB: Backend>(
    conn: &mut impl MigrationHarness<DB>,
    known: EmbeddedMigrations,
) -> Result<(), Error> {
    let applied = conn.applied_migrations().map_err(|e| failed(e.as_ref()))?;
    let known: Vec<Box<dyn Migration<DB>>> = known.migrations().map_err(|e| failed(e.as_ref()))?;
    let is_known =
        |version: &&MigrationVersion<'_>| known.iter().any(|m| m.name().version() == **version);
    match applied.iter().find(|version| !is_known(version)) {
        None => Ok(()),
        Some(version) => Err(Error::Open(format!(
            "the database was made by a newer Usher (schema {version}) than this one ({}): start that version, or \
             restore a backup from before the update",
            env!("CARGO_PKG_VERSION"),
        ))),
    }
}

/// Applies what is missing. [`super::Store::open`] does so.
pub fn run(conn: &mut AnyConn) -> Result<(), Error> {
    match conn {
        AnyConn::Sqlite(c) => {
            // Commands may start at the same moment on a new file: one after the other looks what is missing.
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?;
            let result = refuse_unknown(c, SQLITE).and_then(|()| {
                c.run_pending_migrations(SQLITE)
                    .map(|_| ())
                    .map_err(|e| failed(e.as_ref()))
            });
            match result {
                Ok(()) => AnsiTransactionManager::commit_transaction(c)?,
                Err(e) => {
                    let _ = AnsiTransactionManager::rollback_transaction(c);
                    return Err(e);
                }
            }
        }
        AnyConn::Postgres(c) => {
            use diesel::connection::SimpleConnection;
            c.batch_execute(&format!(
                "SET client_min_messages = warning; SELECT pg_advisory_lock({LOCK})"
            ))?;
            let result = refuse_unknown(c, POSTGRES).and_then(|()| {
                c.run_pending_migrations(POSTGRES)
                    .map(|_| ())
                    .map_err(|e| failed(e.as_ref()))
            });
            c.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))?;
            result?;
        }
    }
    Ok(())
}

/// Takes the schema, and with it all data, back to nothing: what proves that every migration has a way back.
pub fn revert(conn: &mut AnyConn) -> Result<(), Error> {
    match conn {
        AnyConn::Sqlite(c) => c
            .revert_all_migrations(SQLITE)
            .map(|_| ())
            .map_err(|e| failed(e.as_ref())),
        AnyConn::Postgres(c) => c
            .revert_all_migrations(POSTGRES)
            .map(|_| ())
            .map_err(|e| failed(e.as_ref())),
    }
}

fn failed(error: &(dyn std::error::Error + Send + Sync)) -> Error {
    Error::Open(format!(
        "cannot bring the database schema up to date: {error}"
    ))
}
