//! Every target against the same suite, and each product's own peculiarities.

mod confluence_dc;
mod crowd;
mod guard;
mod jira_dc;
mod memory;
mod suite;
