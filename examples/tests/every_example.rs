//! Every example answers `--help`, says what it shows and how to try it, and has its place in the README.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of the examples, and their files.
fn examples() -> Vec<(String, PathBuf)> {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files_in = |directory: PathBuf, prefix: &str| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let sources = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let named = |path: PathBuf| (format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap()), path);
        sources.map(named).collect::<Vec<_>>()
    };
    let mut examples = files_in(crate_directory.to_path_buf(), "");
    examples.extend(files_in(crate_directory.join("textbook/bin"), "textbook_"));
    examples
}

#[test]
fn every_example_answers_help() {
    for (name, _) in examples() {
        let output = common::run(Command::new(common::binary(&name)).arg("--help"));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}: {}", output.status);
        assert!(text.contains("Usage:") && text.lines().next().unwrap().len() > 10, "{name}: {text}");
    }
}

#[test]
fn an_argument_that_is_none_is_refused() {
    for (name, _) in examples() {
        let output = common::run(Command::new(common::binary(&name)).arg("--no-such-option"));
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn every_example_says_how_to_try_it_and_is_read_in_one_sitting() {
    for (name, path) in examples() {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("//! "), "{name} opens with what it shows");
        assert!(
            text.contains("//! Try") && text.contains(&format!("//!     cargo run -p examples --example {name}")),
            "{name}"
        );
        let code = text.lines().filter(|line| !line.starts_with("//!")).count();
        assert!(code <= 145, "{name} has {code} lines");
        if !name.starts_with("textbook_") {
            assert!(text.contains("//! The trap: "), "{name} says what goes wrong elsewhere");
            assert!(text.contains("#![forbid(unsafe_code)]"), "{name}");
        }
    }
}

#[test]
fn the_readme_has_a_row_for_every_example_and_for_no_other() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let is_row = |line: &&str| line.starts_with("| [`");
    let name_of = |line: &str| line["| [`".len()..].split('`').next().unwrap().to_owned();
    let mut in_readme: Vec<_> = readme.lines().filter(is_row).map(name_of).collect();
    let mut in_crate: Vec<_> = examples().into_iter().map(|(name, _)| name).collect();
    in_readme.sort();
    in_crate.sort();
    assert_eq!(in_readme, in_crate);
}
