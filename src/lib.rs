//! Usher.
pub mod clock;
pub mod domain;
