//! SCIM filters as SQL, and pages of resources.
//!
//! A filter means what `scim::filter::Compiled::matches` says about the folded document; a test compares the
//! two on both databases. Attributes that identity providers look people up by are answered from indexed
//! columns; everything else from the `search` document. Only the reach into JSON differs between SQLite and
//! PostgreSQL, and it is all in [`Json`]. Sorting is in `sort_sql`.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::conn::{AnyConn, on_each};
use super::error::Error;
use super::groups::UNKNOWN;
use super::statement::{Binds, MARK};
use super::users::Stored;
use crate::clock::parse_rfc3339;
use crate::domain::ConnectionId;
use crate::scim::ResourceType;
use crate::scim::filter::{Compiled, Operand, Test};
use crate::scim::sort::Sort;

/// Which page of what.
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// Whose resources.
    pub connection: ConnectionId,
    /// Which of them.
    pub filter: Option<Compiled>,
    /// 1-based.
    pub start_index: u64,
    /// How many at the most.
    pub count: u64,
    /// In which order; without: by id.
    pub sort: Option<Sort>,
    /// Where the page before this one ended, if it is known: spares the database from counting through
    /// everything before `start_index`.
    pub after: Option<After>,
    /// The total, if it is known.
    pub total: Option<u64>,
}

/// The last resource of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Its id.
    pub id: String,
    /// What the list is sorted by, if it has that; see [`Page::keys`].
    pub key: Option<String>,
}

impl After {
    /// Where a page that is sorted by id ended.
    pub fn id(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            key: None,
        }
    }
}

impl PageQuery {
    /// Whether a unique name decides, so that at most a few rows are looked at.
    pub fn is_look_up(&self, rt: ResourceType) -> bool {
        let unique = |filter: &Compiled| match equal_column(filter) {
            Some("id" | "externalid") => true,
            Some("username") => rt == ResourceType::User,
            Some("displayname") => rt == ResourceType::Group,
            _ => false,
        };
        match &self.filter {
            Some(Compiled::And(parts)) => parts.iter().any(unique),
            Some(filter) => unique(filter),
            None => false,
        }
    }

    /// Whether its statement is one of a small number, so that it can be kept prepared. Statements of all
    /// filters that somebody may think of would fill the memory.
    fn is_usual(&self) -> bool {
        self.sort.is_none()
            && match &self.filter {
                Some(Compiled::And(parts)) => {
                    parts.len() <= 2 && parts.iter().all(|p| equal_column(p).is_some())
                }
                Some(filter) => equal_column(filter).is_some(),
                None => true,
            }
    }
}

/// The attribute that a filter compares for being equal, if it is one with a column.
fn equal_column(filter: &Compiled) -> Option<&str> {
    let Compiled::Test {
        path,
        test: Test::Eq(_),
    } = filter
    else {
        return None;
    };
    match path.as_slice() {
        [name] => ["id", "externalid", "username", "displayname", "active"]
            .into_iter()
            .find(|known| known == name),
        [name, sub] if name == "emails" && sub == "value" => Some("emails.value"),
        _ => None,
    }
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// How many resources the filter matches in all.
    pub total: u64,
    /// The resources on this page.
    pub items: Vec<Stored<String>>,
    /// What each of them is sorted by, for [`After`]; empty if the list is sorted by id.
    pub keys: Vec<Option<String>>,
    /// The id before this page, if the database had to count up to it.
    pub before: Option<String>,
}

type Row = (String, String, i64, i64, i64, Option<String>);
type RowTypes = (Text, Text, BigInt, BigInt, BigInt, Nullable<Text>);

/// Reads one page.
pub(super) fn page(conn: &mut AnyConn, rt: ResourceType, query: &PageQuery) -> Result<Page, Error> {
    let mut sql = Sql::new(rt, matches!(conn, AnyConn::Postgres(_)));
    let condition = sql.selection(query)?;
    let counting = sql.clone();
    let table = sql.table();

    let mut items = Vec::new();
    let mut keys = Vec::new();
    let mut before = None;
    if query.count > 0 {
        let skip = match &query.after {
            Some(_) => 0,
            None => query.start_index.saturating_sub(1),
        };
        // One more at the front, so that the same place is found at once the next time. Only by id is it found.
        let more = if query.sort.is_some() { 0 } else { skip.min(1) };
        let limit = sql.integer(i64::try_from(query.count + more).unwrap_or(i64::MAX));
        let offset = i64::try_from(skip - more).unwrap_or(i64::MAX);
        let text = match (&query.sort, &query.after) {
            (Some(sort), after) => {
                let range = format!("LIMIT {limit} OFFSET {}", sql.integer(offset));
                sql.sorted(sort, after.as_ref(), &condition, &range)
            }
            (None, after) => {
                let onwards = match after {
                    Some(after) => format!(" AND r.id > {}", sql.text(after.id.clone())),
                    // What is passed over is counted in the index: PostgreSQL would read the rows themselves.
                    None if offset > 0 => format!(
                        " AND r.id >= (SELECT r.id FROM {table} r WHERE {condition} ORDER BY r.id \
                         LIMIT 1 OFFSET {})",
                        sql.integer(offset)
                    ),
                    None => String::new(),
                };
                format!(
                    "SELECT r.id, r.doc, r.version, r.created_at, r.modified_at, NULL FROM {table} r \
                     WHERE {condition}{onwards} ORDER BY r.id LIMIT {limit}"
                )
            }
        };
        let rows = on_each!(conn, |c| sql
            .binds
            .statement::<RowTypes>(&text, query.is_usual())
            .load::<Row>(c))?;
        items.reserve(rows.len());
        for (id, doc, version, created_at, modified_at, key) in rows {
            items.push(Stored {
                id,
                doc,
                version,
                created_at,
                modified_at,
                deleted_at: None,
            });
            if query.sort.is_some() {
                keys.push(key);
            }
        }
        if more > 0 && !items.is_empty() {
            before = Some(items.remove(0).id);
        }
    }

    let skipped = query.start_index.saturating_sub(1);
    let is_last = (items.len() as u64) < query.count && (!items.is_empty() || skipped == 0);
    let total = match query.total {
        Some(total) => total,
        // A page that is not full ends the list, so the total is known without counting.
        None if is_last && query.after.is_none() => skipped + items.len() as u64,
        None => {
            let text = format!("SELECT count(*) AS n FROM {table} r WHERE {condition}");
            let count: i64 = on_each!(conn, |c| counting
                .binds
                .statement::<BigInt>(&text, query.is_usual())
                .get_result(c))?;
            u64::try_from(count).unwrap_or(0)
        }
    };
    Ok(Page {
        total,
        items,
        keys,
        before,
    })
}

/// The pieces of JSON access that the two databases spell differently. `search` holds every value in an
/// array (see `scim::fold`), so each step of a path is "the elements of the array under this key".
#[derive(Debug, Clone, Copy)]
pub(super) struct Json {
    pub(super) postgres: bool,
}

impl Json {
    /// A table of the elements under `key` of the object `parent`, called `alias`.
    fn each(self, parent: &Parent, key: &str, alias: &str) -> String {
        if self.postgres {
            let parent = match parent {
                Parent::Document => "r.search::jsonb".to_owned(),
                Parent::Element(alias) => format!("{alias}.value"),
            };
            format!(
                "jsonb_array_elements(CASE WHEN jsonb_typeof({parent} -> {key}) = 'array' \
                 THEN {parent} -> {key} ELSE '[]'::jsonb END) AS {alias}(value)"
            )
        } else {
            // json_each fails on text that is no JSON, which a plain string element is.
            let parent = match parent {
                Parent::Document => "r.search".to_owned(),
                Parent::Element(alias) => {
                    format!("CASE WHEN {alias}.type = 'object' THEN {alias}.value ELSE '{{}}' END")
                }
            };
            format!("json_each({parent}, '$.\"' || {key} || '\"') AS {alias}")
        }
    }

    /// Whether the element is a string and the condition on its text holds.
    fn string(self, alias: &str, condition: impl Fn(&str) -> String) -> String {
        let condition = condition(&self.text_of(alias));
        if self.postgres {
            format!("(jsonb_typeof({alias}.value) = 'string' AND {condition})")
        } else {
            format!("({alias}.type = 'text' AND {condition})")
        }
    }

    /// The text of an element that is a string.
    fn text_of(self, alias: &str) -> String {
        if self.postgres {
            format!("({alias}.value #>> '{{}}')")
        } else {
            format!("{alias}.value")
        }
    }

    /// Whether the element is a number and the comparison holds.
    fn number(self, alias: &str, comparison: &str, bind: &str) -> String {
        if self.postgres {
            format!(
                "(CASE WHEN jsonb_typeof({alias}.value) = 'number' \
                 THEN ({alias}.value #>> '{{}}')::float8 {comparison} {bind} ELSE FALSE END)"
            )
        } else {
            // CAST: SQLite compares an integer and a real exactly, Rust and PostgreSQL as two reals.
            format!(
                "({alias}.type IN ('integer', 'real') AND CAST({alias}.value AS REAL) {comparison} {bind})"
            )
        }
    }

    /// Whether the element is this boolean.
    fn boolean(self, alias: &str, value: bool) -> String {
        if self.postgres {
            format!("({alias}.value = '{value}'::jsonb)")
        } else {
            format!("({alias}.type = '{value}')")
        }
    }

    /// Where in `text` the other text begins; 0 if it is not there.
    fn position(self, text: &str, part: &str) -> String {
        if self.postgres {
            format!("strpos({text}, {part})")
        } else {
            format!("instr({text}, {part})")
        }
    }

    /// Makes an ordering follow the bytes of UTF-8, as Rust's does, whatever the database's locale.
    pub(super) fn by_bytes(self) -> &'static str {
        if self.postgres { " COLLATE \"C\"" } else { "" }
    }
}

/// What a path starts from.
#[derive(Debug, Clone)]
enum Parent {
    Document,
    Element(String),
}

/// Text and values of a statement under construction.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    pub(super) rt: ResourceType,
    pub(super) json: Json,
    pub(super) binds: Binds,
    aliases: usize,
}

impl Sql {
    fn new(rt: ResourceType, postgres: bool) -> Self {
        Self {
            rt,
            json: Json { postgres },
            binds: Binds::default(),
            aliases: 0,
        }
    }

    pub(super) fn table(&self) -> &'static str {
        match self.rt {
            ResourceType::User => "scim_user",
            ResourceType::Group => "scim_group",
        }
    }

    fn text(&mut self, text: String) -> String {
        self.binds.text(text)
    }

    fn integer(&mut self, n: i64) -> String {
        self.binds.integer(n)
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("e{}", self.aliases)
    }

    /// The `WHERE` of a page: tenant first.
    fn selection(&mut self, query: &PageQuery) -> Result<String, Error> {
        let connection = self.text(query.connection.0.clone());
        let mut text = format!("r.connection_id = {connection}");
        if self.rt == ResourceType::User {
            text.push_str(" AND r.deleted_at IS NULL");
        }
        if let Some(filter) = &query.filter {
            let condition = self.condition(filter, &Parent::Document)?;
            text.push_str(&format!(" AND {condition}"));
        }
        Ok(text)
    }

    /// A condition that is true or false, never unknown, so that `NOT` means what it says.
    fn condition(&mut self, filter: &Compiled, parent: &Parent) -> Result<String, Error> {
        Ok(match filter {
            Compiled::True => "(1 = 1)".to_owned(),
            Compiled::False => "(1 = 0)".to_owned(),
            Compiled::And(parts) => self.joined(parts, parent, " AND ", "(1 = 1)")?,
            Compiled::Or(parts) => self.joined(parts, parent, " OR ", "(1 = 0)")?,
            Compiled::Not(inner) => format!("(NOT {})", self.condition(inner, parent)?),
            Compiled::Test { path, test } => match parent {
                Parent::Document => match self.column(path, test)? {
                    Some(condition) => condition,
                    None => self.in_json(path, parent, |sql, alias| sql.element(alias, test))?,
                },
                Parent::Element(_) => {
                    self.in_json(path, parent, |sql, alias| sql.element(alias, test))?
                }
            },
            Compiled::Any { path, filter } => match (parent, rows_behind(self.rt, path)) {
                (Parent::Document, Some(rows)) => {
                    let condition = self.row_condition(rows, filter)?;
                    format!("EXISTS (SELECT 1 FROM {} AND {condition})", rows.from())
                }
                // There is always one `meta`, and its parts are columns.
                (Parent::Document, None) if path.as_slice() == ["meta"] => {
                    self.condition(&below("meta", filter), parent)?
                }
                _ => self.in_json(path, parent, |sql, alias| {
                    sql.condition(filter, &Parent::Element(alias.to_owned()))
                })?,
            },
        })
    }

    fn joined(
        &mut self,
        parts: &[Compiled],
        parent: &Parent,
        word: &str,
        empty: &str,
    ) -> Result<String, Error> {
        if parts.is_empty() {
            return Ok(empty.to_owned());
        }
        let parts: Result<Vec<String>, Error> =
            parts.iter().map(|p| self.condition(p, parent)).collect();
        Ok(format!("({})", parts?.join(word)))
    }

    /// Whether some element at the end of the path fulfils the condition.
    fn in_json(
        &mut self,
        path: &[String],
        parent: &Parent,
        condition: impl FnOnce(&mut Self, &str) -> Result<String, Error>,
    ) -> Result<String, Error> {
        let mut from = Vec::new();
        let mut parent = parent.clone();
        for key in path {
            // Keys come from the filter grammar, which has neither quotes nor backslashes in names.
            if key.contains(['"', '\\', '\'', MARK]) {
                return Ok("(1 = 0)".to_owned());
            }
            let alias = self.alias();
            from.push(self.json.each(&parent, &format!("'{key}'"), &alias));
            parent = Parent::Element(alias);
        }
        match parent {
            Parent::Element(alias) if !from.is_empty() => {
                let condition = condition(self, &alias)?;
                Ok(format!(
                    "EXISTS (SELECT 1 FROM {} WHERE {condition})",
                    from.join(", ")
                ))
            }
            _ => Ok("(1 = 0)".to_owned()),
        }
    }

    /// A test of one JSON element.
    fn element(&mut self, alias: &str, test: &Test) -> Result<String, Error> {
        let json = self.json;
        Ok(match test {
            // fold() leaves out what is empty, so being there is enough.
            Test::Present => "(1 = 1)".to_owned(),
            Test::Eq(operand) => self.ordering(alias, "=", operand),
            Test::Less(operand) => self.ordering(alias, "<", operand),
            Test::LessOrEqual(operand) => self.ordering(alias, "<=", operand),
            Test::Greater(operand) => self.ordering(alias, ">", operand),
            Test::GreaterOrEqual(operand) => self.ordering(alias, ">=", operand),
            Test::Contains(_) | Test::StartsWith(_) | Test::EndsWith(_) => {
                let condition = self.on_text(&json.text_of(alias), test)?;
                json.string(alias, |_| condition.clone())
            }
        })
    }

    fn ordering(&mut self, alias: &str, comparison: &str, operand: &Operand) -> String {
        let json = self.json;
        match operand {
            Operand::Text(text) => {
                let bind = self.text(text.clone());
                json.string(alias, |value| {
                    if comparison == "=" {
                        format!("{value} = {bind}")
                    } else {
                        format!("{value}{} {comparison} {bind}", json.by_bytes())
                    }
                })
            }
            Operand::Number(n) => {
                let bind = self.binds.number(*n);
                json.number(alias, comparison, &bind)
            }
            Operand::Bool(value) if comparison == "=" => json.boolean(alias, *value),
            Operand::Bool(_) => "(1 = 0)".to_owned(),
        }
    }

    /// A test of a text column or expression that is not null.
    fn on_text(&mut self, column: &str, test: &Test) -> Result<String, Error> {
        let json = self.json;
        let compared = |sql: &mut Self, comparison: &str, operand: &Operand| match operand {
            Operand::Text(text) => {
                let bind = sql.text(text.clone());
                if comparison == "=" {
                    format!("{column} = {bind}")
                } else {
                    format!("{column}{} {comparison} {bind}", json.by_bytes())
                }
            }
            // A text is never equal to a number or a boolean, nor before or after one.
            Operand::Number(_) | Operand::Bool(_) => "(1 = 0)".to_owned(),
        };
        Ok(match test {
            Test::Present => "(1 = 1)".to_owned(),
            Test::Eq(operand) => compared(self, "=", operand),
            Test::Less(operand) => compared(self, "<", operand),
            Test::LessOrEqual(operand) => compared(self, "<=", operand),
            Test::Greater(operand) => compared(self, ">", operand),
            Test::GreaterOrEqual(operand) => compared(self, ">=", operand),
            Test::Contains(part) => {
                let bind = self.text(part.clone());
                format!("{} > 0", json.position(column, &bind))
            }
            Test::StartsWith(part) => {
                let bind = self.text(part.clone());
                format!("substr({column}, 1, length({bind})) = {bind}")
            }
            Test::EndsWith(part) => {
                let bind = self.text(part.clone());
                format!(
                    "(length({column}) >= length({bind}) AND \
                     substr({column}, length({column}) - length({bind}) + 1) = {bind})"
                )
            }
        })
    }

    /// Answers from an indexed column, where there is one for this attribute.
    fn column(&mut self, path: &[String], test: &Test) -> Result<Option<String>, Error> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let user = self.rt == ResourceType::User;
        let text = match path.as_slice() {
            ["id"] => Some(("r.id", false)),
            ["externalid"] => Some(("r.external_id", true)),
            ["username"] if user => Some(("r.user_name_ci", false)),
            ["displayname"] => Some(("r.display_name_ci", user)),
            _ => None,
        };
        if let Some((column, nullable)) = text {
            return Ok(Some(self.nullable(column, nullable, test)?));
        }
        Ok(match path.as_slice() {
            ["active"] if user => match test {
                // The column is true where the document says nothing.
                Test::Present | Test::Eq(Operand::Bool(true)) => None,
                Test::Eq(Operand::Bool(false)) => Some("(NOT r.active)".to_owned()),
                _ => Some("(1 = 0)".to_owned()),
            },
            ["emails", "value"] if user => {
                let condition = self.on_text("m.value_ci", test)?;
                // IN lets the database start from the address and its index.
                Some(format!(
                    "r.id IN (SELECT m.user_id FROM user_email m WHERE {condition})"
                ))
            }
            ["meta", "created"] => Some(self.instant("r.created_at", test)?),
            ["meta", "lastmodified"] => Some(self.instant("r.modified_at", test)?),
            ["meta", "resourcetype"] => {
                // Case matters here: the schema says so.
                let name = format!("'{}'", self.rt.name());
                Some(format!("({})", self.on_text(&name, test)?))
            }
            ["meta"] => Some(
                if matches!(test, Test::Present) {
                    "(1 = 1)"
                } else {
                    "(1 = 0)"
                }
                .to_owned(),
            ),
            ["meta", other] => {
                return Err(Error::Filter(format!(
                    "meta.{other} cannot be used in a filter"
                )));
            }
            ["schemas"] => {
                return Err(Error::Filter(
                    "schemas cannot be used in a filter".to_owned(),
                ));
            }
            [first, rest @ ..] => match rows_behind(self.rt, &[(*first).to_owned()]) {
                Some(rows) => {
                    let condition = match rest {
                        [] if matches!(test, Test::Present) => "(1 = 1)".to_owned(),
                        [] => self.row_test(rows, "value", test)?,
                        [sub] => self.row_test(rows, sub, test)?,
                        _ => "(1 = 0)".to_owned(),
                    };
                    // IN lets the database start from the member and its index.
                    Some(format!(
                        "r.id IN (SELECT {} FROM {} AND {condition})",
                        rows.near(),
                        rows.all_rows()
                    ))
                }
                None => None,
            },
            [] => Some("(1 = 0)".to_owned()),
        })
    }

    fn nullable(&mut self, column: &str, nullable: bool, test: &Test) -> Result<String, Error> {
        let condition = self.on_text(column, test)?;
        Ok(match (test, nullable) {
            (Test::Present, true) => format!("({column} IS NOT NULL)"),
            // NOT of an unknown is unknown: say that there is a value.
            (_, true) => format!("({column} IS NOT NULL AND {condition})"),
            (_, false) => format!("({condition})"),
        })
    }

    fn instant(&mut self, column: &str, test: &Test) -> Result<String, Error> {
        let (comparison, operand) = match test {
            Test::Present => return Ok("(1 = 1)".to_owned()),
            Test::Eq(operand) => ("=", operand),
            Test::Less(operand) => ("<", operand),
            Test::LessOrEqual(operand) => ("<=", operand),
            Test::Greater(operand) => (">", operand),
            Test::GreaterOrEqual(operand) => (">=", operand),
            Test::Contains(_) | Test::StartsWith(_) | Test::EndsWith(_) => {
                return Err(Error::Filter(
                    "a dateTime is compared with eq, ne, gt, ge, lt or le".to_owned(),
                ));
            }
        };
        let Operand::Text(text) = operand else {
            return Ok("(1 = 0)".to_owned());
        };
        let Some(at) = parse_rfc3339(text) else {
            return Err(Error::Filter(format!("{text:?} is no dateTime (RFC 3339)")));
        };
        let bind = self.integer(at);
        Ok(format!("({column} {comparison} {bind})"))
    }

    /// A filter over one membership row.
    fn row_condition(&mut self, rows: Rows, filter: &Compiled) -> Result<String, Error> {
        Ok(match filter {
            Compiled::True => "(1 = 1)".to_owned(),
            Compiled::False => "(1 = 0)".to_owned(),
            Compiled::And(parts) | Compiled::Or(parts) => {
                let word = if matches!(filter, Compiled::And(_)) {
                    " AND "
                } else {
                    " OR "
                };
                let parts: Result<Vec<String>, Error> =
                    parts.iter().map(|p| self.row_condition(rows, p)).collect();
                format!("({})", parts?.join(word))
            }
            Compiled::Not(inner) => format!("(NOT {})", self.row_condition(rows, inner)?),
            Compiled::Test { path, test } => match path.as_slice() {
                [sub] => self.row_test(rows, sub, test)?,
                _ => "(1 = 0)".to_owned(),
            },
            Compiled::Any { .. } => "(1 = 0)".to_owned(),
        })
    }

    fn row_test(&mut self, rows: Rows, sub: &str, test: &Test) -> Result<String, Error> {
        // Of a member that is not known, the type is not known either.
        if let (Rows::MembersOfGroup, "type") = (rows, sub) {
            let condition = self.on_text("lower(m.member_type)", test)?;
            return Ok(format!("(m.member_type <> '{UNKNOWN}' AND {condition})"));
        }
        let column = match (rows, sub) {
            (Rows::GroupsOfUser, "value") => "m.group_id",
            (Rows::GroupsOfUser, "display") => "g.display_name_ci",
            (Rows::GroupsOfUser, "type") => "'direct'",
            (Rows::MembersOfGroup, "value") => "m.member_id",
            (Rows::GroupsOfUser, _) => {
                return Err(Error::Filter(format!(
                    "groups.{sub} cannot be used in a filter"
                )));
            }
            (Rows::MembersOfGroup, _) => {
                return Err(Error::Filter(format!(
                    "members.{sub} cannot be used in a filter"
                )));
            }
        };
        Ok(format!("({})", self.on_text(column, test)?))
    }
}

/// A filter on the parts of a single-valued attribute as one on the resource.
fn below(name: &str, filter: &Compiled) -> Compiled {
    let longer = |path: &[String]| {
        let mut whole = vec![name.to_owned()];
        whole.extend_from_slice(path);
        whole
    };
    let all = |parts: &[Compiled]| parts.iter().map(|p| below(name, p)).collect();
    match filter {
        Compiled::True => Compiled::True,
        Compiled::False => Compiled::False,
        Compiled::And(parts) => Compiled::And(all(parts)),
        Compiled::Or(parts) => Compiled::Or(all(parts)),
        Compiled::Not(inner) => Compiled::Not(Box::new(below(name, inner))),
        Compiled::Test { path, test } => Compiled::Test {
            path: longer(path),
            test: test.clone(),
        },
        Compiled::Any { path, filter } => Compiled::Any {
            path: longer(path),
            filter: filter.clone(),
        },
    }
}

/// Attributes that are rows of their own.
#[derive(Debug, Clone, Copy)]
enum Rows {
    GroupsOfUser,
    MembersOfGroup,
}

fn rows_behind(rt: ResourceType, path: &[String]) -> Option<Rows> {
    match (rt, path) {
        (ResourceType::User, [first]) if first == "groups" => Some(Rows::GroupsOfUser),
        (ResourceType::Group, [first]) if first == "members" => Some(Rows::MembersOfGroup),
        _ => None,
    }
}

impl Rows {
    /// The rows of the resource at hand.
    fn from(self) -> String {
        format!("{} AND {} = r.id", self.all_rows(), self.near())
    }

    /// All rows.
    fn all_rows(self) -> &'static str {
        match self {
            Self::GroupsOfUser => {
                "membership m JOIN scim_group g ON g.id = m.group_id WHERE m.member_type = 'User'"
            }
            Self::MembersOfGroup => "membership m WHERE 1 = 1",
        }
    }

    /// The column that holds the resource at hand.
    fn near(self) -> &'static str {
        match self {
            Self::GroupsOfUser => "m.member_id",
            Self::MembersOfGroup => "m.group_id",
        }
    }
}
