//! Transactions: all or nothing, durable, and a failure is nobody else's.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use serde_json::json;
use tokio::task::JoinSet;
use usher::config::server::DatabaseUrl;
use usher::domain::ConnectionId;
use usher::scim::Doc;
use usher::store::{self, Store, Tx, groups, users};

use super::super::harness::databases;
use super::{connection, limit, lines, number};

fn user(name: &str) -> users::Prepared {
    let doc: Doc = serde_json::from_value(json!({"userName": name, "active": true})).unwrap();
    users::prepare(&doc).unwrap()
}

async fn insert(
    store: &Store,
    connection: &ConnectionId,
    name: String,
) -> Result<(), store::Error> {
    let connection = connection.clone();
    store
        .write(move |tx| users::insert(tx, &connection, &user(&name), 0).map(|_| ()))
        .await
}

async fn users_in(store: &Store) -> i64 {
    number(store, "SELECT count(*) AS n FROM scim_user").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_takes_everything_back() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        let owner = connection.clone();
        let result: Result<(), store::Error> = store
            .write(move |tx| {
                users::insert(tx, &owner, &user("ada"), 0)?;
                let doc: Doc = serde_json::from_value(json!({"displayName": "g"})).unwrap();
                let group = groups::insert(tx, &owner, &doc, 0)?;
                groups::add_member(tx, &group.id, "x", groups::MemberType::Unknown)?;
                Err(store::Error::Corrupt("on purpose".to_owned()))
            })
            .await;
        assert_eq!(result, Err(store::Error::Corrupt("on purpose".to_owned())));
        for table in ["scim_user", "scim_group", "membership"] {
            let left = number(&store, &format!("SELECT count(*) AS n FROM {table}")).await;
            assert_eq!(left, 0, "{} {table}", database.name);
        }
        // A statement that fails poisons its own transaction only.
        insert(&store, &connection, "ada".to_owned()).await.unwrap();
        let owner = connection.clone();
        let result: Result<(), store::Error> = store
            .write(move |tx| {
                users::insert(tx, &owner, &user("bob"), 0)?;
                users::insert(tx, &owner, &user("ADA"), 0).map(|_| ())
            })
            .await;
        assert!(
            matches!(&result, Err(store::Error::Conflict { .. })),
            "{result:?}"
        );
        assert_eq!(users_in(&store).await, 1, "{}", database.name);
        insert(&store, &connection, "bob".to_owned()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_not_stored() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        let mut runs = 0;
        let answer = store
            .write(move |tx| -> Result<u8, store::Error> {
                runs += 1;
                users::insert(tx, &connection, &user("ada"), 0)?;
                tx.discard();
                Ok(runs)
            })
            .await;
        // It was alone, so there was no need to do anything again.
        assert_eq!(answer, Ok(1));
        assert_eq!(users_in(&store).await, 0, "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_harms_only_itself() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        let mut tasks = JoinSet::new();
        // More than there are connections, so that a lost one would be missed.
        for n in 0..40 {
            let (store, connection) = (store.clone(), connection.clone());
            tasks.spawn(async move {
                if n % 2 == 0 {
                    return insert(&store, &connection, format!("u{n}")).await;
                }
                let name = format!("u{n}");
                store
                    .write(move |tx: &mut Tx<'_>| -> Result<(), store::Error> {
                        users::insert(tx, &connection, &user(&name), 0)?;
                        panic!("on purpose")
                    })
                    .await
            });
        }
        let (mut done, mut panicked) = (0, 0);
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(()) => done += 1,
                Err(store::Error::Panicked) => panicked += 1,
                Err(other) => panic!("{}: {other}", database.name),
            }
        }
        assert_eq!((done, panicked), (20, 20), "{}", database.name);
        assert_eq!(users_in(&store).await, 20, "{}", database.name);
        let read: Result<(), store::Error> = store.read(|_| panic!("on purpose")).await;
        assert_eq!(read, Err(store::Error::Panicked));
        assert_eq!(users_in(&store).await, 20, "{}", database.name);
    }
}

/// What a write ends with.
type Ending<'a> = Pin<Box<dyn Future<Output = Result<u32, store::Error>> + 'a>>;

/// Begins writes that on SQLite share one transaction: while the first of them is at work, the others queue up.
async fn together<'a>(store: &'a Store, writes: Vec<Ending<'a>>) -> Vec<Result<u32, store::Error>> {
    let (release, released) = mpsc::channel::<()>();
    let first: Ending<'a> = Box::pin(store.write(move |_| {
        // Closed the second time, if there is one.
        let _ = released.recv();
        Ok(0)
    }));
    let mut all = vec![first];
    all.extend(writes);
    let mut early = Vec::new();
    for write in &mut all {
        early.push(poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await);
    }
    drop(release);
    let mut ended = Vec::new();
    for (write, early) in all.into_iter().zip(early) {
        ended.push(match early {
            Poll::Ready(ending) => ending,
            Poll::Pending => write.await,
        });
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shares_a_commit_is_not_harmed_by_a_write_that_is_undone() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        insert(&store, &connection, "ada".to_owned()).await.unwrap();
        for turn in 0..2 {
            let runs = Arc::new(AtomicU32::new(0));
            let write = |names: [String; 2], end: fn(&mut Tx<'_>) -> Result<(), store::Error>| {
                let (connection, runs) = (connection.clone(), runs.clone());
                let mut own = 0;
                let ending: Ending<'_> = Box::pin(store.write(move |tx| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    own += 1;
                    for name in &names {
                        users::insert(tx, &connection, &user(name), 0)?;
                    }
                    end(tx).map(|()| own)
                }));
                ending
            };
            let names = |name: &str| [format!("{name}-{turn}-1"), format!("{name}-{turn}-2")];
            let writes = vec![
                write(names("a"), |_| Ok(())),
                write(
                    ["b".to_owned() + &turn.to_string(), "ADA".to_owned()],
                    |_| Ok(()),
                ),
                write(names("c"), |_| Ok(())),
                write(names("d"), |tx| {
                    tx.discard();
                    Ok(())
                }),
                write(names("e"), |_| panic!("on purpose")),
                write(names("f"), |_| Ok(())),
            ];
            let ended = together(&store, writes).await;
            let conflict = matches!(ended[2], Err(store::Error::Conflict { .. }));
            assert!(conflict, "{}: {ended:?}", database.name);
            assert_eq!(ended[5], Err(store::Error::Panicked), "{}", database.name);
            for done in [1, 3, 4, 6] {
                assert!(ended[done].is_ok(), "{}: {ended:?}", database.name);
            }
            let stored = lines(
                &store,
                "SELECT user_name AS line FROM scim_user ORDER BY user_name",
            )
            .await;
            let mut expected = vec!["ada".to_owned()];
            for done in 0..=turn {
                for name in ["a", "c", "f"] {
                    expected.extend([format!("{name}-{done}-1"), format!("{name}-{done}-2")]);
                }
            }
            expected.sort();
            assert_eq!(stored, expected, "{}", database.name);
            // The first time the first two of the six are done twice; after that there are savepoints.
            let repeated = u32::from(turn == 0 && !store.is_shared()) * 2;
            assert_eq!(
                runs.load(Ordering::SeqCst),
                6 + repeated,
                "{}",
                database.name
            );
        }
        // The total is known again although writes were undone.
        assert_eq!(users_in(&store).await, 13, "{}", database.name);
    }
}

/// SQLite ends a transaction by itself when it finds no room in the middle of a statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_ends_nothing_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
    let store = Store::open(&url).unwrap();
    let connection = connection(&store, "corp").await;
    limit(&store, 1).await;
    let write = |name: &str, size: usize| {
        let (name, connection) = (name.to_owned(), connection.clone());
        let ending: Ending<'_> = Box::pin(store.write(move |tx| {
            let doc = json!({"userName": &name, "active": true, "title": "x".repeat(size)});
            let doc: Doc = serde_json::from_value(doc).unwrap();
            users::insert(tx, &connection, &users::prepare(&doc)?, 0).map(|_| 1)
        }));
        ending
    };
    for turn in 0..2 {
        let [before, after] = ["before", "after"].map(|name| format!("{name} {turn}"));
        let writes = vec![
            write(&before, 1),
            write(&before, 1),
            write("large", 1_000_000),
            write(&after, 1),
        ];
        let ended = together(&store, writes).await;
        // It, and whoever shared its transaction: the name is not taken, as nobody got it.
        for shared in &ended[..4] {
            assert_eq!(*shared, Err(store::Error::Full));
        }
        // Nobody was told anything else than what is so.
        for (name, ending) in [(before, &ended[1]), (after, &ended[4])] {
            let sql = format!("SELECT count(*) AS n FROM scim_user WHERE user_name = '{name}'");
            let stored = number(&store, &sql).await;
            assert_eq!(stored, i64::from(ending.is_ok()), "{name}: {ended:?}");
        }
    }
    limit(&store, 1_000_000).await;
    write("large", 1_000_000).await.unwrap();
    write("c", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_reopening() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        let mut tasks = JoinSet::new();
        for n in 0..600 {
            let (store, connection) = (store.clone(), connection.clone());
            tasks.spawn(async move { insert(&store, &connection, format!("u{n}")).await });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap().unwrap();
        }
        drop(store);
        let store = database.open();
        assert_eq!(users_in(&store).await, 600, "{}", database.name);
        let reader = connection.clone();
        let there = store
            .read(move |conn| {
                users::list(
                    conn,
                    &store::PageQuery {
                        connection: reader,
                        filter: None,
                        start_index: 1,
                        count: 1000,
                        sort: None,
                        after: None,
                        total: None,
                    },
                )
            })
            .await
            .unwrap();
        assert_eq!(there.items.len(), 600);
    }
}

/// Another process, such as `usher apply` beside a server, is another store on the same file.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_at_the_same_time() {
    for database in databases() {
        let (one, two) = (database.open(), database.open());
        let connection = connection(&one, "corp").await;
        let mut tasks = JoinSet::new();
        for n in 0..200 {
            let store = if n % 2 == 0 { one.clone() } else { two.clone() };
            let connection = connection.clone();
            tasks.spawn(async move { insert(&store, &connection, format!("u{n}")).await });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap().unwrap();
        }
        assert_eq!(users_in(&one).await, 200, "{}", database.name);
        assert_eq!(users_in(&two).await, 200, "{}", database.name);
    }
}

/// Two transactions that lock two rows in opposite order: one of them is repeated, none fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_repeated() {
    for database in databases() {
        let store = database.open();
        let connection = connection(&store, "corp").await;
        let mut ids = Vec::new();
        for name in ["a", "b"] {
            let owner = connection.clone();
            ids.push(
                store
                    .write(move |tx| users::insert(tx, &owner, &user(name), 0))
                    .await
                    .unwrap()
                    .id,
            );
        }
        let runs = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..40 {
            let (store, connection, runs) = (store.clone(), connection.clone(), runs.clone());
            let mut order = ids.clone();
            if n % 2 == 0 {
                order.reverse();
            }
            tasks.spawn(async move {
                store
                    .write(move |tx| -> Result<(), store::Error> {
                        runs.fetch_add(1, Ordering::SeqCst);
                        for id in &order {
                            users::lock(tx, &connection, id)?;
                        }
                        Ok(())
                    })
                    .await
            });
        }
        while let Some(result) = tasks.join_next().await {
            result
                .unwrap()
                .unwrap_or_else(|e| panic!("{}: {e}", database.name));
        }
        assert!(runs.load(Ordering::SeqCst) >= 40);
        // 40 locks each, of which none was lost.
        assert_eq!(
            number(
                &store,
                "SELECT CAST(sum(version) AS BIGINT) AS n FROM scim_user"
            )
            .await,
            82,
            "{}",
            database.name
        );
    }
}

#[test]
fn a_database_that_is_not_known_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "mysql:usher.db",
        "file:usher.db",
        "sqlite:file:usher.db?mode=memory",
    ] {
        let path = folder.path().join(text);
        assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        assert!(!path.exists());
    }
    let missing = folder.path().join("no/such/folder/usher.db");
    let error = Store::open(&DatabaseUrl::Sqlite(missing)).unwrap_err();
    assert!(matches!(error, store::Error::Open(_)), "{error}");
    let error = Store::open(&"postgres://usher:s3cret@127.0.0.1:1/usher".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(!error.contains("s3cret"), "{error}");
}

/// Personal data: nobody else on the machine may read the file.
#[cfg(unix)]
#[test]
fn the_file_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usher.db");
    let _open = Store::open(&DatabaseUrl::Sqlite(path)).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}
