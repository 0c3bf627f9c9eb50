//! List requests and answers (RFC 7644 section 3.4.2 and 3.4.3).

use serde_json::{Value, json};

use super::filter::{self, Filter};
use super::projection::Projection;
use super::resource::object;
use super::sort::{self, SortQuery};
use super::{Doc, Error};

/// The largest page.
pub const MAX_COUNT: u64 = 1000;
/// The schema of an answer.
const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The page of whoever does not say how much.
pub const DEFAULT_COUNT: u64 = 100;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    /// 1-based.
    pub start_index: u64,
    /// 0 to [`MAX_COUNT`].
    pub count: u64,
    /// Which resources.
    pub filter: Option<Filter>,
    /// In which order; without: by `id`.
    pub sort: Option<SortQuery>,
    /// To go on from there (RFC 9865); empty: from the beginning. Without: by `startIndex`.
    pub cursor: Option<String>,
}

/// The parameters of a list, in whichever form they came.
#[derive(Debug, Default)]
struct Parameters {
    start_index: Option<i64>,
    count: Option<i64>,
    filter: Option<String>,
    attributes: Option<String>,
    excluded: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    cursor: Option<String>,
}

impl Parameters {
    fn checked(self) -> Result<(ListQuery, Projection), Error> {
        if self.cursor.is_some() {
            if self.count.is_some_and(|count| count < 1) {
                return Err(Error::invalid_count(format!(
                    "with a cursor, count is 1 to {MAX_COUNT}"
                )));
            }
            if self.start_index.is_some_and(|start| start > 1) {
                return Err(Error::invalid_cursor(
                    "a page begins at startIndex or at the cursor: send one of them",
                ));
            }
        }
        Ok((
            ListQuery {
                start_index: start_index(self.start_index),
                count: count(self.count),
                filter: self.filter.as_deref().map(filter::parse).transpose()?,
                sort: sort::parse(self.sort_by.as_deref(), self.sort_order.as_deref())?,
                cursor: self.cursor,
            },
            Projection::parse(self.attributes.as_deref(), self.excluded.as_deref())?,
        ))
    }
}

/// Reads a query string. Unknown parameters are passed over.
pub fn parse_query(pairs: &[(String, String)]) -> Result<(ListQuery, Projection), Error> {
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let number = |name: &str| {
        get(name)
            .map(|text| {
                text.trim()
                    .parse::<i64>()
                    .map_err(|_| Error::invalid_value(format!("{name} must be a whole number")))
            })
            .transpose()
    };
    Parameters {
        start_index: number("startIndex")?,
        count: number("count")?,
        filter: get("filter"),
        attributes: get("attributes"),
        excluded: get("excludedAttributes"),
        sort_by: get("sortBy"),
        sort_order: get("sortOrder"),
        cursor: get("cursor"),
    }
    .checked()
}

/// Reads the body of a `POST /.search`.
pub fn parse_search(body: Value) -> Result<(ListQuery, Projection), Error> {
    let body = object(body)?;
    let get = |name: &str| {
        body.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
            .filter(|v| !v.is_null())
    };
    let number = |name: &str| {
        get(name)
            .map(|value| {
                value
                    .as_i64()
                    .ok_or_else(|| Error::invalid_value(format!("{name} must be a whole number")))
            })
            .transpose()
    };
    let text = |name: &str| {
        get(name)
            .map(|value| {
                let text = value.as_str().map(ToOwned::to_owned);
                text.ok_or_else(|| Error::invalid_value(format!("{name} must be text")))
            })
            .transpose()
    };
    Parameters {
        start_index: number("startIndex")?,
        count: number("count")?,
        filter: text("filter").map_err(|e| Error::invalid_filter(e.detail()))?,
        attributes: names(&body, "attributes")?,
        excluded: names(&body, "excludedAttributes")?,
        sort_by: text("sortBy")?,
        sort_order: text("sortOrder")?,
        cursor: text("cursor")?,
    }
    .checked()
}

/// An answer.
pub fn list_response(total: u64, start_index: u64, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST_RESPONSE],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// How a page says where it is in its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// RFC 7644 section 3.4.2.4.
    Index(u64),
    /// RFC 9865, with the cursor of the next page unless this is the last one.
    Cursor(Option<String>),
}

/// An answer with resources that are text already, separated by commas.
pub fn list_text(total: u64, place: &Place, count: usize, resources: &[u8]) -> Vec<u8> {
    let place = match place {
        Place::Index(start_index) => format!("\"startIndex\":{start_index},"),
        // A cursor has nothing to be escaped.
        Place::Cursor(Some(next)) => format!("\"nextCursor\":\"{next}\","),
        Place::Cursor(None) => String::new(),
    };
    let mut text = format!(
        "{{\"schemas\":[\"{LIST_RESPONSE}\"],\"totalResults\":{total},{place}\
         \"itemsPerPage\":{count},\"Resources\":["
    )
    .into_bytes();
    text.reserve_exact(resources.len() + 2);
    text.extend_from_slice(resources);
    text.extend_from_slice(b"]}");
    text
}

/// "A value less than 1 shall be interpreted as 1."
fn start_index(stated: Option<i64>) -> u64 {
    stated
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(1)
        .max(1)
}

/// "A negative value shall be interpreted as 0."
fn count(stated: Option<i64>) -> u64 {
    match stated {
        None => DEFAULT_COUNT,
        Some(n) => u64::try_from(n).unwrap_or(0).min(MAX_COUNT),
    }
}

fn names(body: &Doc, name: &str) -> Result<Option<String>, Error> {
    match body
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
    {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(names)) => names
            .iter()
            .map(|n| {
                n.as_str()
                    .ok_or_else(|| Error::invalid_value(format!("{name} must be texts")))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|names| Some(names.join(","))),
        Some(Value::String(names)) => Ok(Some(names.clone())),
        Some(_) => Err(Error::invalid_value(format!("{name} must be an array"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<ListQuery, Error> {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        parse_query(&pairs).map(|(query, _)| query)
    }

    #[test]
    fn both_forms_of_an_answer_are_the_same() {
        let resources = vec![json!({"id": "1"}), json!({"id": "2"})];
        let text = list_text(7, &Place::Index(3), 2, b"{\"id\":\"1\"},{\"id\":\"2\"}");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            list_response(7, 3, resources).to_string()
        );
    }

    #[test]
    fn numbers_are_kept_within_their_bounds() {
        let page = |pairs: &[(&str, &str)]| query(pairs).map(|q| (q.start_index, q.count)).unwrap();
        assert_eq!(page(&[]), (1, 100));
        assert_eq!(page(&[("startIndex", "0"), ("count", "-1")]), (1, 0));
        assert_eq!(page(&[("startIndex", "-5"), ("count", "5000")]), (1, 1000));
        assert_eq!(
            page(&[("startIndex", "201"), ("count", "200"), ("sortBy", "x")]),
            (201, 200)
        );
        assert!(query(&[("count", "many")]).is_err());
    }

    #[test]
    fn a_cursor_stands_alone() {
        assert_eq!(
            query(&[("cursor", "")]).unwrap().cursor.as_deref(),
            Some("")
        );
        let refused = |pairs: &[(&str, &str)]| query(pairs).unwrap_err().scim_type();
        assert_eq!(
            refused(&[("cursor", ""), ("count", "0")]),
            Some("invalidCount")
        );
        assert_eq!(
            refused(&[("cursor", ""), ("startIndex", "2")]),
            Some("invalidCursor")
        );
    }
}
