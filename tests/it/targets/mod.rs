//! Every target against the same suite, and each product's own peculiarities.

mod bitbucket_dc;
mod confluence_dc;
mod crowd;
mod guard;
mod jira_dc;
mod memory;
mod suite;

use std::time::Duration;

use usher_emulators::{Fault, FaultKind, Only};

use self::suite::{Strikes, Trouble};

/// What makes an emulator give that trouble to a target that waits as long as `patience`.
fn fault(trouble: Trouble, strikes: Strikes, patience: Duration) -> Fault {
    let kind = match trouble {
        Trouble::Throttled(Some(seconds)) => FaultKind::throttled(seconds),
        Trouble::Throttled(None) => FaultKind::status(429),
        Trouble::ServerError => FaultKind::status(500),
        Trouble::Hang => FaultKind::Hang(patience * 4),
        Trouble::ConnectionLost => FaultKind::DropBefore,
        Trouble::Page => FaultKind::Garbage,
        Trouble::LostReply => FaultKind::DropAfter,
    };
    Fault::once(kind).only(match strikes {
        Strikes::NextRead => Only::Reads,
        Strikes::NextWrite => Only::Writes,
    })
}
