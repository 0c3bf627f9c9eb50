//! Limits of what is taken, and words for what cannot be read.

use actix_web::error::{JsonPayloadError, QueryPayloadError};
use actix_web::web;

use super::Problem;

/// The largest body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// For JSON bodies.
pub(super) fn json() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(MAX_BODY)
        .content_type_required(true)
        .error_handler(|error, _| {
            let problem = match &error {
                JsonPayloadError::ContentType => {
                    Problem::new(415, "send the body as application/json")
                }
                JsonPayloadError::Overflow { .. }
                | JsonPayloadError::OverflowKnownLength { .. } => {
                    Problem::new(413, format!("the body is larger than {MAX_BODY} bytes"))
                }
                JsonPayloadError::Deserialize(error) => {
                    // The parser's words name the field, and of the value no more than its type.
                    Problem::new(
                        400,
                        format!(
                            "the body is not as described: {}",
                            unquoted(&error.to_string())
                        ),
                    )
                }
                _ => Problem::new(400, "the body cannot be read"),
            };
            problem.into()
        })
}

/// For query strings.
pub(super) fn query() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let detail = match &error {
            QueryPayloadError::Deserialize(error) => {
                format!("the query is not as described: {error}")
            }
            _ => "the query cannot be read".to_owned(),
        };
        Problem::new(400, detail).into()
    })
}

/// Without the value that serde quotes (`invalid type: string "…"`): it may be a password.
fn unquoted(text: &str) -> String {
    match (text.find(": string \""), text.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}: string{}", &text[..from], &text[to + 1..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn values_are_not_repeated() {
        let text = r#"invalid type: string "secret", expected u32 at line 1 column 5"#;
        assert_eq!(
            unquoted(text),
            "invalid type: string, expected u32 at line 1 column 5"
        );
        assert_eq!(unquoted("missing field `name`"), "missing field `name`");
    }
}
