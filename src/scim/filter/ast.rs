//! The tree of a filter, and how it is written.

use std::fmt;

use serde_json::Value;

/// A filter. `And` and `Or` have two parts or more, none of them of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of them.
    And(Vec<Filter>),
    /// One of them.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// `userName eq "ada"`
    Compare {
        /// What.
        path: AttrPath,
        /// How.
        op: CompareOp,
        /// With what.
        value: Literal,
    },
    /// `title pr`
    Present(AttrPath),
    /// `emails[type eq "work"]`: one element fulfils it all.
    ValuePath {
        /// The list.
        path: AttrPath,
        /// A filter over one element.
        filter: Box<Filter>,
    },
}

/// `urn:…:User:name.givenName`: URN and sub-attribute are optional.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// URN of the schema, as written.
    pub urn: Option<String>,
    /// The attribute.
    pub name: String,
    /// The sub-attribute.
    pub sub: Option<String>,
}

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Ge,
    /// Less than.
    Lt,
    /// Less than or equal.
    Le,
}

impl CompareOp {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Eq,
        Self::Ne,
        Self::Co,
        Self::Sw,
        Self::Ew,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
    ];

    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Co => "co",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }
}

/// A value in a filter: JSON, but no object and no array.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Text.
    String(String),
    /// A number.
    Number(serde_json::Number),
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.name)?;
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "{}", Value::String(text.clone())),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => joined(f, parts, " and ", |part| matches!(part, Self::Or(_))),
            Self::Or(parts) => joined(f, parts, " or ", |_| false),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Compare { path, op, value } => write!(f, "{path} {} {value}", op.as_str()),
            Self::Present(path) => write!(f, "{path} pr"),
            Self::ValuePath { path, filter } => write!(f, "{path}[{filter}]"),
        }
    }
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    word: &str,
    in_brackets: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            f.write_str(word)?;
        }
        if in_brackets(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths() -> impl Strategy<Value = AttrPath> {
        let urn = prop_oneof![
            3 => Just(None),
            1 => Just(Some("urn:ietf:params:scim:schemas:core:2.0:User".to_owned())),
            1 => Just(Some("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User".to_owned())),
            1 => Just(Some("urn:example:a-b_c:1.2:X".to_owned())),
        ];
        let name = prop_oneof![
            3 => prop::sample::select(vec![
                "userName", "displayName", "active", "emails", "name", "title", "department", "meta", "not",
            ]).prop_map(ToOwned::to_owned),
            1 => "[a-zA-Z][a-zA-Z0-9_-]{0,8}",
        ];
        let sub = prop_oneof![
            2 => Just(None),
            1 => prop::sample::select(vec!["value", "type", "givenName", "$ref", "lastModified"])
                .prop_map(|s| Some(s.to_owned())),
        ];
        (urn, name, sub).prop_map(|(urn, name, sub)| AttrPath { urn, name, sub })
    }

    fn literals() -> impl Strategy<Value = Literal> {
        prop_oneof![
            // The parser refuses U+0000, as no database takes it.
            4 => "[^\\x00]{0,12}".prop_map(Literal::String),
            1 => any::<i64>().prop_map(|n| Literal::Number(n.into())),
            1 => prop::num::f64::NORMAL
                .prop_filter_map("finite", serde_json::Number::from_f64)
                .prop_map(Literal::Number),
            1 => any::<bool>().prop_map(Literal::Bool),
            1 => Just(Literal::Null),
        ]
    }

    /// Any filter in its normal form.
    pub(crate) fn filters() -> impl Strategy<Value = Filter> {
        let test = prop_oneof![
            4 => (paths(), prop::sample::select(CompareOp::ALL.to_vec()), literals())
                .prop_map(|(path, op, value)| Filter::Compare { path, op, value }),
            1 => paths().prop_map(Filter::Present),
        ];
        let boolean = |inner: BoxedStrategy<Filter>| {
            inner.prop_recursive(4, 24, 3, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| flat(parts, true)),
                    prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| flat(parts, false)),
                    inner.prop_map(|f| Filter::Not(Box::new(f))),
                ]
            })
        };
        let element = boolean(test.clone().boxed()).boxed();
        let value_path = (paths(), element).prop_map(|(path, filter)| Filter::ValuePath {
            path: AttrPath { sub: None, ..path },
            filter: Box::new(filter),
        });
        boolean(prop_oneof![4 => test, 1 => value_path].boxed())
    }

    fn flat(parts: Vec<Filter>, and: bool) -> Filter {
        let mut all = Vec::new();
        for part in parts {
            match (part, and) {
                (Filter::And(inner), true) | (Filter::Or(inner), false) => all.extend(inner),
                (other, _) => all.push(other),
            }
        }
        if and {
            Filter::And(all)
        } else {
            Filter::Or(all)
        }
    }
}
