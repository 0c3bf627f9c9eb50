//! Tells other servers on the same PostgreSQL that there is work, and hears of it from them: LISTEN and NOTIFY.
//!
//! The notice is sent after the commit, on a connection of its own, at most a few times in a second however many
//! pushes there are: a NOTIFY inside their transactions would make them queue for its lock. A notice that gets
//! lost costs only the time until the next look.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::conn::{AnyConn, open};
use super::error::Error;
use crate::config::server::DatabaseUrl;
use crate::domain::new_id;

const CHANNEL: &str = "usher_work";
/// How long a notice may wait. The client of the database cannot be waited for without its socket, so it is asked:
/// that costs a look into a buffer, not a question to the server.
const STEP: Duration = Duration::from_millis(20);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Rings for other servers. Cheap to clone; rings for nobody until it hangs.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<OnceLock<Rope>>);

#[derive(Debug)]
struct Rope {
    pulled: Arc<AtomicBool>,
    /// Sends and listens.
    thread: Thread,
}

impl Bell {
    /// Says that there is work. Returns at once.
    pub fn ring(&self) {
        if let Some(rope) = self.0.get()
            && !rope.pulled.swap(true, Ordering::AcqRel)
        {
            rope.thread.unpark();
        }
    }

    /// From now on rings for the other servers on this database, and calls `wake` when one of them rings. On SQLite
    /// there is no other server. Ends when the last clone is dropped.
    pub fn hang(&self, url: &DatabaseUrl, wake: impl Fn() + Send + 'static) -> Result<(), Error> {
        if matches!(url, DatabaseUrl::Sqlite(_)) {
            return Ok(());
        }
        let (url, tower) = (url.clone(), Arc::downgrade(&self.0));
        let pulled = Arc::new(AtomicBool::new(false));
        let pull = pulled.clone();
        let handle = thread::Builder::new()
            .name("store-bell".to_owned())
            .spawn(move || {
                let own = new_id();
                while tower.strong_count() > 0 {
                    let is_used = || tower.strong_count() > 0;
                    if let Err(error) = serve(&url, &pull, &own, &is_used, &wake) {
                        tracing::warn!(
                            %error,
                            "other servers cannot be told of work, nor tell of it; it is looked for instead"
                        );
                        thread::park_timeout(PAUSE);
                    }
                }
            })
            .map_err(|e| Error::Open(format!("cannot start the listener thread: {e}")))?;
        // A second one would be a second listener of the same process: the first one stays.
        let _ = self.0.set(Rope {
            pulled,
            thread: handle.thread().clone(),
        });
        Ok(())
    }
}

fn serve(
    url: &DatabaseUrl,
    pulled: &AtomicBool,
    own: &str,
    is_used: &impl Fn() -> bool,
    wake: &impl Fn(),
) -> Result<(), Error> {
    // Not the client's words: they may quote the address, and with it the password.
    let failed = |_| Error::Unavailable(format!("no connection to {url}"));
    let AnyConn::Postgres(mut conn) = open(url).map_err(failed)? else {
        return Ok(());
    };
    conn.batch_execute(&format!("LISTEN {CHANNEL}"))?;
    // What was said while nobody listened.
    wake();
    while is_used() {
        if pulled.swap(false, Ordering::AcqRel) {
            conn.batch_execute(&format!("NOTIFY {CHANNEL}, '{own}'"))?;
        }
        let mut heard = false;
        for notice in conn.notifications_iter() {
            heard |= notice?.payload != own;
        }
        if heard {
            wake();
        }
        thread::park_timeout(STEP);
    }
    Ok(())
}
