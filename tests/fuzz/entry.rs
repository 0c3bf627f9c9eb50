//! Everything that reads what others wrote: the first letter says which parser gets the rest. The fuzzer looks for
//! inputs, and the tests give what it found to the same functions again.

use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use usher::auth::domain_token::{self, Expected, TokenKind};
use usher::config::{self, DatabaseUrl, Networks};
use usher::mapping::Rules;
use usher::scim::{
    Dialect, Doc, ResourceType, bulk, cursor, filter, fold, list, patch, path, resource,
};

const DIALECTS: [Dialect; 4] = [Dialect::Rfc, Dialect::Idcs, Dialect::EntraId, Dialect::Okta];
const TYPES: [ResourceType; 2] = [ResourceType::User, ResourceType::Group];

/// Gives an input to the parser that its first letter names. Panics where a parser does, and where what it made of
/// the input is not what it makes of that again.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut rest = text.chars();
    let kind = rest.next();
    let text = rest.as_str();
    match kind {
        Some('f') => filters(text),
        Some('p') => paths(text),
        Some('o') => patches(text),
        Some('u') => bodies(text),
        Some('b') => bulks(text),
        Some('l') => lists(text),
        Some('c') => configurations(text),
        Some('t') => tokens(text),
        Some('a') => addresses(text),
        _ => {}
    }
}

fn filters(text: &str) {
    let Ok(parsed) = filter::parse(text) else {
        return;
    };
    let printed = parsed.to_string();
    // A printed filter may be longer than one may be that is read.
    if printed.len() <= filter::MAX_LENGTH {
        assert_eq!(filter::parse(&printed).as_ref(), Ok(&parsed), "{printed}");
    }
    for rt in TYPES {
        if let Ok(compiled) = filter::compile(rt, &parsed) {
            compiled.matches(&fold::fold(rt, &document(rt)));
        }
    }
}

fn paths(text: &str) {
    if let Ok(parsed) = path::parse(text) {
        let printed = parsed.to_string();
        if printed.len() <= filter::MAX_LENGTH {
            assert_eq!(path::parse(&printed).as_ref(), Ok(&parsed), "{printed}");
        }
    }
}

fn patches(text: &str) {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for dialect in DIALECTS {
        for rt in TYPES {
            if let Ok(operations) = patch::parse(dialect, body.clone())
                && let Ok(change) = patch::apply(rt, dialect, &document(rt), &operations)
            {
                resource::keys(rt, &change.doc);
            }
        }
    }
}

fn bodies(text: &str) {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return;
    };
    for dialect in DIALECTS {
        for rt in TYPES {
            if let Ok(change) = resource::parse_create(rt, dialect, body.clone()) {
                let folded = fold::fold(rt, &change.doc).to_string();
                assert_eq!(fold::fold_to_text(rt, &change.doc).ok(), Some(folded));
                resource::keys(rt, &change.doc);
            }
            let _ = resource::apply_put(rt, dialect, &document(rt), body.clone());
        }
    }
}

fn bulks(text: &str) {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if let Ok(request) = bulk::parse(body) {
        bulk::plan(&request);
    }
}

fn lists(text: &str) {
    // As in a form: one pair on each line.
    let pairs: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Ok((query, _)) = list::parse_query(&pairs) {
        let _ = cursor::read("/Users", &query);
    }
    if let Ok(body) = serde_json::from_str::<Value>(text) {
        let _ = list::parse_search(body);
    }
}

fn configurations(text: &str) {
    let Ok(file) = config::parse(text) else {
        return;
    };
    for mapping in &file.mappings {
        Rules::problems(&mapping.settings);
    }
    let printed = config::print(&file);
    assert_eq!(config::parse(&printed).as_ref(), Ok(&file), "{printed}");
}

fn tokens(text: &str) {
    let keys = JwkSet { keys: Vec::new() };
    let expected = Expected {
        issuers: vec!["https://identity.oraclecloud.com/".to_owned()],
        audiences: vec!["usher".to_owned()],
        tenant: None,
        kinds: vec![TokenKind::Identity],
        now_s: 1_800_000_000,
    };
    assert!(domain_token::verify(text, &keys, &expected).is_err());
    domain_token::stated_audiences(text);
}

fn addresses(text: &str) {
    let _ = text.parse::<DatabaseUrl>();
    let _ = text.parse::<Networks>();
    if let Some(seconds) = config::span_of_time(text) {
        let printed = config::span_text(seconds);
        assert_eq!(config::span_of_time(&printed), Some(seconds), "{printed}");
    }
}

fn document(rt: ResourceType) -> Doc {
    let value = match rt {
        ResourceType::User => json!({
            "userName": "ada", "displayName": "Ada", "active": true, "externalId": "x1",
            "name": {"givenName": "Ada", "familyName": "Byron"},
            "emails": [{"value": "ada@example.com", "type": "work", "primary": true}, {"value": "a@b.example"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R&D"},
        }),
        ResourceType::Group => json!({"displayName": "jira-users", "externalId": "g1"}),
    };
    match value {
        Value::Object(doc) => doc,
        _ => Doc::new(),
    }
}
