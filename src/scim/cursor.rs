//! Cursors (RFC 9865): where a page ended, as a text that clients give back.
//!
//! A cursor says after which resource to go on, not how many to skip: what comes or goes meanwhile neither
//! repeats nor hides another resource. It holds no state of the server, so it never expires, and the credential
//! decides what is found with it, so it need not be secret. It fits only the list that it was made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::list::ListQuery;
use super::{Error, ResourceType};

/// The end of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of which type its last resource was.
    pub rt: ResourceType,
    /// Its `id`; empty: before the first one of this type.
    pub id: String,
    /// What the list is sorted by.
    pub key: Option<String>,
}

/// Writes a cursor of the list that `query` asks for at `endpoint`.
pub fn write(endpoint: &str, query: &ListQuery, cursor: &Cursor) -> String {
    let parts = (
        fingerprint(endpoint, query),
        cursor.rt.name(),
        &cursor.id,
        &cursor.key,
    );
    // A tuple of texts is always JSON.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&parts).unwrap_or_default())
}

/// Reads the cursor of a query; `None` for the beginning.
pub fn read(endpoint: &str, query: &ListQuery) -> Result<Option<Cursor>, Error> {
    let Some(text) = query.cursor.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = || {
        Error::invalid_cursor(
            "the cursor is none of this list; begin again with an empty one and keep filter and sorting the same",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let (print, rt, id, key): (String, String, String, Option<String>) =
        serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let rt = [ResourceType::User, ResourceType::Group]
        .into_iter()
        .find(|known| known.name() == rt)
        .ok_or_else(wrong)?;
    // PostgreSQL takes no text with U+0000.
    let odd = [Some(&id), key.as_ref()]
        .into_iter()
        .flatten()
        .any(|text| text.contains('\0'));
    if print != fingerprint(endpoint, query) || odd {
        return Err(wrong());
    }
    Ok(Some(Cursor { rt, id, key }))
}

/// Tells lists apart.
fn fingerprint(endpoint: &str, query: &ListQuery) -> String {
    let filter = query.filter.as_ref().map(ToString::to_string);
    let sort = query
        .sort
        .as_ref()
        .map(|s| (s.by.to_string(), s.descending));
    let digest = Sha256::digest(format!("{endpoint}\n{filter:?}\n{sort:?}"));
    URL_SAFE_NO_PAD.encode(&digest[..9])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::{filter, sort};

    fn query(filter: &str, by: Option<&str>, cursor: &str) -> ListQuery {
        ListQuery {
            start_index: 1,
            count: 10,
            filter: Some(filter::parse(filter).unwrap()),
            sort: sort::parse(by, None).unwrap(),
            cursor: Some(cursor.to_owned()),
        }
    }

    #[test]
    fn a_cursor_is_read_back_for_its_own_list_only() {
        let cursor = Cursor {
            rt: ResourceType::Group,
            id: "7".to_owned(),
            key: Some("é\"\n".to_owned()),
        };
        let text = write("Groups", &query("id pr", Some("displayName"), ""), &cursor);
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        );
        let read = |endpoint, filter, by| read(endpoint, &query(filter, by, &text));
        assert_eq!(
            read("Groups", "id pr", Some("displayName")),
            Ok(Some(cursor))
        );
        assert!(read("Users", "id pr", Some("displayName")).is_err());
        assert!(read("Groups", "id eq \"1\"", Some("displayName")).is_err());
        assert!(read("Groups", "id pr", None).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |text: &str| read("Users", &query("id pr", None, text));
        assert_eq!(with(""), Ok(None));
        for text in ["x", "!!!", "W10", "AAAA"] {
            assert_eq!(
                with(text).unwrap_err().scim_type(),
                Some("invalidCursor"),
                "{text}"
            );
        }
    }
}
