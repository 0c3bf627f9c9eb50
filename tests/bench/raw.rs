//! The baseline for writes: what SQLite itself takes for the rows of one create, so many of them in each commit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use usher::domain::new_id;
use usher::scim::{Dialect, ResourceType, fold, resource};

use crate::http::Sample;
use crate::people;

/// How many creates share a commit in the baseline.
pub(crate) const BATCH: usize = 50;

diesel::table! {
    connection (id) {
        id -> Text,
    }
}

diesel::table! {
    scim_user (id) {
        id -> Text,
        connection_id -> Text,
        user_name -> Text,
        user_name_ci -> Text,
        external_id -> Nullable<Text>,
        display_name_ci -> Nullable<Text>,
        active -> Bool,
        doc -> Text,
        search -> Text,
        version -> BigInt,
        created_at -> BigInt,
        modified_at -> BigInt,
    }
}

diesel::table! {
    user_email (user_id, value_ci) {
        user_id -> Text,
        value_ci -> Text,
    }
}

/// The rows of one create.
pub(crate) struct Rows {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) search: String,
}

/// A database with the server's own schema, written to without the server.
pub(crate) struct Raw {
    conn: SqliteConnection,
    connection: String,
    made: usize,
}

impl Raw {
    /// Opens a file that `usher apply` has made, as durably as the server does.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut conn = SqliteConnection::establish(path.to_str().context("not UTF-8")?)?;
        conn.batch_execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY;",
        )?;
        let connection = connection::table.select(connection::id).first(&mut conn)?;
        Ok(Self {
            conn,
            connection,
            made: 0,
        })
    }

    /// Inserts until there are `count` users.
    pub(crate) fn fill_up(&mut self, count: usize) -> anyhow::Result<()> {
        while self.made < count {
            let rows = self.prepare(BATCH)?;
            self.insert(&rows)?;
        }
        Ok(())
    }

    /// Inserts for so long, so many creates in each commit. The time that the rows take to be made is left out: it is
    /// no work of SQLite.
    pub(crate) fn measure(&mut self, limit: Duration, batch: usize) -> anyhow::Result<Sample> {
        let mut sample = Sample::default();
        while sample.elapsed < limit {
            let rows = self.prepare(batch)?;
            let started = Instant::now();
            self.insert(&rows)?;
            let taken = started.elapsed();
            sample.elapsed += taken;
            sample
                .latencies
                .extend(std::iter::repeat_n(taken, rows.len()));
        }
        Ok(sample)
    }

    fn prepare(&mut self, batch: usize) -> anyhow::Result<Vec<Rows>> {
        let first = self.made;
        self.made += batch;
        (first..self.made)
            .map(|n| {
                let name = format!("raw{n:06}@example.com");
                let change =
                    resource::parse_create(ResourceType::User, Dialect::Rfc, people::user(&name))?;
                Ok(Rows {
                    id: new_id(),
                    doc: serde_json::to_string(&change.doc)?,
                    search: fold::fold_to_text(ResourceType::User, &change.doc)?,
                    name,
                })
            })
            .collect()
    }

    fn insert(&mut self, batch: &[Rows]) -> anyhow::Result<()> {
        self.begin()?;
        for rows in batch {
            self.put(rows)?;
        }
        self.commit()
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        self.conn.batch_execute("BEGIN IMMEDIATE")?;
        Ok(())
    }

    /// Inserts the rows of one create.
    pub(crate) fn put(&mut self, rows: &Rows) -> anyhow::Result<()> {
        let users = diesel::insert_into(scim_user::table)
            .values((
                scim_user::id.eq(&rows.id),
                scim_user::connection_id.eq(&self.connection),
                scim_user::user_name.eq(&rows.name),
                scim_user::user_name_ci.eq(&rows.name),
                scim_user::external_id.eq(Some(format!("ext-{}", rows.name))),
                scim_user::display_name_ci.eq(Some("ada byron")),
                scim_user::active.eq(true),
                scim_user::doc.eq(&rows.doc),
                scim_user::search.eq(&rows.search),
                scim_user::version.eq(1),
                scim_user::created_at.eq(1_750_000_000_000_000),
                scim_user::modified_at.eq(1_750_000_000_000_000),
            ))
            .execute(&mut self.conn)?;
        let emails = diesel::insert_into(user_email::table)
            .values((
                user_email::user_id.eq(&rows.id),
                user_email::value_ci.eq(&rows.name),
            ))
            .execute(&mut self.conn)?;
        ensure!(users == 1 && emails == 1, "a row was not inserted");
        Ok(())
    }

    /// Commits what was put.
    pub(crate) fn commit(&mut self) -> anyhow::Result<()> {
        self.conn.batch_execute("COMMIT")?;
        Ok(())
    }
}
