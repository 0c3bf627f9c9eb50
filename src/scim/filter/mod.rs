//! Filters (RFC 7644 section 3.4.2.2): parsed, printed, resolved against the schema, evaluated.

mod ast;
mod compile;
mod eval;
mod parse;

pub use ast::{AttrPath, CompareOp, Filter, Literal};
pub use compile::{Compiled, Operand, Test, compile, compile_elements};
pub use parse::{MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse};

pub(super) use compile::{names_a_schema, resolve};
pub(super) use parse::{attr_path, bracketed};

#[cfg(test)]
pub(crate) use ast::tests::filters;
