//! Both databases have the same schema, and it is the one that `src/store/schema.rs` states.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use usher::store::{self, Store, migrate};

use super::super::harness::{Database, databases};
use super::lines;

/// What a schema is, in one spelling for both databases.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Table to column to type, a question mark after what may be null.
    columns: BTreeMap<String, BTreeMap<String, String>>,
    /// `table(column,…)`, with what limits the index.
    unique: BTreeSet<String>,
    /// `table.column -> table on delete`
    references: BTreeSet<String>,
    /// `table(column,…)` of the other indexes.
    indexes: BTreeSet<String>,
}

const SQLITE_TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_\\_%' ESCAPE '\\' \
     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

async fn shape(database: &Database, store: &Store) -> Shape {
    let (columns, indexes, references) = if database.name == "sqlite" {
        (
            format!(
                "SELECT t.name || '.' || c.name || ' ' || upper(c.type) || \
                 CASE c.\"notnull\" WHEN 1 THEN '' ELSE '?' END AS line \
                 FROM ({SQLITE_TABLES}) t JOIN pragma_table_info(t.name) c"
            ),
            format!(
                "SELECT CASE i.\"unique\" WHEN 1 THEN 'unique ' ELSE 'plain ' END || t.name || '(' || \
                 (SELECT group_concat(name, ',') FROM (SELECT c.name FROM pragma_index_info(i.name) c ORDER BY c.seqno)) \
                 || ')' || CASE i.partial WHEN 1 THEN ' where ' || \
                 lower(substr(s.sql, instr(s.sql, ' WHERE ') + 7)) ELSE '' END AS line \
                 FROM ({SQLITE_TABLES}) t JOIN pragma_index_list(t.name) i \
                 LEFT JOIN sqlite_master s ON s.name = i.name \
                 UNION ALL SELECT 'unique ' || t.name || '(' || c.name || ')' AS line \
                 FROM ({SQLITE_TABLES}) t JOIN pragma_table_info(t.name) c WHERE c.pk = 1 AND upper(c.type) = 'INTEGER'"
            ),
            format!(
                "SELECT t.name || '.' || f.\"from\" || ' -> ' || f.\"table\" || '.' || f.\"to\" || ' ' || \
                 lower(f.on_delete) AS line \
                 FROM ({SQLITE_TABLES}) t JOIN pragma_foreign_key_list(t.name) f"
            ),
        )
    } else {
        (
            "SELECT table_name || '.' || column_name || ' ' || upper(data_type) || \
             CASE is_nullable WHEN 'NO' THEN '' ELSE '?' END AS line FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'"
                .to_owned(),
            "SELECT CASE WHEN x.indisunique THEN 'unique ' ELSE 'plain ' END || t.relname || '(' || \
             (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(x.indkey::int[]) WITH ORDINALITY k (attnum, n) \
              JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) || ')' || \
             coalesce(' where ' || lower(trim(both '()' from pg_get_expr(x.indpred, x.indrelid))), '') AS line \
             FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace s ON s.oid = t.relnamespace \
             WHERE s.nspname = 'public' AND t.relname NOT LIKE '\\_\\_%'"
                .to_owned(),
            "SELECT t.relname || '.' || a.attname || ' -> ' || r.relname || '.' || b.attname || ' ' || \
             CASE c.confdeltype WHEN 'c' THEN 'cascade' WHEN 'a' THEN 'no action' ELSE c.confdeltype::text END AS line \
             FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid \
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] \
             JOIN pg_attribute b ON b.attrelid = r.oid AND b.attnum = c.confkey[1] WHERE c.contype = 'f'"
                .to_owned(),
        )
    };
    let mut shape = Shape {
        columns: BTreeMap::new(),
        unique: BTreeSet::new(),
        references: lines(store, &references).await.into_iter().collect(),
        indexes: BTreeSet::new(),
    };
    for line in lines(store, &columns).await {
        let (place, kind) = line.split_once(' ').unwrap();
        let (table, column) = place.split_once('.').unwrap();
        shape
            .columns
            .entry(table.to_owned())
            .or_default()
            .insert(column.to_owned(), kind.to_owned());
    }
    for line in lines(store, &indexes).await {
        match line.split_once(' ').unwrap() {
            ("unique", rest) => shape.unique.insert(rest.to_owned()),
            (_, rest) => shape.indexes.insert(rest.to_owned()),
        };
    }
    shape
}

async fn down(store: &Store) {
    store
        .write(|tx| -> Result<(), store::Error> { migrate::revert(tx.conn()) })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_go_up_down_and_up_again_to_one_schema() {
    let mut shapes = Vec::new();
    for database in databases() {
        let store = database.open();
        let first = shape(&database, &store).await;
        assert!(first.columns.len() >= 15, "{first:?}");
        down(&store).await;
        let nothing = shape(&database, &store).await;
        assert!(nothing.columns.is_empty(), "left behind: {nothing:?}");
        drop(store);
        let store = database.open();
        let again = shape(&database, &store).await;
        assert_eq!(first, again, "{}", database.name);
        // Opening what is up to date changes nothing.
        assert_eq!(shape(&database, &database.open()).await, again);
        shapes.push(again);
    }
    if let [sqlite, postgres] = shapes.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_what_the_source_states() {
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema.rs"))
            .unwrap();
    let stated = stated(&source);
    for database in databases() {
        let found = shape(&database, &database.open()).await.columns;
        assert_eq!(found, stated, "{}", database.name);
    }
}

/// The `table!` macros in the spelling of SQL.
fn stated(source: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    source
        .split("diesel::table! {")
        .skip(1)
        .map(|body| {
            let (name, rest) = body.split_once('(').unwrap();
            let columns = rest.split_once('{').unwrap().1.split_once('}').unwrap().0;
            let columns = columns
                .split(',')
                .filter_map(|line| line.trim().split_once(" -> "))
                .map(|(column, kind)| {
                    let (kind, mark) = match kind.strip_prefix("Nullable<") {
                        Some(inner) => (inner.trim_end_matches('>'), "?"),
                        None => (kind, ""),
                    };
                    let kind = match kind {
                        "Bool" => "BOOLEAN".to_owned(),
                        other => other.to_uppercase(),
                    };
                    (column.trim().to_owned(), format!("{kind}{mark}"))
                })
                .collect();
            (name.trim().to_owned(), columns)
        })
        .collect()
}

#[test]
fn every_migration_is_there_for_both() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let names = |kind: &str| -> BTreeSet<String> {
        std::fs::read_dir(folder.join(kind))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                for file in ["up.sql", "down.sql"] {
                    let path = entry.path().join(file);
                    assert!(path.is_file(), "{} is missing", path.display());
                }
                entry.file_name().into_string().unwrap()
            })
            .collect()
    };
    let sqlite = names("sqlite");
    assert!(!sqlite.is_empty());
    assert_eq!(sqlite, names("postgres"));
}

/// A server may stop between two migrations; what is done is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_migrate_once() {
    for database in databases() {
        let opened: Vec<_> = (0..4)
            .map(|_| {
                let database = database.clone();
                std::thread::spawn(move || {
                    Store::open(&database.url).unwrap();
                })
            })
            .collect();
        for thread in opened {
            thread
                .join()
                .unwrap_or_else(|_| panic!("{}: a start failed", database.name));
        }
    }
}
