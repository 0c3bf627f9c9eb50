//! Deleting takes Confluence a while: it answers with the number of a task. The task is followed to its end, but what
//! counts is whether the account is still there: a task ends in several ways, and its status may be gone by then.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::wire::{LongTask, Submission, User};
use super::{ConfluenceDc, Who, already};
use crate::domain::{Applied, Failure};
use crate::outbound::segment;
use crate::targets::atlassian::Words;

/// Between two looks: this at first, and twice as long each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

pub(super) async fn delete(confluence: &ConfluenceDc, who: Who<'_>) -> Result<Applied, Failure> {
    let Some(user) = confluence.user(who).await? else {
        return Ok(already(None));
    };
    let path = format!("/admin/user/{}", segment(&user.name));
    let response = confluence.rest.delete(&path, &[]).await?;
    match response.status {
        200..=299 => {}
        404 if Words::of(&response).is_some() => {
            return match confluence.user(who).await? {
                None => Ok(already(None)),
                Some(_) => Err(confluence.rest.failure(&response)),
            };
        }
        _ => return Err(confluence.refused(&response, &user.name).await),
    }
    let task = response.json::<Submission>().ok().map(|task| task.id);
    follow(confluence, &user, task.as_deref()).await
}

async fn follow(
    confluence: &ConfluenceDc,
    user: &User,
    task: Option<&str>,
) -> Result<Applied, Failure> {
    let until = Instant::now() + confluence.patience;
    let (mut wait, mut status) = (FIRST_WAIT, LongTask::default());
    loop {
        if confluence.user(Who::Key(&user.key)).await?.is_none() {
            return Ok(Applied::default());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        sleep(wait.min(left)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        if let Some(id) = task {
            status = read(confluence, id).await?.unwrap_or(status);
        }
    }
    let said = status
        .words()
        .map_or(String::new(), |words| format!(": {words}"));
    if status.failed() {
        return Err(Failure::Rejected {
            field: None,
            text: format!("Confluence could not delete {}{said}", user.name),
        });
    }
    let text = format!(
        "Confluence is still deleting {} ({} % after {} s){said}",
        user.name,
        status.percentage_complete,
        confluence.patience.as_secs_f64()
    );
    Err(Failure::Transient { text })
}

/// `None`: Confluence forgets tasks that are over.
async fn read(confluence: &ConfluenceDc, id: &str) -> Result<Option<LongTask>, Failure> {
    let path = format!("/longtask/{}", segment(id));
    let response = confluence.rest.get(&path, &[]).await?;
    match response.status {
        200 => response.json().map(Some),
        404 => confluence.rest.absent(&response).map(|()| None),
        _ => Err(confluence.refusal(&response).await),
    }
}
