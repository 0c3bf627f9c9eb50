//! Sorting of pages by the database.
//!
//! A sorting means what `scim::sort::Sort::key` says about the folded document; a test compares the two on both
//! databases. Only ids and keys are sorted, and only as many as the page needs are kept, so memory does not grow
//! with the number of resources.

use super::filter_sql::{After, Sql};
use crate::scim::ResourceType;
use crate::scim::sort::Sort;

/// An expression for what resources are sorted by.
struct KeyColumn {
    sql: String,
    is_text: bool,
}

impl Sql {
    /// The statement of one page. `range` limits it.
    pub(super) fn sorted(
        &mut self,
        sort: &Sort,
        after: Option<&After>,
        condition: &str,
        range: &str,
    ) -> String {
        let key = self.key_column(sort);
        let onwards = after.map_or_else(
            || "1 = 1".to_owned(),
            |after| self.onwards(sort, after, key.is_text),
        );
        let (missing, direction) = if sort.descending {
            ("IS NOT NULL", " DESC")
        } else {
            ("IS NULL", "")
        };
        let order = |alias: &str| {
            format!("ORDER BY ({alias}.k {missing}), {alias}.k{direction}, {alias}.id")
        };
        let (table, column) = (self.table(), &key.sql);
        format!(
            "SELECT r.id, r.doc, r.version, r.created_at, r.modified_at, CAST(p.k AS TEXT) FROM \
             (SELECT s.id, s.k FROM (SELECT r.id AS id, {column} AS k FROM {table} r WHERE {condition}) s \
             WHERE {onwards} {} {range}) p JOIN {table} r ON r.id = p.id {}",
            order("s"),
            order("p")
        )
    }

    /// What comes after the end of a page.
    fn onwards(&mut self, sort: &Sort, after: &After, is_text: bool) -> String {
        let id = self.binds.text(after.id.clone());
        match (&after.key, sort.descending) {
            (None, false) => format!("(s.k IS NULL AND s.id > {id})"),
            (None, true) => format!("(s.k IS NOT NULL OR s.id > {id})"),
            (Some(key), descending) => {
                let key = if is_text {
                    self.binds.text(key.clone())
                } else {
                    // A number that is none comes from a forged cursor, which finds something or nothing.
                    self.binds.integer(key.parse().unwrap_or_default())
                };
                let same = format!("(s.k = {key} AND s.id > {id})");
                if descending {
                    format!("(s.k < {key} OR {same})")
                } else {
                    format!("(s.k > {key} OR {same} OR s.k IS NULL)")
                }
            }
        }
    }

    fn key_column(&self, sort: &Sort) -> KeyColumn {
        let path: Vec<&str> = sort.path.iter().map(String::as_str).collect();
        let user = self.rt == ResourceType::User;
        let number = |sql: &str| KeyColumn {
            sql: sql.to_owned(),
            is_text: false,
        };
        let text = |sql: &str| KeyColumn {
            sql: format!("{sql}{}", self.json.by_bytes()),
            is_text: true,
        };
        match path.as_slice() {
            ["id"] => text("r.id"),
            ["externalid"] => text("r.external_id"),
            ["username"] if user => text("r.user_name_ci"),
            ["displayname"] => text("r.display_name_ci"),
            ["active"] if user => number("CASE WHEN r.active THEN 1 ELSE 0 END"),
            ["meta", "created"] => number("r.created_at"),
            ["meta", "lastmodified"] => number("r.modified_at"),
            // These names are from the schema tables: nothing in them has to be escaped.
            [list, part] if sort.of_list => text(&self.json.of_chosen(list, part)),
            path => text(&self.json.text_at(path)),
        }
    }
}

impl super::filter_sql::Json {
    /// The text at the end of a path through first elements.
    fn text_at(self, path: &[&str]) -> String {
        if self.postgres {
            let steps: String = path
                .iter()
                .map(|name| format!(" -> '{name}' -> 0"))
                .collect();
            let place = format!("(r.search::jsonb{steps})");
            format!("(CASE WHEN jsonb_typeof({place}) = 'string' THEN {place} #>> '{{}}' END)")
        } else {
            let steps: String = path.iter().map(|name| format!(".\"{name}\"[0]")).collect();
            format!(
                "(CASE WHEN json_type(r.search, '${steps}') = 'text' \
                 THEN json_extract(r.search, '${steps}') END)"
            )
        }
    }

    /// A part of the element of a list that is primary, or else of the first one.
    fn of_chosen(self, list: &str, part: &str) -> String {
        if self.postgres {
            let elements = format!("r.search::jsonb -> '{list}'");
            format!(
                "(SELECT CASE WHEN jsonb_typeof(e.value -> '{part}' -> 0) = 'string' \
                 THEN e.value -> '{part}' ->> 0 END FROM jsonb_array_elements(\
                 CASE WHEN jsonb_typeof({elements}) = 'array' THEN {elements} ELSE '[]'::jsonb END) \
                 WITH ORDINALITY AS e(value, place) \
                 ORDER BY COALESCE(e.value -> 'primary' -> 0 = 'true'::jsonb, FALSE) DESC, e.place LIMIT 1)"
            )
        } else {
            // json_extract fails on text that is no JSON, which a plain string element is.
            let element = "CASE WHEN e.type = 'object' THEN e.value ELSE '{}' END";
            format!(
                "(SELECT CASE WHEN json_type({element}, '$.\"{part}\"[0]') = 'text' \
                 THEN json_extract({element}, '$.\"{part}\"[0]') END FROM json_each(r.search, '$.\"{list}\"') e \
                 ORDER BY (json_type({element}, '$.\"primary\"[0]') IS 'true') DESC, e.key LIMIT 1)"
            )
        }
    }
}
