//! What happens to files is told in its order and by its name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::Program;

#[test]
fn what_happens_in_a_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let file = path("watched file");
    fs::write(&file, "").unwrap();
    let arguments = [directory.path().to_str().unwrap(), file.to_str().unwrap()];
    let mut program = Program::start("file_watch", &arguments);
    arguments.iter().for_each(|path| assert_eq!(program.stdout.next(), format!("watching {path}")));

    fs::write(path("greeting"), "hello").unwrap();
    fs::rename(path("greeting"), path("salute")).unwrap();
    fs::remove_file(path("salute")).unwrap();
    let told = [
        "greeting: created",
        "greeting: modified",
        "greeting: closed after writing",
        "greeting: moved away",
        "salute: moved here",
        "salute: deleted",
    ];
    told.iter().for_each(|line| assert_eq!(program.stdout.next(), *line));

    // A file is replaced as editors do it: the watch of the file stays with the old one, and ends with it.
    fs::write(path("new"), "new").unwrap();
    fs::rename(path("new"), &file).unwrap();
    program.stdout.wait_for("watched file: moved here");
    program.stdout.wait_for(&format!("{} is watched no more", file.display()));
    fs::remove_dir_all(directory.path()).unwrap();
    program.stdout.wait_for(&format!("{} is watched no more", directory.path().display()));
    program.succeed();
}
