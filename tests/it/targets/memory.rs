//! The in-memory target: the suite is proven on it, and it is proven by the suite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use usher::domain::{Failure, Observed};
use usher::targets::memory::Memory;

use super::suite::{self, Backstage, Fixture, Strikes, Trouble};

#[async_trait]
impl Backstage for Memory {
    async fn seed_user(&self, user: Observed) {
        self.seed(user);
    }

    async fn seed_group(&self, name: &str) {
        Memory::seed_group(self, name);
    }

    async fn user(&self, username: &str) -> Option<Observed> {
        Memory::user(self, username)
    }

    async fn groups(&self) -> Vec<String> {
        Memory::groups(self)
    }

    async fn remove_user(&self, username: &str) {
        self.remove(username);
    }

    async fn trouble(&self, trouble: Trouble, _: Strikes) {
        let text = format!("{trouble:?}");
        match trouble {
            Trouble::Throttled(after) => self.fail_next(Failure::Throttled {
                after: after.map(|s| Duration::from_secs(s.into())),
                text,
            }),
            Trouble::ServerError | Trouble::Hang | Trouble::ConnectionLost | Trouble::Page => {
                self.fail_next(Failure::Transient { text });
            }
            Trouble::LostReply => self.fail_after_apply(Failure::Transient { text }),
        }
    }
}

#[tokio::test]
async fn memory_passes_the_suite() {
    let cases = suite::run_all(async || {
        let memory = Memory::new();
        Fixture {
            target: Arc::new(memory.clone()),
            backstage: Box::new(memory),
        }
    })
    .await;
    eprintln!("memory: {cases} cases");
}

#[tokio::test]
async fn a_memory_without_inactive_accounts_passes_the_suite() {
    suite::run_all(async || {
        let memory = Memory::without_inactive(&["access"]);
        Fixture {
            target: Arc::new(memory.clone()),
            backstage: Box::new(memory),
        }
    })
    .await;
}
