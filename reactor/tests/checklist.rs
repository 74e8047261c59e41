//! What docs/testing.md says holds a behaviour exists, and each behaviour has its row.

use std::fs;
use std::path::{Path, PathBuf};

/// The last number of the list.
const BEHAVIOURS: usize = 83;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the list that have a number.
fn rows() -> Vec<(usize, String)> {
    let text = fs::read_to_string(workspace().join("docs/testing.md")).expect("the page is there");
    let row = |line: &str| {
        let (number, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((number.parse().ok()?, rest.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// The file of a name such as `drain`, `src/timer` or `echo-server/limits`.
fn file_of(name: &str) -> PathBuf {
    let path = match name.split_once('/') {
        Some(("src", rest)) => format!("reactor/src/{rest}.rs"),
        Some((program, rest)) => format!("{program}/tests/{rest}.rs"),
        None => format!("reactor/tests/{name}.rs"),
    };
    let file = workspace().join(path);
    // A test in several files has a directory.
    if file.exists() { file } else { file.with_extension("").join("main.rs") }
}

/// Whether a text in backticks is the name of a test or of a file of tests, and not one of code.
fn is_name(quoted: &str) -> bool {
    !quoted.is_empty()
        && quoted.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || "_:/-".contains(each))
}

#[test]
fn every_behaviour_has_its_row() {
    let numbers: Vec<_> = rows().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, (1..=BEHAVIOURS).collect::<Vec<_>>());
}

#[test]
fn every_row_says_how_it_is_held() {
    for (number, row) in rows() {
        let has_test = row.split('`').skip(1).step_by(2).any(is_name);
        let has_answer = ["By construction", "Not offered"].iter().any(|answer| row.contains(answer));
        assert!(has_test || has_answer, "{number} has no answer");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = Vec::new();
    for (number, row) in rows() {
        for quoted in row.split('`').skip(1).step_by(2).filter(|quoted| is_name(quoted)) {
            let (file, test) = quoted.split_once("::").map_or((quoted, None), |(file, test)| (file, Some(test)));
            let text = fs::read_to_string(file_of(file)).unwrap_or_default();
            let exists = test.map_or(!text.is_empty(), |test| text.contains(&format!("fn {test}(")));
            if !exists {
                missing.push(format!("{number}: {quoted}"));
            }
        }
    }
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
}
