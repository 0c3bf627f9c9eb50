//! Every target against the same suite, and each product's own peculiarities.

mod crowd;
mod jira_dc;
mod memory;
mod suite;
