//! The emulators are held to what is known of the real systems.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bitbucket;
mod client;
mod confluence;
mod crowd;
mod faults;
mod groups;
mod leads;
mod process;
mod public_clients;
mod users;
