//! Traces, as a collector of OpenTelemetry gets them: from the push to the request at the product.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use usher_emulators::jira::{Jira, JiraOptions};

use super::harness::{Process, Receiver, free_port, sqlite};

/// The attributes of a span that are text.
fn texts(span: &Span) -> BTreeMap<&str, &str> {
    span.attributes
        .iter()
        .filter_map(
            |it| match it.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(Attribute::StringValue(text)) => Some((it.key.as_str(), text.as_str())),
                _ => None,
            },
        )
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_push_to_the_product() {
    let (collector, database) = (Receiver::start(), sqlite());
    let jira = Jira::start(JiraOptions::default()).unwrap();
    let options = JiraOptions::default();
    let token = options.token.as_str();
    let file = database.folder().join("usher.toml");
    std::fs::write(
        &file,
        format!(
            "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n\n\
             [[target]]\nname = \"jira\"\nkind = \"jira-dc\"\nbase_url = \"{}\"\n\
             token = {{ env = \"JIRA_TOKEN\" }}\n\n\
             [[mapping]]\nconnection = \"corp\"\ntarget = \"jira\"\nmode = \"live\"\n",
            jira.url()
        ),
    )
    .unwrap();
    Process::run(&database, &["apply", file.to_str().unwrap()]);
    let bearer = Process::run(&database, &["token", "create", "corp"]);
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let environment = [
        ("JIRA_TOKEN", token),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
    ];
    let server = Process::serve(&database, free_port(), &environment).await;
    let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ada",
        "emails": [{"value": "ada@example.com", "primary": true}]});
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}/Users", server.scim))
        .bearer_auth(bearer.trim())
        .header("Content-Type", "application/scim+json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let request = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    for _ in 0..500 {
        if jira.user("ada").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // What is left is sent before the end.
    assert!(server.terminate().success());

    let posts = collector.take();
    assert!(!posts.is_empty(), "nothing was exported");
    let mut spans = Vec::new();
    for (head, body) in &posts {
        assert!(head.starts_with("POST /v1/traces "), "{head}");
        for secret in [token, bearer.trim()] {
            let is_in = |bytes: &[u8]| {
                bytes
                    .windows(secret.len())
                    .any(|it| it == secret.as_bytes())
            };
            assert!(!is_in(body) && !is_in(head.as_bytes()));
        }
        let export = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        for of_resource in export.resource_spans {
            let resource = of_resource.resource.unwrap();
            let service = resource
                .attributes
                .iter()
                .find(|it| it.key == "service.name");
            let value = service.unwrap().value.clone().unwrap().value.unwrap();
            assert_eq!(value, Attribute::StringValue("usher".to_owned()));
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|it| it.spans));
        }
    }
    let trace: Vec<&Span> = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == request)
        .collect();
    let named = |name: &str| -> Vec<&Span> {
        trace
            .iter()
            .copied()
            .filter(|span| span.name == name)
            .collect()
    };
    let [push] = named("request")[..] else {
        panic!("{trace:#?}");
    };
    assert!(push.parent_span_id.is_empty(), "{push:#?}");
    assert_eq!(texts(push)["method"], "POST");
    let items = named("work_item");
    assert!(!items.is_empty(), "{trace:#?}");
    for item in &items {
        assert_eq!(item.parent_span_id, push.span_id);
        assert_eq!(texts(item)["target_name"], "jira");
    }
    let calls = named("call");
    let is_creation = |call: &&&Span| texts(call)["method"] == "POST";
    let creation = calls.iter().find(is_creation).unwrap();
    assert!(
        items
            .iter()
            .any(|item| item.span_id == creation.parent_span_id),
        "{trace:#?}"
    );
    // Whoever it is about is a number in traces.
    for span in &trace {
        assert!(!format!("{span:?}").contains("ada"), "{span:#?}");
    }
}

#[test]
fn a_collector_that_cannot_be_one_is_told() {
    let database = sqlite();
    let output = Process::command(&database, &["serve", "--listen", "127.0.0.1:0"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{said}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
