//! Statements from text that connections can keep prepared.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Double, HasSqlType, Text};

/// A value for a placeholder.
#[derive(Debug, Clone)]
enum Bind {
    Text(String),
    Integer(i64),
    Number(f64),
}

/// Stands around the number of a value in the text of a statement. No name in a filter can hold it.
pub(super) const MARK: char = '\u{1}';

/// The values of a statement. What puts one in returns what stands for it in the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Binds(Vec<Bind>);

impl Binds {
    pub(super) fn text(&mut self, text: String) -> String {
        self.bind(Bind::Text(text))
    }

    pub(super) fn integer(&mut self, n: i64) -> String {
        self.bind(Bind::Integer(n))
    }

    pub(super) fn number(&mut self, n: f64) -> String {
        self.bind(Bind::Number(n))
    }

    fn bind(&mut self, bind: Bind) -> String {
        self.0.push(bind);
        format!("{MARK}{}{MARK}", self.0.len() - 1)
    }

    /// The statement with its values; its rows have the SQL types `ST`. To `keep` it prepared pays off for one
    /// of a small number of texts that come again and again.
    pub(super) fn statement<'a, ST>(&'a self, text: &'a str, keep: bool) -> Statement<'a, ST> {
        Statement {
            text,
            binds: &self.0,
            keep,
            types: PhantomData,
        }
    }
}

/// A statement from text. `diesel::sql_query` does the same, but prepares it anew each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a, ST> {
    text: &'a str,
    binds: &'a [Bind],
    keep: bool,
    types: PhantomData<ST>,
}

impl<ST> Query for Statement<'_, ST> {
    type SqlType = ST;
}

impl<ST, Conn> RunQueryDsl<Conn> for Statement<'_, ST> {}

impl<ST> QueryId for Statement<'_, ST> {
    type QueryId = ();
    /// What tells statements apart is their text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, DB> QueryFragment<DB> for Statement<'_, ST>
where
    DB: Backend + HasSqlType<Double>,
    String: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    f64: ToSql<Double, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.keep {
            out.unsafe_to_cache_prepared();
        }
        for (index, piece) in self.text.split(MARK).enumerate() {
            // Text and numbers of values take turns.
            if index % 2 == 0 {
                out.push_sql(piece);
                continue;
            }
            let bind = piece.parse().ok().and_then(|n: usize| self.binds.get(n));
            match bind {
                Some(Bind::Text(text)) => out.push_bind_param::<Text, _>(text)?,
                Some(Bind::Integer(n)) => out.push_bind_param::<BigInt, _>(n)?,
                Some(Bind::Number(n)) => out.push_bind_param::<Double, _>(n)?,
                None => {
                    return Err(diesel::result::Error::QueryBuilderError(
                        "a placeholder without a value".into(),
                    ));
                }
            }
        }
        Ok(())
    }
}
