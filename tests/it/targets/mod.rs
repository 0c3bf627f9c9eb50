//! Every target against the same suite, and each product's own peculiarities.

mod bitbucket_dc;
mod confluence_dc;
mod crowd;
mod jira_dc;
mod memory;
mod suite;
