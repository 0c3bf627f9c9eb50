//! The files in `docker/` fit the program, and the programs that read them take them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Process, skip, sqlite};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Variables of ours that a text names.
fn variables(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("USHER_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn every_variable_that_is_set_is_one_that_the_program_reads() {
    let help = Process::run(&sqlite(), &["serve", "--help"]);
    let known = variables(&help);
    assert!(
        known.contains("USHER_LISTEN") && known.contains("USHER_TLS_CERT"),
        "{known:?}"
    );
    let files = [
        "Dockerfile",
        "compose.yaml",
        "kubernetes/usher.yaml",
        "usher.service",
    ];
    let mut seen = 0;
    for file in files {
        for name in variables(&read(file)) {
            assert!(
                known.contains(&name),
                "{file} sets {name}, which nothing reads"
            );
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn probes_ask_what_the_server_answers() {
    for file in ["kubernetes/usher.yaml", "Dockerfile", "nginx.conf"] {
        let text = read(file);
        for path in text.split("path: ").skip(1) {
            let path = path.split([',', ' ', '}']).next().unwrap();
            assert!(["/healthz", "/readyz"].contains(&path), "{file}: {path}");
        }
    }
    assert!(read("Dockerfile").contains("\"usher\", \"ready\""));
}

#[test]
fn nginx_takes_its_configuration() {
    let Some(nginx) = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .iter()
        .find(|p| Path::new(p).exists())
    else {
        return skip("nginx is not installed (Debian: apt-get install nginx-light)");
    };
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["scim.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("tls.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    // Names of containers resolve inside of Compose alone.
    let text = read("nginx.conf")
        .replace("usher-1:", "127.0.0.1:")
        .replace("usher-2:", "127.0.0.2:")
        .replace("http://jira:", "http://127.0.0.3:")
        .replace("/etc/nginx/certificates", folder.path().to_str().unwrap());
    let file = folder.path().join("nginx.conf");
    std::fs::write(
        &file,
        format!("pid {}/pid;\n{text}", folder.path().display()),
    )
    .unwrap();
    let output = Command::new(nginx)
        .args(["-t", "-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("[warn]"), "{said}");
}

#[test]
fn systemd_takes_the_unit() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        return skip("systemd-analyze is not installed (Debian: apt-get install systemd)");
    };
    assert!(version.status.success());
    let folder = tempfile::tempdir().unwrap();
    let unit = read("usher.service").replace("/usr/local/bin/usher", env!("CARGO_BIN_EXE_usher"));
    let file = folder.path().join("usher.service");
    std::fs::write(&file, unit).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("usher.service"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
