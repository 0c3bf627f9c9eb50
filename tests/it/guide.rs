//! What the guide and the README say holds: their configuration files are accepted, their links lead somewhere.

use usher::config::file;
use usher::http::HELP_PAGES;
use usher::mapping::Rules;

use super::harness::files_below;

const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_configuration_file_shown_is_accepted() {
    let mut files: Vec<&str> = HELP_PAGES
        .iter()
        .flat_map(|(_, text)| blocks(text, "toml"))
        .collect();
    let walk = blocks(README, "sh").concat();
    let in_readme = walk
        .split("<<'END'\n")
        .nth(1)
        .and_then(|rest| rest.split("END\n").next())
        .unwrap()
        .to_owned();
    files.push(&in_readme);
    assert!(files.len() >= 2);
    for text in files {
        let parsed = file::parse(text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        assert_eq!(parsed.mappings.len(), 1);
        for mapping in &parsed.mappings {
            let problems = Rules::problems(&mapping.settings);
            assert!(problems.is_empty(), "{problems:?}");
        }
    }
}

/// The table says which tests prove each setting: none is missing in it, and none of the tests is made up.
#[test]
fn every_setting_is_in_the_table_with_tests_that_exist() {
    let (_, page) = HELP_PAGES
        .iter()
        .find(|(name, _)| *name == "settings")
        .unwrap();
    let mut rows: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    let (page, _) = page
        .split_once("\n## What holds without a setting\n")
        .unwrap();
    for section in page.split("\n## `").skip(1) {
        let (header, table) = section.split_once('`').unwrap();
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            assert_eq!(cells.len(), 4, "{line}");
            let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2);
            let tests: Vec<&str> = quoted(cells[3]).collect();
            assert!(!tests.is_empty(), "nothing proves {line}");
            rows.extend(quoted(cells[0]).map(|key| (header, key, tests.clone())));
        }
    }
    for (header, key) in usher::config::keys() {
        assert!(
            rows.iter().any(|row| row.0 == header && row.1 == key),
            "src/help/settings.md: there is no row for `{key}` under {header}"
        );
    }
    let keys = usher::config::keys();
    let sources = sources();
    for (header, key, tests) in rows {
        assert!(
            keys.iter().any(|known| known.0 == header && known.1 == key),
            "{header} has no key {key}"
        );
        for test in tests {
            let head = format!("fn {test}(");
            assert!(
                sources.iter().any(|text| text.contains(&head)),
                "there is no test {test}, which is to prove {key}"
            );
        }
    }
}

/// The second table of that page: of what is promised without a setting, each test exists, too.
#[test]
fn every_promise_without_a_setting_has_tests_that_exist() {
    let (_, page) = HELP_PAGES
        .iter()
        .find(|(name, _)| *name == "settings")
        .unwrap();
    let (_, table) = page
        .split_once("\n## What holds without a setting\n")
        .unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 10);
    let sources = sources();
    for row in rows.iter().skip(2) {
        let (_, tests) = row.trim_matches('|').rsplit_once(" | ").unwrap();
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "nothing proves {row}");
        for test in tests {
            let head = format!("fn {test}(");
            assert!(
                sources.iter().any(|text| text.contains(&head)),
                "there is no test {test}: {row}"
            );
        }
    }
}

/// All of our Rust.
fn sources() -> Vec<String> {
    read_below(&["src", "tests"], &["rs"])
}

/// What is in the files of these kinds in and below folders.
fn read_below(folders: &[&str], kinds: &[&str]) -> Vec<String> {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = folders
        .iter()
        .flat_map(|folder| files_below(&top.join(folder), kinds));
    files
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// The table of where each setting stands names what pages, API and file have.
#[test]
fn every_setting_stands_where_the_guide_says() {
    let (_, page) = HELP_PAGES.iter().find(|(name, _)| *name == "seat").unwrap();
    let (_, table) = page.split_once("\n## Where each setting stands\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let pages = read_below(&["src/http/ui"], &["rs", "html"]).concat();
    let endpoints = usher::http::document()["paths"].clone();
    let keys = usher::config::keys();
    let quoted = |cell: &'static str, mark| cell.split(mark).skip(1).step_by(2);
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{line}");
        for label in quoted(cells[1], '*') {
            assert!(pages.contains(label), "no page says {label:?}: {line}");
        }
        for endpoint in quoted(cells[2], '`').filter(|it| it.contains(" /")) {
            let (method, path) = endpoint.split_once(' ').unwrap();
            let known = &endpoints[format!("/api/v1{path}")][method.to_lowercase()];
            assert!(known.is_object(), "the API has no {endpoint}: {line}");
        }
        for key in quoted(cells[3], '`').filter(|it| !it.starts_with("usher ")) {
            let is_key = |(header, known): &(&str, String)| *header == key || known == key;
            let is_table = |(header, _): &(&str, String)| {
                header.trim_matches(['[', ']']) == key.trim_matches(['[', ']'])
            };
            let there = keys.iter().any(|it| is_key(it) || is_table(it));
            assert!(there, "the file has no {key}: {line}");
        }
        rows += 1;
    }
    assert!(rows >= 25, "{rows}");
}

#[test]
fn every_link_within_the_guide_leads_to_a_page() {
    for (name, text) in HELP_PAGES {
        for link in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            let known =
                link.starts_with("https://") || HELP_PAGES.iter().any(|(page, _)| *page == link);
            assert!(known, "{name}: {link}");
        }
    }
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    for link in README
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
    {
        if !link.starts_with("https://") {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
            assert!(path.exists(), "{link}");
        }
    }
}

#[test]
fn both_commands_stand_in_the_first_thirty_lines() {
    let head: String = README.lines().take(30).collect::<Vec<_>>().join("\n");
    assert!(head.contains("./run demo") && head.contains("./run test"));
    let ci = include_str!("../../.ci/run");
    assert!(ci.contains("./run test"));
}
