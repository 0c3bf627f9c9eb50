//! Sorting (RFC 7644 section 3.4.2.3): what a list may be sorted by, and where each resource comes.
//!
//! Defined on the folded form like filters: text in the order of its UTF-8 bytes, without regard to case where
//! the schema says so. A resource without the attribute comes last, first if the order is descending, and
//! equal ones stand by their `id`. Of a list the primary element counts, else its first.

use serde_json::Value;

use super::filter::{AttrPath, resolve};
use super::schema::{self, Kind};
use super::{Error, ResourceType, path};

/// `sortBy` and `sortOrder` as a request states them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortQuery {
    /// Which attribute.
    pub by: AttrPath,
    /// The largest first.
    pub descending: bool,
}

/// A sorting that this server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// Folded names, down to a single value.
    pub path: Vec<String>,
    /// Whether the first of the path is a list, of which one element counts.
    pub of_list: bool,
    /// The largest first.
    pub descending: bool,
}

/// Where a resource comes in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// By the value.
    Bool(bool),
    /// By the text.
    Text(String),
    /// After everything that has a value.
    Missing,
}

/// Reads the two parameters.
pub fn parse(by: Option<&str>, order: Option<&str>) -> Result<Option<SortQuery>, Error> {
    let Some(by) = by else { return Ok(None) };
    let descending = match order.unwrap_or("ascending") {
        text if text.eq_ignore_ascii_case("ascending") => false,
        text if text.eq_ignore_ascii_case("descending") => true,
        _ => {
            return Err(Error::invalid_value(
                "sortOrder must be ascending or descending",
            ));
        }
    };
    let by = path::parse(by)
        .ok()
        .filter(|path| path.filter.is_none())
        .ok_or_else(|| Error::invalid_value(format!("sortBy: {by:?} is no attribute")))?
        .attr;
    Ok(Some(SortQuery { by, descending }))
}

/// Resolves a sorting over resources of one type.
pub fn compile(rt: ResourceType, query: &SortQuery) -> Result<Sort, Error> {
    let refused = |why: &str| {
        Err(Error::invalid_value(format!(
            "{} cannot be sorted by {}: {why}",
            rt.endpoint(),
            query.by
        )))
    };
    let Ok(resolved) = resolve(rt, &query.by) else {
        return refused("it is never shown");
    };
    let Some(mut attribute) = resolved.attribute else {
        return refused("only attributes of the schemas of /Schemas have an order");
    };
    let mut path = resolved.path;
    match path[0].as_str() {
        "groups" | "members" | "schemas" => {
            return refused("it has no one value that could be compared");
        }
        "meta" if !matches!(attribute.name, "created" | "lastModified") => {
            return refused("of meta, only created and lastModified have an order");
        }
        _ => {}
    }
    if attribute.kind == Kind::Complex {
        let Some(value) = attribute.sub("value") else {
            return refused("it has parts; name one of them, as in name.familyName");
        };
        path.push("value".to_owned());
        attribute = value;
    }
    let is_active = path.len() == 1 && attribute.name == "active";
    if matches!(attribute.kind, Kind::Binary) || (attribute.kind == Kind::Boolean && !is_active) {
        return refused("its values have no useful order");
    }
    let in_core = query
        .by
        .urn
        .as_ref()
        .is_none_or(|urn| urn.eq_ignore_ascii_case(rt.schema()));
    Ok(Sort {
        of_list: in_core && schema::attribute(rt, &query.by.name).is_some_and(|a| a.multi),
        path,
        descending: query.descending,
    })
}

impl Sort {
    /// Where a folded resource comes in ascending order. Databases are compared with this.
    pub fn key(&self, folded: &Value) -> Key {
        if self.path == ["active"] {
            // Whose `active` was taken away has access (see `resource::keys`).
            return Key::Bool(folded["active"][0] != Value::Bool(false));
        }
        let mut place = folded;
        for (depth, name) in self.path.iter().enumerate() {
            let elements = place[name].as_array().map_or(&[][..], Vec::as_slice);
            let primary = elements
                .iter()
                .find(|e| depth == 0 && self.of_list && e["primary"][0] == Value::Bool(true));
            let Some(element) = primary.or(elements.first()) else {
                return Key::Missing;
            };
            place = element;
        }
        place
            .as_str()
            .map_or(Key::Missing, |text| Key::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sort(rt: ResourceType, by: &str) -> Result<Sort, Error> {
        compile(rt, &parse(Some(by), None)?.unwrap())
    }

    #[test]
    fn the_primary_element_of_a_list_counts() {
        let sort = sort(ResourceType::User, "emails").unwrap();
        let key = |emails: Value| sort.key(&json!({ "emails": emails }));
        let (a, b) = (
            json!({"value": ["a"]}),
            json!({"value": ["b"], "primary": [true]}),
        );
        assert_eq!(key(json!([a, b])), Key::Text("b".to_owned()));
        assert_eq!(key(json!([a])), Key::Text("a".to_owned()));
        assert_eq!(key(json!([{"type": ["work"]}, a])), Key::Missing);
        assert_eq!(sort.key(&json!({})), Key::Missing);
    }

    #[test]
    fn missing_ones_come_last() {
        assert!(Key::Text("z".to_owned()) < Key::Missing);
        assert!(Key::Bool(false) < Key::Bool(true));
    }

    #[test]
    fn what_has_no_order_is_refused() {
        for by in [
            "name",
            "groups",
            "groups.value",
            "meta",
            "meta.version",
            "meta.location",
            "schemas",
            "password",
            "nothing",
            "urn:example:custom:2.0:User:level",
            "x509Certificates",
            "emails.primary",
            "a b",
            "",
            "emails[type eq \"work\"].value",
        ] {
            let error = sort(ResourceType::User, by).unwrap_err();
            assert_eq!(error.scim_type(), Some("invalidValue"), "{by}");
        }
        assert!(sort(ResourceType::Group, "userName").is_err());
        assert!(sort(ResourceType::Group, "members.value").is_err());
        assert!(parse(Some("userName"), Some("upwards")).is_err());
        assert_eq!(parse(None, Some("upwards")), Ok(None));
    }
}
