//! What the programs print for others to read: completions that bash, zsh and fish load and use, man pages without a flaw.
//!
//! Each reader that is not installed is skipped, and said so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

const SERVER: &str = env!("CARGO_BIN_EXE_file-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_file-client");

/// Completes a line with bash: finds the function that is registered, and calls it as bash would.
const BASH: &str = r#"
. "$1"
set -- "$2" "$3" $(complete -p "$2")
program=$1 word=$2
while [ "$3" != -F ]; do shift; done
COMP_WORDS=("$program" "$word") COMP_CWORD=1
"$4" "$program" "$word" "$program"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// zsh completes in its line editor only; that the script defines its function and registers it is what can be seen.
const ZSH: &str = r#"
autoload -U compinit && compinit -D -u
source "$1"
print -r -- "$_comps[$2]" && whence -w "$_comps[$2]" && functions "$_comps[$2]"
"#;

const FISH: &str = r#"source $argv[1]; complete -C "$argv[2] $argv[3]""#;

/// What a reader makes of something; `None`, and said so, where there is none.
fn read_by(reader: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(reader).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: {reader} is not installed");
            None
        }
        Err(error) => panic!("{reader}: {error}"),
    }
}

fn print_to(file: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success());
    std::fs::write(file, output.stdout).unwrap();
}

#[test]
fn completions_are_loaded_and_used() {
    let here = tempfile::tempdir().unwrap();
    let script = here.path().join("script");
    let path = script.to_str().unwrap();
    for (program, name, word, whole) in [
        (SERVER, "file-server", "--access-log-f", "--access-log-format"),
        (CLIENT, "file-client", "--connect-t", "--connect-timeout"),
    ] {
        for (shell, options, code) in
            [("bash", &["--norc", "-c"][..], BASH), ("zsh", &["-f", "-c"], ZSH), ("fish", &["--no-config", "-c"], FISH)]
        {
            print_to(&script, program, &["--completions", shell]);
            // The word behind the code is the name of the script there, but for fish.
            let named: &[&str] = if shell == "fish" { &[] } else { &[shell] };
            let arguments = [options, &[code], named, &[path, name, word]].concat();
            let Some(output) = read_by(shell, &arguments) else { continue };
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && stdout.contains(whole), "{shell}, {name}: {stdout}{stderr}");
        }
    }
}

#[test]
fn man_pages_have_no_flaw() {
    let here = tempfile::tempdir().unwrap();
    let page = here.path().join("page.1");
    for (program, words) in [(SERVER, &["LISTENING", "--struct-listen"][..]), (CLIENT, &["PUT", "GET", "--no-replace"])]
    {
        print_to(&page, program, &["--man"]);
        let Some(output) = read_by("groff", &["-man", "-Tascii", "-ww", "-P-cbou", page.to_str().unwrap()]) else {
            return;
        };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        assert!(words.iter().all(|word| stdout.contains(word)), "{stdout}");
    }
}
