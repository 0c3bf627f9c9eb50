//! Whole databases: a copy of a running one, what is done to one that was restored, and the way from SQLite to
//! PostgreSQL.
//!
//! Tables and columns are asked of the database itself, so that none is forgotten when one is added.

use std::collections::BTreeSet;
use std::path::Path;

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::conn::{AnyConn, Tx, exclusively, on_each, open};
use super::error::Error;
use super::pause::Pause;
use super::schema::{account, session};
use super::{audit, group_work, migrate, pause, settings, work};
use crate::clock::Micros;
use crate::config::server::DatabaseUrl;

/// How many rows are carried over at a time.
const ROWS: usize = 1000;
/// The table in which diesel notes the migrations; both databases have their own.
const MIGRATIONS: &str = "__diesel_schema_migrations";
/// The first bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Writes a copy of a SQLite database as it is at this moment into a file that is there and empty, while others go
/// on reading and writing. The copy is one file without a log beside it.
pub fn copy_to(conn: &mut AnyConn, file: &Path) -> Result<(), Error> {
    let AnyConn::Sqlite(c) = conn else {
        return Err(Error::Open(
            "only a SQLite database is copied like this".to_owned(),
        ));
    };
    diesel::sql_query("VACUUM INTO $1")
        .bind::<Text, _>(file.to_string_lossy())
        .execute(c)?;
    Ok(())
}

/// Whether a file is a whole SQLite database of this program; if not, why.
pub fn check(file: &Path) -> Result<(), Error> {
    let broken = |why: &str| Error::Open(format!("{}: {why}", file.display()));
    let mut head = [0; MAGIC.len()];
    let read = std::fs::File::open(file).and_then(|mut f| {
        use std::io::Read;
        f.read_exact(&mut head)
    });
    match read {
        Ok(()) if head == MAGIC => {}
        Ok(()) => return Err(broken("this is no SQLite database")),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(broken("this is no SQLite database"));
        }
        Err(e) => return Err(broken(&e.to_string())),
    }
    let url = DatabaseUrl::Sqlite(file.to_owned());
    let mut conn = open(&url).map_err(|e| broken(&e.to_string()))?;
    let found = lines(
        &mut conn,
        "SELECT integrity_check AS line FROM pragma_integrity_check",
    )
    .map_err(|e| broken(&e.to_string()))?;
    if found != ["ok"] {
        let first = found.first().map_or("no answer", String::as_str);
        return Err(broken(&format!("the file is damaged: {first}")));
    }
    let tables = lines(
        &mut conn,
        "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name IN ('scim_user', 'work_item')",
    )?;
    if tables.len() != 2 {
        return Err(broken("this is no database of Usher"));
    }
    migrate::refuse_newer(&mut conn)
}

/// Brings a restored file up to date and makes it safe to be started: it tells of an earlier time, so every target
/// is paused, everybody is looked at again, no account is believed before it was read, and nobody is signed in.
pub fn prepare_restored(file: &Path, by: &str, now: Micros) -> Result<(), Error> {
    let url = DatabaseUrl::Sqlite(file.to_owned());
    let mut conn = open(&url).map_err(|e| Error::Open(e.to_string()))?;
    migrate::run(&mut conn)?;
    exclusively(&mut conn, |tx| {
        work::release_all(tx)?;
        group_work::release_all(tx)?;
        diesel::delete(session::table).execute(tx.conn())?;
        // Instant 0: what was under way back then has long come to its end.
        diesel::update(account::table)
            .set((account::in_flight.eq(true), account::updated_at.eq(0)))
            .execute(tx.conn())?;
        let configuration = settings::load(tx.conn())?;
        let stop = Pause {
            at: now,
            by: by.to_owned(),
            reason: Some(
                "restored from a backup: look at `usher plan` before `usher resume`".to_owned(),
            ),
        };
        for target in &configuration.targets {
            pause::pause(tx, &target.id, &stop, "usher restore")?;
        }
        for mapping in &configuration.mappings {
            let (from, to) = (&mapping.connection_id, &mapping.target_id);
            work::mark_all(tx, from, to, "restored from a backup", now)?;
        }
        settings::bump(tx)?;
        let detail = serde_json::json!({"targets_paused": configuration.targets.len()});
        let act = audit::NewAudit::act(now, by, "restore", &detail, "usher restore");
        audit::append(tx, &act)
    })
}

/// What was carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Each table with its rows.
    pub tables: Vec<(String, i64)>,
}

/// Carries everything from a SQLite file into an empty PostgreSQL database, in one transaction: all of it or
/// nothing. Nobody else may write to the file in the meantime.
pub fn copy_all(from: &DatabaseUrl, to: &DatabaseUrl) -> Result<Moved, Error> {
    let failed = |e: diesel::ConnectionError| Error::Open(e.to_string());
    let mut source = open(from).map_err(failed)?;
    migrate::run(&mut source)?;
    let mut sink = open(to).map_err(failed)?;
    migrate::run(&mut sink)?;
    let tables = tables_in_order(&mut source)?;
    exclusively(&mut sink, |tx| {
        for table in &tables {
            // The only row that a new database has.
            if table == "configuration" {
                continue;
            }
            if count(tx.conn(), table)? > 0 {
                return Err(Error::Open(format!(
                    "the database {to} is not empty: {table} has rows; take a new one"
                )));
            }
        }
        tx.conn().batch_execute("DELETE FROM configuration")?;
        let mut moved = Vec::new();
        for table in &tables {
            copy_table(&mut source, tx, table)?;
            let (before, after) = (count(&mut source, table)?, count(tx.conn(), table)?);
            if before != after {
                return Err(Error::Database(format!(
                    "{table}: {before} rows became {after}; nothing was moved"
                )));
            }
            moved.push((table.clone(), after));
        }
        Ok(Moved { tables: moved })
    })
}

/// The tables of a SQLite database, those before others that the others refer to.
fn tables_in_order(conn: &mut AnyConn) -> Result<Vec<String>, Error> {
    let mut left = lines(
        conn,
        &format!(
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name <> '{MIGRATIONS}' \
             AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
        ),
    )?;
    let mut order: Vec<String> = Vec::new();
    while !left.is_empty() {
        let mut later = Vec::new();
        for table in std::mem::take(&mut left) {
            let refers_to = lines(
                conn,
                &format!(
                    "SELECT DISTINCT \"table\" AS line FROM pragma_foreign_key_list('{table}')"
                ),
            )?;
            let known: BTreeSet<&String> = order.iter().collect();
            if refers_to.iter().all(|t| known.contains(t) || *t == table) {
                order.push(table);
            } else {
                later.push(table);
            }
        }
        if later.len() + order.len() == 0 || later.iter().all(|t| order.contains(t)) {
            break;
        }
        left = later;
    }
    Ok(order)
}

/// Rows as JSON: SQLite writes them, PostgreSQL reads them into the types of its columns.
fn copy_table(source: &mut AnyConn, tx: &mut Tx<'_>, table: &str) -> Result<(), Error> {
    let columns = lines(
        source,
        &format!("SELECT name AS line FROM pragma_table_info('{table}') ORDER BY cid"),
    )?;
    let object: Vec<String> = columns
        .iter()
        .map(|column| format!("'{column}', \"{column}\""))
        .collect();
    let object = object.join(", ");
    let select = format!("SELECT json_object({object}) AS line FROM \"{table}\"");
    let insert = format!(
        "INSERT INTO \"{table}\" SELECT * FROM json_populate_recordset(NULL::\"{table}\", $1::json)"
    );
    let mut put = |rows: &[String]| -> Result<(), Error> {
        let rows = format!("[{}]", rows.join(","));
        on_each!(tx.conn(), |c| diesel::sql_query(&insert)
            .bind::<Text, _>(rows)
            .execute(c))?;
        Ok(())
    };
    let AnyConn::Sqlite(source) = source else {
        return Err(Error::Open(
            "only a SQLite database is carried over".to_owned(),
        ));
    };
    let mut waiting = Vec::with_capacity(ROWS);
    for row in diesel::sql_query(select).load_iter::<Line, DefaultLoadingMode>(source)? {
        waiting.push(row?.line);
        if waiting.len() == ROWS {
            put(&waiting)?;
            waiting.clear();
        }
    }
    if !waiting.is_empty() {
        put(&waiting)?;
    }
    Ok(())
}

fn lines(conn: &mut AnyConn, sql: &str) -> Result<Vec<String>, Error> {
    let rows: Vec<Line> = on_each!(conn, |c| diesel::sql_query(sql).load(c))?;
    Ok(rows.into_iter().map(|row| row.line).collect())
}

fn count(conn: &mut AnyConn, table: &str) -> Result<i64, Error> {
    let sql = format!("SELECT count(*) AS count FROM \"{table}\"");
    let rows: Vec<Count> = on_each!(conn, |c| diesel::sql_query(sql).load(c))?;
    Ok(rows.first().map_or(0, |row| row.count))
}
