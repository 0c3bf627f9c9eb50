//! All integration tests, in one binary: one link instead of many.
//!
//! PostgreSQL is started for the tests where it is installed. Where something is missing, the tests that
//! need it say so and pass; with `USHER_TEST_ALL=1`, as in CI, they fail instead.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]
#![expect(unreachable_pub, reason = "nothing imports a test binary")]

mod alerts;
mod bell;
mod browser;
mod cli;
mod conformance;
mod consent;
mod crash;
mod demo;
mod docker;
mod doors;
mod faults;
mod fewest;
mod fuzz;
mod guide;
mod harness;
mod keep;
mod login;
mod metrics;
mod oauth;
mod pull;
mod requests;
mod scim;
mod seat;
mod secrets;
mod several;
mod sign_on;
mod smoke;
mod store;
mod targets;
mod tidy;
mod tls;
mod traces;
