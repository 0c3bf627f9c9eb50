//! The one thread that writes to SQLite.
//!
//! It takes every write that is waiting into one transaction and commits them together, so that `synchronous=FULL`
//! costs one sync for all of them, and answers only after the commit.
//!
//! A write that fails, or that finds nothing to change, must leave nothing behind and do the others no harm. A
//! savepoint for each sees to that, but has SQLite copy every page that is touched once more, a tenth of the time of
//! a write. Few fail, so they go without; after one that did, the transaction is rolled back and all of its writes
//! are done again, each in a savepoint.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use tokio::sync::oneshot;

use super::conn::{AnyConn, Transactions, Tx, open, status};
use super::error::{Error, take_full};
use crate::config::server::DatabaseUrl;

/// How many writes may wait; whoever comes after them waits for a place.
const QUEUE: usize = 1024;
/// How many writes share one commit at the most: bounds how long the first of them waits.
const BATCH: usize = 256;
/// How long a commit waits for as many writes as the last one had. Writers that wait for their answers send the
/// next ones together, a moment after the last commit; without this they would be committed in ones and twos.
const GATHERING: Duration = Duration::from_micros(100);
/// For how many transactions each write has a savepoint after one had to be undone: what is pushed again unchanged
/// comes in long rows, and to do everything twice costs far more than savepoints.
const CAREFUL: u32 = 16;

/// A write, and whoever waits for it.
trait Job: Send {
    /// Does it in the open transaction. Returns whether that is to stay. May be called again after a rollback.
    fn run(&mut self, conn: &mut AnyConn) -> bool;
    /// Tells the caller how it ended.
    fn end(self: Box<Self>, committed: Result<(), Error>);
}

struct Write<T, E, F> {
    f: F,
    result: Option<Result<T, E>>,
    /// Whether there are more or fewer users or groups than before.
    population_changed: bool,
    population: Arc<AtomicU64>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: From<Error> + Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
{
    fn run(&mut self, conn: &mut AnyConn) -> bool {
        let mut tx = Tx::new(conn);
        let f = &mut self.f;
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut tx)))
            .unwrap_or_else(|_| Err(Error::Panicked.into()));
        let stays = result.is_ok() && !tx.discard;
        self.population_changed = tx.population && stays;
        self.result = Some(result);
        stays
    }

    fn end(self: Box<Self>, committed: Result<(), Error>) {
        // Before the answer: whoever was told of a new user must not be shown the old total.
        if self.population_changed {
            self.population.fetch_add(1, Ordering::Release);
        }
        // What came of it may rest on writes before it: a name that was taken by one of them is not, if nothing was
        // committed.
        let result = match (self.result, committed) {
            (Some(result), Ok(())) => result,
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(Error::Closed.into()),
        };
        // Nobody may be waiting any more.
        let _ = self.reply.send(result);
    }
}

/// The way to the thread. It ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Writer(SyncSender<Box<dyn Job>>);

impl Writer {
    /// Starts the thread, which writes through this connection.
    pub(super) fn start(url: &DatabaseUrl, conn: AnyConn) -> Result<Self, Error> {
        let (sender, queue) = sync_channel(QUEUE);
        let mut thread = Thread {
            url: url.clone(),
            conn,
            queue,
            expected: 1,
            careful: 0,
        };
        thread.set_up()?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run())
            .map_err(|e| Error::Open(format!("cannot start the writer thread: {e}")))?;
        Ok(Self(sender))
    }

    /// See [`super::Store::write`].
    pub(super) async fn write<T, E, F>(&self, population: Arc<AtomicU64>, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write {
            f,
            result: None,
            population_changed: false,
            population,
            reply,
        });
        match self.0.try_send(job) {
            Ok(()) => {}
            // The queue is bounded so that memory is; wait for a place off the async threads.
            Err(TrySendError::Full(job)) => {
                let sender = self.0.clone();
                tokio::task::spawn_blocking(move || sender.send(job))
                    .await
                    .map_err(|_| Error::Closed)?
                    .map_err(|_| Error::Closed)?;
            }
            Err(TrySendError::Disconnected(_)) => return Err(Error::Closed.into()),
        }
        answer.await.map_err(|_| Error::Closed)?
    }
}

struct Thread {
    url: DatabaseUrl,
    conn: AnyConn,
    queue: Receiver<Box<dyn Job>>,
    /// How many writes the last commit had.
    expected: usize,
    /// For how many transactions more each write has a savepoint.
    careful: u32,
}

impl Thread {
    fn set_up(&mut self) -> Result<(), Error> {
        // It alone keeps its pages from one write to the next: readers start anew after each commit of another.
        self.conn.batch_execute("PRAGMA cache_size = -4096")?;
        Ok(())
    }

    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let mut batch = vec![first];
            let committed = self.write(&mut batch);
            if committed.is_err() {
                self.roll_back();
            }
            self.expected = batch.len();
            for job in batch {
                job.end(committed.clone());
            }
        }
    }

    /// Writes the batch and what comes in meanwhile in one transaction.
    fn write(&mut self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), Error> {
        self.begin()?;
        let begun = Instant::now();
        let mut with_savepoints = self.careful > 0;
        self.careful = self.careful.saturating_sub(1);
        let mut done = 0;
        loop {
            while let Some(job) = batch.get_mut(done) {
                done += 1;
                let stays = if with_savepoints {
                    in_savepoint(&mut self.conn, job.as_mut())?
                } else {
                    job.run(&mut self.conn)
                };
                if stays {
                    continue;
                }
                if !with_savepoints {
                    self.roll_back();
                    if batch.len() == 1 {
                        // It shared the transaction with nobody.
                        return Ok(());
                    }
                    self.begin()?;
                    with_savepoints = true;
                    done = 0;
                }
                self.careful = CAREFUL;
            }
            match self.next(batch.len(), begun) {
                Some(job) => batch.push(job),
                None => break,
            }
        }
        Transactions::commit_transaction(&mut self.conn)?;
        Ok(())
    }

    /// What else the commit can take along.
    fn next(&self, waiting: usize, begun: Instant) -> Option<Box<dyn Job>> {
        if waiting >= BATCH {
            return None;
        }
        self.queue.try_recv().ok().or_else(|| {
            let left = GATHERING.checked_sub(begun.elapsed())?;
            (waiting < self.expected)
                .then(|| self.queue.recv_timeout(left).ok())
                .flatten()
        })
    }

    fn begin(&mut self) -> Result<(), Error> {
        if status(&mut self.conn).transaction_depth().is_err() {
            // A rollback failed, so nobody knows where this connection stands; it would refuse all writes to come.
            self.conn = open(&self.url).map_err(|e| Error::Unavailable(e.to_string()))?;
            self.set_up()?;
        }
        // IMMEDIATE: a deferred transaction that reads before it writes fails at once when another process writes,
        // whatever the busy time-out says.
        match &mut self.conn {
            AnyConn::Sqlite(c) => {
                AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")
            }
            AnyConn::Postgres(c) => AnsiTransactionManager::begin_transaction(c),
        }?;
        Ok(())
    }

    /// Leaves nothing of the transaction. The database may have ended it by itself.
    fn roll_back(&mut self) {
        while let Ok(Some(_)) = status(&mut self.conn).transaction_depth() {
            if Transactions::rollback_transaction(&mut self.conn).is_err() {
                break;
            }
        }
    }
}

/// Does one write in a savepoint and undoes it if it is not to stay, which it returns. An error: the transaction is no
/// more. SQLite itself ends it when the disk is full or fails; whatever came after that would be committed by itself.
fn in_savepoint(conn: &mut AnyConn, job: &mut dyn Job) -> Result<bool, Error> {
    Transactions::begin_transaction(conn)?;
    take_full();
    let stays = job.run(conn);
    let ended = if stays {
        Transactions::commit_transaction(conn)
    } else {
        Transactions::rollback_transaction(conn)
    };
    match ended {
        Ok(()) => Ok(stays),
        Err(_) if take_full() => Err(Error::Full),
        Err(error) => Err(Error::Unavailable(format!(
            "another write ended the transaction that this one was part of: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Store, settings};
    use super::*;

    #[tokio::test]
    async fn a_connection_that_nobody_knows_the_state_of_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
        let store = Store::open(&url).unwrap();
        let lost = store
            .write(|tx| -> Result<(), Error> {
                settings::bump(tx)?;
                status(tx.conn()).set_in_error();
                Ok(())
            })
            .await;
        assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
        assert_eq!(store.read(settings::generation).await, Ok(0));
        let written = store.write(settings::bump).await;
        assert_eq!(written, Ok(()));
        assert_eq!(store.read(settings::generation).await, Ok(1));
    }
}
