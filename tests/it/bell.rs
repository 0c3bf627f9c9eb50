//! Servers on one PostgreSQL wake each other, and go on looking for work where they cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use usher::store::bell::Bell;

use super::harness::{postgres, sqlite};

/// A bell that counts how often others ring.
fn hang(url: &usher::config::DatabaseUrl) -> (Bell, Arc<AtomicUsize>) {
    let (bell, heard) = (Bell::default(), Arc::new(AtomicUsize::new(0)));
    let count = heard.clone();
    bell.hang(url, move || {
        count.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    (bell, heard)
}

async fn becomes(count: &AtomicUsize, more_than: usize) -> bool {
    for _ in 0..500 {
        if count.load(Ordering::SeqCst) > more_than {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_hears_the_others_and_not_itself_and_comes_back_after_a_cut() {
    let Some(database) = postgres() else { return };
    let store = database.open();
    let ((own, heard), (other, by_other)) = (hang(&database.url), hang(&database.url));
    // Each looks once when it begins to listen.
    assert!(becomes(&heard, 0).await && becomes(&by_other, 0).await);
    let before = heard.load(Ordering::SeqCst);
    own.ring();
    assert!(becomes(&by_other, 1).await, "nobody heard");
    assert_eq!(heard.load(Ordering::SeqCst), before, "it woke itself");

    // The database ends every connection; both come back, and look once more.
    let cut = "SELECT count(pg_terminate_backend(pid))::text AS line FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '^(LISTEN|NOTIFY) usher_work'";
    let lost = super::store::lines(&store, cut).await;
    assert_eq!(lost, ["2"]);
    let at = (
        heard.load(Ordering::SeqCst),
        by_other.load(Ordering::SeqCst),
    );
    assert!(becomes(&heard, at.0).await && becomes(&by_other, at.1).await);
    let at = heard.load(Ordering::SeqCst);
    other.ring();
    assert!(becomes(&heard, at).await, "nobody heard after the cut");

    // A dropped bell lets go of its connection.
    drop((own, other));
    let left = "SELECT count(*)::text AS line FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '^(LISTEN|NOTIFY) usher_work'";
    for _ in 0..500 {
        if super::store::lines(&store, left).await == ["0"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a connection stays");
}

#[test]
fn on_sqlite_there_is_nobody_to_ring_for() {
    let (bell, heard) = hang(&sqlite().url);
    bell.ring();
    assert_eq!(heard.load(Ordering::SeqCst), 0);
}
