//! Every target against the same suite, and each product's own peculiarities.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod jira_dc;
mod memory;
mod suite;
