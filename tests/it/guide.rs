//! What the guide and the README say holds: their configuration files are accepted, their links lead somewhere.

use usher::config::file;
use usher::http::HELP_PAGES;
use usher::mapping::Rules;

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
