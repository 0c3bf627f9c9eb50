//! What the products share behind their HTTP side: whoever is told of changes, and the state in a file.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::lock;

type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells of changes of state, one line for people each.
#[derive(Default)]
pub(crate) struct Events(Mutex<Option<Listener>>);

impl Events {
    /// Has everything from now on told to this one.
    pub(crate) fn listen(&self, listener: Box<dyn Fn(&str) + Send + Sync>) {
        *lock(&self.0) = Some(Arc::from(listener));
    }

    /// Tells of these.
    pub(crate) fn tell(&self, events: impl IntoIterator<Item = String>) {
        let listener = lock(&self.0).clone();
        if let Some(listener) = listener {
            events.into_iter().for_each(|event| listener(&event));
        }
    }

    /// Tells of what somebody did at the product itself.
    pub(crate) fn tell_by_hand(&self, events: &[String]) {
        self.tell(events.iter().map(|event| format!("{event} (by hand)")));
    }
}

/// The state in a file.
pub(crate) fn read_state<S: DeserializeOwned>(file: &Path) -> io::Result<S> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

/// Through a second file, so that a killed process leaves the old state or the new one.
pub(crate) fn write_state(file: &Path, state: &impl Serialize) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    std::fs::write(&draft, serde_json::to_vec(state)?)?;
    std::fs::rename(&draft, file)
}
