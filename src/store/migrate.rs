//! The schema, embedded and brought up to date at every start.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::AnyConn;
use super::error::Error;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// A number of our own for PostgreSQL's advisory locks: replicas that start together migrate one by one.
const LOCK: i64 = 0x7573_6865_7200;

/// Applies what is missing. [`super::Store::open`] does so.
pub fn run(conn: &mut AnyConn) -> Result<(), Error> {
    match conn {
        AnyConn::Sqlite(c) => {
            // Commands may start at the same moment on a new file: one after the other looks what is missing.
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?;
            let result = c
                .run_pending_migrations(SQLITE)
                .map(|_| ())
                .map_err(|e| failed(e.as_ref()));
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
            let result = c
                .run_pending_migrations(POSTGRES)
                .map(|_| ())
                .map_err(|e| failed(e.as_ref()));
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
