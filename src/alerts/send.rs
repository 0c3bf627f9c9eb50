//! One message about everything that is new.

use serde_json::{Value, json};

use super::Channel;
use crate::clock::rfc3339;
use crate::domain::{AlertSettings, Secrets};
use crate::outbound::{mail, webhook};
use crate::store::alerts::Row;

/// Sends it.
pub(super) async fn send(
    channel: Channel,
    settings: &AlertSettings,
    secrets: &Secrets,
    news: &[Row],
) -> Result<(), String> {
    match channel {
        Channel::Log => {
            for row in news {
                if row.ended_at.is_some() {
                    tracing::info!(alert = row.key, text = row.text, "an alert is over");
                } else {
                    tracing::warn!(alert = row.key, text = row.text, "alert");
                }
            }
            Ok(())
        }
        Channel::Webhook => {
            let Some(webhook) = &settings.webhook else {
                return Err("there is no [alerts.webhook]".to_owned());
            };
            let token = webhook.token.as_ref().map(|it| secrets(it)).transpose()?;
            webhook::post(&secrets(&webhook.url)?, token, &body(news)).await
        }
        Channel::Mail => {
            let Some(mail) = &settings.mail else {
                return Err("there is no [alerts.mail]".to_owned());
            };
            let password = mail.login.as_ref().map(|(_, p)| secrets(p)).transpose()?;
            mail::send(mail, password.as_ref(), &subject(news), &text(news)).await
        }
    }
}

/// JSON that chat programs understand (`text`), with the same for programs.
fn body(news: &[Row]) -> Value {
    let of = |over: bool| -> Vec<Value> {
        news.iter()
            .filter(|row| row.ended_at.is_some() == over)
            .map(|row| {
                json!({
                    "key": row.key,
                    "text": row.text,
                    "since": rfc3339(row.since),
                    "ended": row.ended_at.map(rfc3339),
                })
            })
            .collect()
    };
    json!({"text": text(news), "raised": of(false), "resolved": of(true)})
}

fn subject(news: &[Row]) -> String {
    match news {
        [row] if row.ended_at.is_some() => format!("Usher: over: {}", row.text),
        [row] => format!("Usher: {}", row.text),
        _ => {
            let over = news.iter().filter(|row| row.ended_at.is_some()).count();
            format!("Usher: {} alerts, {over} over", news.len() - over)
        }
    }
}

fn text(news: &[Row]) -> String {
    let line = |row: &Row| match row.ended_at {
        Some(at) => format!("Over since {}: {}", rfc3339(at), row.text),
        None => format!("Since {}: {}", rfc3339(row.since), row.text),
    };
    news.iter().map(line).collect::<Vec<_>>().join("\n")
}
