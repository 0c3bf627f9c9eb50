//! The rules of the house, read from the sources: who imports whom, what names what, how files begin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::harness::files_below;

/// Who may import whom. `src/lib.rs` shows the same table to people.
const LAYERS: &[(u8, &str, &str)] = &[
    (0, "scim", ""),
    (0, "domain", ""),
    (0, "clock", ""),
    (1, "config", "domain"),
    (1, "mapping", "scim, domain"),
    (1, "telemetry", ""),
    (2, "outbound", "domain, clock, config"),
    (1, "vault", ""),
    (1, "metrics", ""),
    (2, "store", "scim, domain, clock, config"),
    (3, "auth", "store, vault, domain, clock, config"),
    (3, "idcs", "scim, outbound, domain, clock, config"),
    (3, "targets", "domain, scim, outbound, clock, config"),
    (4, "intake", "store, scim, domain, clock"),
    (
        4,
        "converge",
        "store, targets, mapping, metrics, telemetry, scim, domain, clock, config",
    ),
    (
        5,
        "configure",
        "config, mapping, vault, store, domain, clock",
    ),
    (
        5,
        "reconcile",
        "idcs, intake, store, scim, domain, clock, config",
    ),
    (
        5,
        "alerts",
        "outbound, store, metrics, domain, clock, config",
    ),
    (
        5,
        "login",
        "reconcile, idcs, intake, auth, vault, store, domain, clock",
    ),
    (
        5,
        "consent",
        "reconcile, idcs, auth, vault, store, domain, clock",
    ),
    (
        6,
        "http",
        "login, consent, reconcile, alerts, vault, auth, intake, converge, configure, store, mapping, metrics, telemetry, scim, domain, clock, config",
    ),
    (7, "app", "all below"),
    (8, "cli", "all below"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Source {
    /// As in `src/store/conn.rs`.
    name: String,
    /// The first folder or file below `src`.
    module: String,
    text: String,
    /// The text without comments, strings and tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let mut files = files_below(&root().join("src"), &["rs"]);
    files.sort();
    assert!(files.len() > 50, "only {} files", files.len());
    let all: Vec<Source> = files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let module = name
                .strip_prefix("src/")
                .unwrap()
                .split('/')
                .next()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = if name.ends_with("/tests.rs") {
                String::new()
            } else {
                without_tests(&code_of(&text))
            };
            Source {
                name,
                module,
                text,
                code,
            }
        })
        .collect();
    // Modules that only exist in tests are declared so where they hang.
    let only_in_tests: BTreeSet<String> = all
        .iter()
        .flat_map(|source| {
            test_modules(&source.text).into_iter().map(|name| {
                let folder = source
                    .name
                    .trim_end_matches("/mod.rs")
                    .trim_end_matches(".rs")
                    .to_owned();
                format!("{folder}/{name}.rs")
            })
        })
        .collect();
    all.into_iter()
        .map(|mut source| {
            if only_in_tests.contains(&source.name) {
                source.code = String::new();
            }
            source
        })
        .collect()
}

/// The names of `#[cfg(test)] mod name;`.
fn test_modules(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut after_cfg = false;
    for line in text.lines().map(str::trim) {
        if after_cfg
            && let Some(rest) = line.rsplit_once("mod ").map(|(_, rest)| rest)
            && let Some(name) = rest.strip_suffix(';')
        {
            names.push(name.to_owned());
        }
        after_cfg = line == "#[cfg(test)]" || (after_cfg && line.starts_with("#["));
    }
    names
}

/// Blanks out comments and what stands between quotation marks, keeping the lines.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skip = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => rest
                .windows(2)
                .position(|pair| pair == ['*', '/'])
                .map_or(rest.len(), |end| end + 2),
            ['r', '#', '"', ..] => rest
                .windows(2)
                .skip(3)
                .position(|pair| pair == ['"', '#'])
                .map_or(rest.len(), |end| end + 5),
            ['r', '"', ..] if at == 0 || !chars[at - 1].is_alphanumeric() => rest
                .iter()
                .skip(2)
                .position(|c| *c == '"')
                .map_or(rest.len(), |end| end + 3),
            ['\'', '\\', _, ..] => rest
                .iter()
                .skip(3)
                .position(|c| *c == '\'')
                .map_or(rest.len(), |end| end + 4),
            ['\'', _, '\'', ..] => 3,
            ['"', ..] => {
                let mut end = 1;
                while end < rest.len() && rest[end] != '"' {
                    end += if rest[end] == '\\' { 2 } else { 1 };
                }
                (end + 1).min(rest.len())
            }
            _ => 0,
        };
        if skip == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(rest[..skip].iter().filter(|c| **c == '\n'));
            code.push(' ');
            at += skip;
        }
    }
    code
}

/// Takes out items under `#[cfg(test)]`, by their braces.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let ends_early = item.find(';').unwrap_or(item.len());
        let opens = item.find('{').unwrap_or(item.len());
        if ends_early < opens {
            rest = &item[ends_early + 1..];
            continue;
        }
        let mut depth = 0usize;
        let mut end = item.len();
        for (at, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        end = at + 1;
                        break;
                    }
                }
                _ => {}
            }
        }
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

/// The modules of this crate that a source names: `crate::x`, `crate::{a, b::c}`, and in macros `$crate::x`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut name = String::new();
            let mut wanted = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                let part_of_name = c.is_alphanumeric() || c == '_';
                if wanted && part_of_name {
                    name.push(c);
                } else if !name.is_empty() {
                    found.insert(std::mem::take(&mut name));
                    wanted = false;
                }
                if c == ',' && depth == 1 {
                    wanted = true;
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

fn allowed(module: &str) -> BTreeSet<String> {
    let Some((layer, _, list)) = LAYERS.iter().find(|(_, name, _)| *name == module) else {
        panic!("src/{module} is in no layer: add it to LAYERS and to src/lib.rs");
    };
    if *list == "all below" {
        return LAYERS
            .iter()
            .filter(|(other, ..)| other < layer)
            .map(|(_, name, _)| (*name).to_owned())
            .collect();
    }
    list.split(", ")
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        if matches!(source.module.as_str(), "lib" | "main") {
            continue;
        }
        let may = allowed(&source.module);
        for name in imports(&source.code) {
            if name == source.module {
                continue;
            }
            if !may.contains(&name) {
                wrong.push(format!("{} imports {name}", source.name));
            }
            edges.entry(source.module.clone()).or_default().insert(name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The reading works: these are there.
    assert!(
        edges["http"].contains("intake") && edges["http"].contains("auth"),
        "{edges:?}"
    );
    assert!(edges["store"].contains("scim"), "{edges:?}");
}

#[test]
fn the_table_has_no_circle() {
    let layer = |name: &str| {
        LAYERS
            .iter()
            .find(|(_, other, _)| *other == name)
            .map_or_else(|| panic!("{name} is in no layer"), |(layer, ..)| *layer)
    };
    for (own, name, _) in LAYERS {
        for other in allowed(name) {
            // Lower rows never import higher ones, so following imports must come to an end.
            let lower = layer(&other) < *own;
            let beside = layer(&other) == *own && !allowed(&other).contains(*name);
            assert!(lower || beside, "{name} and {other} may import each other");
        }
    }
}

#[test]
fn the_table_in_the_sources_says_the_same() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut shown: Vec<(u8, String, String)> = Vec::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("//! | ")) {
        let cells: Vec<&str> = line
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let Ok(layer) = cells[0].parse() else {
            continue;
        };
        let list = if cells[2] == "nothing of ours" {
            ""
        } else {
            cells[2]
        };
        for name in cells[1].split(", ") {
            let name = name.trim_matches(['[', ']', '`']);
            shown.push((layer, name.to_owned(), list.to_owned()));
        }
    }
    let wanted: Vec<(u8, String, String)> = LAYERS
        .iter()
        .map(|(layer, name, list)| (*layer, (*name).to_owned(), (*list).to_owned()))
        .collect();
    assert_eq!(shown, wanted);
    for (_, name, _) in LAYERS {
        assert!(text.contains(&format!("pub mod {name};")), "{name}");
    }
}

#[test]
fn frameworks_stay_where_they_belong() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        for (name, homes) in [
            ("diesel", &["store"][..]),
            ("diesel_migrations", &["store"]),
            ("actix_web", &["http", "app"]),
            ("reqwest", &["outbound"]),
            ("clap", &["cli"]),
            ("minijinja", &["mapping"]),
            ("nom", &["scim"]),
            ("anyhow", &["app", "cli"]),
            ("lettre", &["outbound"]),
            ("prometheus_client", &["metrics"]),
            ("opentelemetry", &["telemetry"]),
        ] {
            if !names(&source.code, name) {
                continue;
            }
            seen.insert(name);
            if !homes.contains(&source.module.as_str()) {
                wrong.push(format!("{} names {name}", source.name));
            }
        }
        if source.module == "scim" {
            for name in ["tokio", "actix_web", "diesel", "tracing"] {
                if names(&source.code, name) {
                    wrong.push(format!("{} names {name}", source.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.contains("diesel") && seen.contains("actix_web") && seen.contains("reqwest"));
}

/// Whether the code names a crate, as in `diesel::` or `use diesel;`.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.')
            && after.starts_with("::")
    })
}

#[test]
fn every_file_says_why_it_exists() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 10,
            "{} begins with {first:?}",
            source.name
        );
    }
    for path in files_below(&root().join("tests/it"), &["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn nothing_panics_on_purpose() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            for word in [
                ".unwrap()",
                ".expect(",
                ".unwrap_err()",
                "panic!(",
                "unreachable!(",
                "todo!(",
                "unimplemented!(",
                "dbg!(",
                "println!(",
                "process::exit",
            ] {
                let found = line.match_indices(word).any(|(at, _)| {
                    word.starts_with('.')
                        || !line[..at]
                            .chars()
                            .next_back()
                            .is_some_and(|c| c.is_alphanumeric() || c == '_')
                });
                if found {
                    wrong.push(format!("{}:{} {}", source.name, number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lints_are_not_switched_off_silently() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            if line.contains("#[allow(") || line.contains("#![allow(") {
                wrong.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "use #[expect(…, reason)]: {}",
        wrong.join("\n")
    );
}

#[test]
fn no_code_is_commented_out_and_no_name_says_nothing() {
    let mut wrong = Vec::new();
    for source in sources() {
        let words = source.name.trim_end_matches(".rs").split(['/', '_']);
        for word in words {
            if matches!(
                word,
                "util" | "utils" | "helper" | "helpers" | "common" | "manager" | "misc"
            ) {
                wrong.push(source.name.clone());
            }
        }
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim();
            let Some(comment) = line.strip_prefix("// ") else {
                continue;
            };
            let looks_like_code = comment.starts_with("let ")
                || comment.starts_with("use ") && comment.ends_with(';')
                || comment.starts_with("fn ")
                || comment.ends_with(");")
                || comment.ends_with("{")
                || comment == "}";
            let to_do = comment.contains("TODO") && !comment.contains("TODO(#");
            if looks_like_code || to_do || comment.contains("FIXME") || comment.contains("XXX") {
                wrong.push(format!("{}:{} {line}", source.name, number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_reads_right() {
    let code = code_of(
        "use crate::{auth, store::{self, users}}; // crate::http\nlet x = \"crate::cli\"; 'a'",
    );
    assert_eq!(
        imports(&code),
        BTreeSet::from(["auth".to_owned(), "store".to_owned()])
    );
    let code = without_tests(&code_of(
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { x.unwrap() } }\nfn c() { crate::clock::now(); }",
    ));
    assert!(
        !code.contains("unwrap") && code.contains("fn c()"),
        "{code}"
    );
    assert_eq!(imports(&code), BTreeSet::from(["clock".to_owned()]));
    assert_eq!(
        test_modules("#[cfg(test)]\nmod script;\nmod wire;"),
        ["script"]
    );
}
