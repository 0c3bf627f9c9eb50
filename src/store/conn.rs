//! Connections: one enum for both databases, the pools, and the two doors `read` and `write`.
//!
//! On SQLite one thread writes (see `writer`). On PostgreSQL every write has a transaction of its own, repeated
//! when the database asks for it (deadlock, serialisation failure).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::backend::Backend;
use diesel::connection::{SimpleConnection, TransactionManager, TransactionManagerStatus};
use diesel::pg::PgConnection;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::r2d2::{ManageConnection, PooledConnection};
use diesel::sqlite::SqliteConnection;
use diesel::{Connection, ConnectionResult, QueryResult, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;
use super::writer::Writer;
use crate::config::server::DatabaseUrl;

/// A connection to either database. The same query text serves both; see `on_each!` for what the enum
/// itself cannot express.
#[derive(diesel::MultiConnection)]
pub enum AnyConn {
    /// PostgreSQL.
    Postgres(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

/// Pastes one body into an arm for each database, so that it is type-checked for both and written once.
/// Needed for `ON CONFLICT`, batch inserts and `sql_query`, which `MultiConnection` does not cover.
macro_rules! on_each {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::store::conn::AnyConn::Postgres($c) => $body,
            $crate::store::conn::AnyConn::Sqlite($c) => $body,
        }
    };
}
pub(super) use on_each;

/// Begins, nests and ends transactions on the enum.
pub(super) type Transactions = <AnyConn as Connection>::TransactionManager;

/// How many connections read at the same time, for each database.
const READERS: u32 = 6;
/// How often a write is repeated on PostgreSQL before it is refused as busy.
const ATTEMPTS: u32 = 12;

/// A look-up that takes longer than this was held up by the disk.
const SLOW: Duration = Duration::from_millis(10);
/// How long look-ups keep off the async threads after a slow one.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// A writing transaction.
pub struct Tx<'a> {
    conn: &'a mut AnyConn,
    /// It is to be rolled back although nothing failed.
    pub(super) discard: bool,
    /// There are more or fewer users or groups than before.
    pub(super) population: bool,
}

impl<'a> Tx<'a> {
    /// On a connection that is in a transaction.
    pub(super) fn new(conn: &'a mut AnyConn) -> Self {
        Self {
            conn,
            discard: false,
            population: false,
        }
    }

    /// The connection, for the query functions of this layer.
    pub fn conn(&mut self) -> &mut AnyConn {
        self.conn
    }

    /// Makes the end of the transaction a rollback although nothing failed: nothing had to be changed.
    pub fn discard(&mut self) {
        self.discard = true;
    }

    /// Says that there are more or fewer users or groups than before: see [`Store::population`].
    pub(super) fn population_changes(&mut self) {
        self.population = true;
    }
}

/// Opens connections of the kind that the URL names. `MultiConnection` would try one after the other, and
/// SQLite takes any string for a file name.
struct Manager(DatabaseUrl);

impl ManageConnection for Manager {
    type Connection = AnyConn;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConn, Self::Error> {
        open(&self.0).map_err(diesel::r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, conn: &mut AnyConn) -> Result<(), Self::Error> {
        conn.batch_execute("SELECT 1")
            .map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, conn: &mut AnyConn) -> bool {
        // A transaction left open by a panic must not meet the next caller.
        !matches!(status(conn).transaction_depth(), Ok(None))
    }
}

/// Opens one connection with the settings that the promises rest on.
pub(super) fn open(url: &DatabaseUrl) -> ConnectionResult<AnyConn> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(&path.to_string_lossy())?;
            // FULL: an acknowledged write survives a power cut. The busy time-out covers a second process,
            // such as `usher apply` beside a running server.
            conn.batch_execute(
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY; \
                 PRAGMA wal_autocheckpoint = 4000;",
            )
            .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(AnyConn::Sqlite(conn))
        }
        DatabaseUrl::Postgres(url) => {
            let mut conn = PgConnection::establish(&watched(url.expose_secret()))?;
            conn.batch_execute(
                "SET TIME ZONE 'UTC'; SET idle_in_transaction_session_timeout = '60s';",
            )
            .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(AnyConn::Postgres(conn))
        }
    }
}

/// The address with what makes a connection end that leads nowhere: whoever waits on it would wait for hours, as a
/// network that drops everything says nothing. What the address says itself holds.
fn watched(url: &str) -> String {
    // Seconds, but for `tcp_user_timeout`, which is in milliseconds (libpq, "Parameter Key Words").
    let limits = [
        ("connect_timeout", 10),
        ("keepalives_idle", 10),
        ("keepalives_interval", 5),
        ("keepalives_count", 3),
        ("tcp_user_timeout", 25_000),
    ];
    let mut watched = url.to_owned();
    for (name, value) in limits {
        if !url.contains(&format!("{name}=")) {
            watched.push(if watched.contains('?') { '&' } else { '?' });
            watched.push_str(&format!("{name}={value}"));
        }
    }
    watched
}

/// The connections of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Open and not in use.
    pub idle: u32,
    /// In use.
    pub busy: u32,
    /// How many there may be.
    pub most: u32,
}

/// The doors to the database.
#[derive(Clone)]
pub struct Store {
    readers: diesel::r2d2::Pool<Manager>,
    threads: Arc<Threads>,
    permits: Arc<Semaphore>,
    slow: Arc<SlowDisk>,
    population: Arc<AtomicU64>,
    writer: Option<Writer>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.writer.is_some() {
            "Store(sqlite)"
        } else {
            "Store(postgres)"
        })
    }
}

impl Store {
    /// Opens the database, creates it where it can be created (SQLite), and brings its schema up to date.
    pub fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        if let DatabaseUrl::Sqlite(path) = url {
            create_file(path)?;
        }
        let mut first = open(url).map_err(|e| Error::Open(masked(url, &e.to_string())))?;
        super::migrate::run(&mut first)?;
        let readers = diesel::r2d2::Pool::builder()
            .max_size(READERS)
            .min_idle(Some(1))
            // The check costs PostgreSQL a round trip and SQLite a statement for every read; a connection
            // that broke is found by `has_broken` and by the failing query itself.
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(10))
            .build(Manager(url.clone()))
            .map_err(|e| Error::Open(masked(url, &e.to_string())))?;
        let writer = matches!(url, DatabaseUrl::Sqlite(_))
            .then(|| Writer::start(url, first))
            .transpose()?;
        Ok(Self {
            readers,
            threads: Arc::new(Threads::new()?),
            permits: Arc::new(Semaphore::new(READERS as usize)),
            slow: Arc::new(SlowDisk::new()),
            population: Arc::default(),
            writer,
        })
    }

    /// Whether several servers may share this database.
    pub fn is_shared(&self) -> bool {
        self.writer.is_none()
    }

    /// The connections as they are at the moment, without the one that writes to SQLite.
    pub fn pool(&self) -> Pool {
        let state = self.readers.state();
        Pool {
            idle: state.idle_connections,
            busy: state.connections.saturating_sub(state.idle_connections),
            most: READERS,
        }
    }

    /// A number that is another one after users or groups came or went, so that what was counted before can be
    /// known to hold. `None` on PostgreSQL, where other processes write too; a SQLite file has one server.
    pub fn population(&self) -> Option<u64> {
        self.writer
            .as_ref()
            .map(|_| self.population.load(Ordering::Acquire))
    }

    /// Runs queries that change nothing.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&mut AnyConn) -> Result<T, E> + Send + 'static,
    {
        self.with_connection(f).await?
    }

    /// Runs `f` where it may wait for the database, as soon as a connection is free.
    async fn with_connection<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut AnyConn) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let pool = self.readers.clone();
        let work = move || {
            // Given up after the connection, so that whoever comes next finds one.
            let _permit = permit;
            let mut conn = checkout(&pool)?;
            Ok(f(&mut conn))
        };
        self.threads.run(work).await?
    }

    /// Runs queries that find a few rows by an index, and change nothing.
    ///
    /// On SQLite that takes less time than handing the work to another thread and back, so it is done here and
    /// now. A slow disk must not hold up everyone else on this thread: after a look-up that took long, the next
    /// ones go the way of [`Store::read`] for a while, and so do all of PostgreSQL's.
    pub async fn look_up<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&mut AnyConn) -> Result<T, E> + Send + 'static,
    {
        if let Some((_permit, mut conn)) = self.at_once() {
            let started = Instant::now();
            let result = locked_once(&mut conn, f);
            self.slow.note(started.elapsed());
            return result;
        }
        self.read(f).await
    }

    /// A connection for a look-up on this thread, if that is a good idea and one is free.
    fn at_once(&self) -> Option<(SemaphorePermit<'_>, PooledConnection<Manager>)> {
        if self.is_shared() || self.slow.is_now() {
            return None;
        }
        Some((self.permits.try_acquire().ok()?, self.readers.try_get()?))
    }

    /// Runs `f` in a writing transaction; what it did is on disk when this returns `Ok`.
    ///
    /// `f` may run more than once (PostgreSQL may ask for a repetition, and on SQLite another write that shares the
    /// transaction may have to be undone), so it must do nothing but SQL.
    /// An error of `f` rolls back everything it did.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(self.population.clone(), f).await,
            None => self.write_postgres(f).await,
        }
    }

    async fn write_postgres<T, E, F>(&self, mut f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let mut attempt = 0;
        loop {
            let attempted = self.with_connection(move |conn| {
                let outcome = one_transaction(conn, &mut f);
                (f, outcome)
            });
            let (back, outcome) = attempted.await?;
            f = back;
            match outcome {
                Outcome::Done(value) => return Ok(value),
                Outcome::Failed(e) => return Err(e),
                Outcome::Again if attempt < ATTEMPTS => attempt += 1,
                Outcome::Again => return Err(Error::Busy.into()),
            }
            let wait_ms = rand::random_range(1..=(2u64 << attempt.min(7)));
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// The threads that wait for the database: as many as there are connections, for all of the server. Each thread of
/// the server would otherwise make its own, and dozens in a burst of requests; and whatever else waits, such as a
/// name server that does not answer, is in nobody's way here.
struct Threads(Option<tokio::runtime::Runtime>);

impl Threads {
    fn new() -> Result<Self, Error> {
        // No task runs on it, so nothing needs to drive it.
        tokio::runtime::Builder::new_current_thread()
            .thread_name("store-reader")
            .max_blocking_threads(READERS as usize)
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|e| Error::Open(format!("cannot start the threads of the database: {e}")))
    }

    async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = self.0.as_ref().ok_or(Error::Closed)?;
        runtime.spawn_blocking(f).await.map_err(|_| Error::Panicked)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which a task must not do.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs queries in one transaction. Without it each of them locks and unlocks a SQLite file by itself, which takes
/// longer than to find a row.
fn locked_once<T, E: From<Error>>(
    conn: &mut AnyConn,
    f: impl FnOnce(&mut AnyConn) -> Result<T, E>,
) -> Result<T, E> {
    on_each!(&mut *conn, |c| Snapshot::<true>.execute(c)).map_err(Error::from)?;
    let result =
        catch_unwind(AssertUnwindSafe(|| f(conn))).unwrap_or_else(|_| Err(Error::Panicked.into()));
    if on_each!(&mut *conn, |c| Snapshot::<false>.execute(c)).is_err() {
        // The next one must not find it in a transaction: the pool opens another.
        status(conn).set_in_error();
    }
    result
}

/// The begin and the end of a transaction, kept prepared. The transaction manager of diesel has them prepared each
/// time, for more than they save.
struct Snapshot<const BEGINS: bool>;

impl<const BEGINS: bool> QueryId for Snapshot<BEGINS> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const BEGINS: bool, Conn> RunQueryDsl<Conn> for Snapshot<BEGINS> {}

impl<const BEGINS: bool, DB: Backend> QueryFragment<DB> for Snapshot<BEGINS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(if BEGINS { "BEGIN" } else { "COMMIT" });
        Ok(())
    }
}

/// Remembers that the disk was slow.
#[derive(Debug)]
struct SlowDisk {
    since: Instant,
    /// Milliseconds after `since`.
    until_ms: AtomicU64,
}

impl SlowDisk {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            until_ms: AtomicU64::new(0),
        }
    }

    fn is_now(&self) -> bool {
        self.now_ms() < self.until_ms.load(Ordering::Relaxed)
    }

    fn note(&self, taken: Duration) {
        if taken > SLOW {
            let end = self.now_ms().saturating_add(millis(SLOW_FOR));
            self.until_ms.fetch_max(end, Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

enum Outcome<T, E> {
    Done(T),
    Failed(E),
    Again,
}

/// Runs `f` in a transaction of a connection that nobody else has, once.
pub(super) fn exclusively<T>(
    conn: &mut AnyConn,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    Transactions::begin_transaction(conn)?;
    let mut tx = Tx::new(conn);
    match f(&mut tx) {
        Ok(value) => {
            Transactions::commit_transaction(conn)?;
            Ok(value)
        }
        Err(error) => {
            let _ = Transactions::rollback_transaction(conn);
            Err(error)
        }
    }
}

/// One attempt at a transaction on a connection of its own.
fn one_transaction<T, E: From<Error>>(
    conn: &mut AnyConn,
    f: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
) -> Outcome<T, E> {
    super::error::take_passing();
    if let Err(e) = Transactions::begin_transaction(conn) {
        return Outcome::Failed(Error::from(e).into());
    }
    let mut tx = Tx::new(conn);
    let result = f(&mut tx);
    let discard = tx.discard;
    // A statement that failed for a passing reason poisons the transaction; the database tells it by
    // this flag even when `f` turned its error into another one.
    let passing = super::error::take_passing();
    if passing {
        let _ = Transactions::rollback_transaction(conn);
        return Outcome::Again;
    }
    match result {
        Err(e) => {
            let _ = Transactions::rollback_transaction(conn);
            Outcome::Failed(e)
        }
        Ok(value) if discard => match Transactions::rollback_transaction(conn) {
            Ok(()) => Outcome::Done(value),
            Err(e) => Outcome::Failed(Error::from(e).into()),
        },
        Ok(value) => match Transactions::commit_transaction(conn) {
            Ok(()) => Outcome::Done(value),
            Err(e) => {
                let error = Error::from(e);
                if super::error::take_passing() {
                    Outcome::Again
                } else {
                    Outcome::Failed(error.into())
                }
            }
        },
    }
}

pub(super) fn status(conn: &mut AnyConn) -> &mut TransactionManagerStatus {
    Transactions::transaction_manager_status_mut(conn)
}

fn checkout(pool: &diesel::r2d2::Pool<Manager>) -> Result<PooledConnection<Manager>, Error> {
    pool.get()
        .map_err(|_| Error::Unavailable("no connection to the database".to_owned()))
}

/// Makes the file with the owner's rights only: it holds personal data.
fn create_file(path: &Path) -> Result<(), Error> {
    if path.exists() || path.to_str() == Some(":memory:") {
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::Open(format!(
            "cannot create {}: {e}",
            path.display()
        ))),
    }
}

/// An error text of the database client without the password that it may quote.
fn masked(url: &DatabaseUrl, text: &str) -> String {
    let secret: Option<&SecretString> = match url {
        DatabaseUrl::Sqlite(_) => None,
        DatabaseUrl::Postgres(url) => Some(url),
    };
    let text = match secret {
        Some(secret) => text.replace(secret.expose_secret(), &url.to_string()),
        None => text.to_owned(),
    };
    format!("cannot open the database {url}: {text}")
}

#[cfg(test)]
mod tests {
    use super::super::settings;
    use super::*;

    #[test]
    fn an_address_is_watched_unless_it_says_how_itself() {
        assert!(
            watched("postgres://db/usher").starts_with("postgres://db/usher?connect_timeout=10&")
        );
        let own = watched("postgres://db/usher?sslmode=require&keepalives_idle=60");
        assert!(own.starts_with("postgres://db/usher?sslmode=require&keepalives_idle=60&connect_"));
        assert!(own.ends_with("tcp_user_timeout=25000") && !own.contains("keepalives_idle=10"));
    }

    #[test]
    fn only_a_slow_look_up_keeps_the_next_ones_off_the_async_threads() {
        let disk = SlowDisk::new();
        disk.note(SLOW);
        assert!(!disk.is_now());
        disk.note(SLOW + Duration::from_millis(1));
        assert!(disk.is_now());
    }

    #[tokio::test]
    async fn a_panicking_look_up_is_an_error_and_gives_its_connection_back() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
        let store = Store::open(&url).unwrap();
        for _ in 0..=READERS {
            let result = store
                .look_up(|_| -> Result<(), Error> { panic!("on purpose") })
                .await;
            assert_eq!(result, Err(Error::Panicked));
        }
        let ready = store.look_up(settings::generation).await;
        assert_eq!(ready, Ok(0));
    }

    #[tokio::test]
    async fn a_look_up_on_sqlite_is_of_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
        let store = Store::open(&url).unwrap();
        let mut other = open(&url).unwrap();
        let seen = store
            .look_up(move |conn| -> Result<_, Error> {
                let before = settings::generation(conn)?;
                exclusively(&mut other, settings::bump)?;
                Ok((before, settings::generation(conn)?))
            })
            .await;
        assert_eq!(seen, Ok((0, 0)));
        assert_eq!(store.look_up(settings::generation).await, Ok(1));
    }
}
