//! The server speaks TLS itself, and takes a renewed certificate without a restart.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use usher::app::tls::{Files, Keeper};

use super::harness::{Database, Process, free_port, sqlite};

fn files(database: &Database) -> Files {
    let folder = database.folder();
    Files {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    }
}

/// Writes a new certificate, and returns it.
fn renew(files: &Files) -> String {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.certificate, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    cert.pem()
}

/// Whether a server at that port shows exactly this certificate.
async fn shows(port: u16, certificate: &str) -> bool {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let answer = client
        .get(format!("https://localhost:{port}/readyz"))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn wait_for(port: u16, certificate: &str) {
    for _ in 0..600 {
        if shows(port, certificate).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not show the certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let database = sqlite();
    let files = files(&database);
    let first = renew(&files);
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut server = Process::command(&database, &["serve", "--listen", &listen])
        .env("USHER_TLS_CERT", &files.certificate)
        .env("USHER_TLS_KEY", &files.key)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(port, &first).await;
    // In the clear there is nothing.
    let plain = super::harness::reachable(&format!("http://127.0.0.1:{port}/readyz")).await;
    assert!(!plain);
    let second = renew(&files);
    wait_for(port, &second).await;
    assert!(!shows(port, &first).await);
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_the_old_one_in_use_and_says_why() {
    let database = sqlite();
    let files = files(&database);
    let missing = Keeper::open(files.clone()).unwrap_err();
    assert!(format!("{missing:#}").contains("tls.crt"), "{missing:#}");
    renew(&files);
    let keeper = Keeper::open(files.clone()).unwrap();
    assert!(!keeper.refresh().unwrap());

    let old_key = std::fs::read(&files.key).unwrap();
    renew(&files);
    std::fs::write(&files.key, old_key).unwrap();
    let mixed = format!("{:#}", keeper.refresh().unwrap_err());
    assert!(mixed.contains("is not the key of"), "{mixed}");
    std::fs::write(&files.certificate, "nothing").unwrap();
    let nothing = format!("{:#}", keeper.refresh().unwrap_err());
    assert!(nothing.contains("tls.crt"), "{nothing}");
    renew(&files);
    assert!(keeper.refresh().unwrap());
    assert!(!keeper.refresh().unwrap());
}

#[test]
fn a_certificate_without_its_key_is_a_mistake_on_the_command_line() {
    let database = sqlite();
    let file = PathBuf::from("/tmp/x.pem");
    let output = Process::command(&database, &["serve", "--tls-cert", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--tls-key"), "{said}");
}
