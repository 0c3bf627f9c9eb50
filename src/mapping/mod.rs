//! Rules: what one target should have for one user of the source, and which rule wants each part.
//!
//! Pure: the result depends on nothing but the rules, the user and the user's groups. The engine
//! computes it at every convergence and never stores it, so that a changed rule is nothing but
//! more work. The same function answers the preview and the plan.

mod attribute;
mod context;
mod desired;
mod expression;
mod filters;
mod groups;
mod pattern;
mod pilot;
mod rules;
mod scope;

pub use desired::{SourceUser, desired};
pub use groups::{GroupWay, SourceGroup};
pub use pattern::Patterns;
pub use rules::{RuleError, Rules};
