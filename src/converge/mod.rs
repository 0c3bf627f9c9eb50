//! The engine: brings targets in step with what the mirror and the rules want.
//!
//! Level-triggered. It does not know why it was woken: it takes a work item, computes what is wanted, looks
//! at what is there, and issues only the operations that differ. Happy path, retry and recovery from a crash
//! are the same code.

mod batch;
mod brakes;
mod drift;
mod engine;
mod explain;
mod live;
mod load;
mod look;
mod memory;
mod plan;
mod preview;
mod record;
mod retry;
mod roster;
mod sweep;
mod undo;
mod worker;

pub use crate::targets::Check;
pub use engine::{DEFAULT_AUDIT_RETENTION, DEFAULT_LEASE, Engine, Options};
pub use explain::{Explanation, TargetView, explain};
pub use live::Connect;
pub use load::source_groups;
pub use preview::{Foreseen, Outlook, Scope, Summary, Verdict};
pub use undo::{Asking, Back, Chosen, Ended, Tally, Unclear, foresee_undo, undo};
