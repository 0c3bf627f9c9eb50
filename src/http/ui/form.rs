//! What somebody typed into a form.

use secrecy::SecretString;

use super::super::problem::{FieldError, Problem};
use crate::config::span_of_time;

/// Kinds of connections: the word of the configuration, and a name for people.
pub(super) const CONNECTION_KINDS: &[(&str, &str)] = &[
    ("oracle-idcs", "Oracle IDCS / OCI IAM identity domain"),
    ("entra-id", "Microsoft Entra ID"),
    ("okta", "Okta"),
    ("scim", "another one that speaks SCIM 2.0"),
];

/// Kinds of targets, likewise.
pub(super) const TARGET_KINDS: &[(&str, &str)] = &[
    ("jira-dc", "Jira Data Center"),
    ("confluence-dc", "Confluence Data Center"),
    ("bitbucket-dc", "Bitbucket Data Center"),
    ("crowd", "Crowd, or a Jira that acts as one"),
    ("atlassian-guard", "Atlassian Guard (Cloud)"),
];

/// The fields of a form, in the order of the page; a name may be there several times.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of that name, without blanks around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        fields
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// Every value of that name, without blanks around it.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().filter(move |(known, _)| known == name);
        fields.map(|(_, value)| value.trim())
    }

    /// A text that may be left out.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// A secret that may be left out: as it was typed.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        let mut fields = self.0.iter();
        fields
            .find(|(known, value)| known == name && !value.trim().is_empty())
            .map(|(_, value)| SecretString::from(value.as_str()))
    }

    /// Whether a box is ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// A list with an entry on each line.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.get(name).lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A whole number, or what it is if the field is empty.
    pub(super) fn number(&self, name: &str, empty: u32) -> Result<u32, Problem> {
        match self.get(name) {
            "" => Ok(empty),
            text => text
                .parse()
                .map_err(|_| wrong(name, "should be a whole number")),
        }
    }

    /// A span of time such as `30m`, in seconds, or what it is if the field is empty.
    pub(super) fn seconds(&self, name: &str, empty: u64) -> Result<u64, Problem> {
        match self.get(name) {
            "" => Ok(empty),
            text => span_of_time(text)
                .ok_or_else(|| wrong(name, "should be a span of time such as 20s, 30m, 6h or 1d")),
        }
    }

    /// One of the words that a setting can be, as it is named in the configuration.
    pub(super) fn word<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Problem> {
        let word = serde_json::Value::from(self.get(name));
        serde_json::from_value(word).map_err(|_| wrong(name, "should be one of the choices"))
    }
}

/// A field that cannot be used, and why.
pub(super) fn wrong(name: &str, why: &str) -> Problem {
    let mut problem = Problem::new(422, "nothing was saved; what is wrong stands below");
    problem.errors = vec![FieldError {
        field: name.to_owned(),
        detail: format!("{} {why}", name.replace('_', " ")),
    }];
    problem
}

/// What is wrong with what was typed, for the top of a form.
pub(super) fn mistakes(problem: &Problem) -> Vec<String> {
    if problem.errors.is_empty() {
        return vec![problem.detail.clone()];
    }
    problem.errors.iter().map(|e| e.detail.clone()).collect()
}

/// The word that a setting is named by in the configuration.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TargetKind;

    #[test]
    fn fields_are_read_and_mistakes_named() {
        let fields = Fields(
            [
                ("kind", "jira-dc"),
                ("list", " a \n\n b"),
                ("n", "x"),
                ("secret", " s "),
                ("span", "5 weeks"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        );
        assert_eq!(
            fields.word::<TargetKind>("kind").unwrap(),
            TargetKind::JiraDc
        );
        assert!(fields.word::<TargetKind>("list").is_err());
        assert_eq!(fields.lines("list"), ["a", "b"]);
        assert_eq!(fields.number("none", 7).unwrap(), 7);
        let problem = fields.number("n", 7).unwrap_err();
        assert_eq!(mistakes(&problem), ["n should be a whole number"]);
        assert!(fields.seconds("span", 1).is_err());
        use secrecy::ExposeSecret;
        assert_eq!(fields.secret("secret").unwrap().expose_secret(), " s ");
    }
}
