//! The store, on both databases: its schema, its transactions, its filters and pages.

mod durable;
mod filters;
mod race;
mod schema;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use usher::domain::{ConnectionId, ConnectionKind, ConnectionSettings};
use usher::store::{self, Store, settings};

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The number that a statement gives as `n`.
pub(crate) async fn number(store: &Store, sql: &str) -> i64 {
    let sql = sql.to_owned();
    store
        .read(move |conn| -> Result<i64, store::Error> {
            Ok(diesel::sql_query(sql).get_result::<Number>(conn)?.n)
        })
        .await
        .unwrap()
}

/// The texts that a statement gives as `line`.
pub(crate) async fn lines(store: &Store, sql: &str) -> Vec<String> {
    let sql = sql.to_owned();
    store
        .read(move |conn| -> Result<Vec<String>, store::Error> {
            let rows: Vec<Line> = diesel::sql_query(sql).load(conn)?;
            Ok(rows.into_iter().map(|row| row.line).collect())
        })
        .await
        .unwrap()
}

/// Runs statements that give nothing.
pub(crate) async fn execute(store: &Store, sql: &str) {
    let sql = sql.to_owned();
    store
        .write(move |tx| -> Result<(), store::Error> { Ok(tx.conn().batch_execute(&sql)?) })
        .await
        .unwrap();
}

/// Lets a SQLite file have so many pages, or as many as it has if that is more: as if the disk were full.
pub(crate) async fn limit(store: &Store, pages: u32) {
    execute(store, &format!("PRAGMA max_page_count = {pages}")).await;
}

/// Makes a connection.
pub(crate) async fn connection(store: &Store, name: &str) -> ConnectionId {
    let settings = ConnectionSettings::new(name, ConnectionKind::Scim);
    store
        .write(move |tx| -> Result<ConnectionId, store::Error> {
            Ok(settings::put_connection(tx, &settings, 0)?.0)
        })
        .await
        .unwrap()
}
