//! Trying what a connection needs, one thing after the other, so that a refusal names what is missing.

use super::{Error, Idcs};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: &'static str,
    /// What came of it, in words.
    pub outcome: Result<String, String>,
}

impl Idcs {
    /// Tries the token, users, one group with members, and grants where the connection counts them.
    pub async fn check(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let users = self.users(None, 1).await;
        // A refused token would refuse all that follows with the same words.
        let stop = matches!(
            users,
            Err(Error::Unauthorized { .. } | Error::Unavailable { .. } | Error::Setup { .. })
        );
        let total = users.map(|page| format!("{} in the domain", page.total));
        steps.push(step("users", total));
        if stop {
            return steps;
        }
        steps.push(step("groups with members", self.try_groups().await));
        if let Some(app) = self.0.settings.app_id.clone() {
            steps.push(step("grants", self.try_grants(&app).await));
        }
        steps
    }

    async fn try_groups(&self) -> Result<String, Error> {
        let page = self.groups(1).await?;
        let Some(group) = page.rows.first() else {
            return Ok(format!("{} in the domain", page.total));
        };
        let members = self.members(&group.id, 1).await?;
        Ok(format!(
            "{} in the domain; {} shows {} members on its first page",
            page.total,
            group.name,
            members.len()
        ))
    }

    async fn try_grants(&self, app: &str) -> Result<String, Error> {
        let page = self.grants(app, None, 1).await?;
        let application = self.app(app).await?;
        let open = page.rows.iter().filter(|grant| !grant.fulfilled).count();
        let mut words = format!(
            "{} of {}",
            page.total,
            application["displayName"].as_str().unwrap_or(app)
        );
        if open > 0 {
            words.push_str(&format!(
                "; {open} not fulfilled: the domain could not push them"
            ));
        }
        Ok(words)
    }
}

fn step(what: &'static str, outcome: Result<String, Error>) -> Step {
    Step {
        what,
        outcome: outcome.map_err(|e| e.to_string()),
    }
}
