//! Guards the hot path: its instructions on a fixed script of events may not grow unnoticed.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::callgrind;
use crate::figures::Figures;
use crate::options::GuardOptions;
use crate::siblings;

/// Counts, and compares with the committed figures or replaces them.
pub(crate) fn run(options: &GuardOptions) -> anyhow::Result<()> {
    if !callgrind::is_here() {
        return say("SKIPPED: the hot path is not counted, valgrind is not installed");
    }
    siblings::build(&[siblings::HOTPATH])?;
    let committed = read(&options.figures);
    let Some(reason) = &options.update else {
        // Without figures to compare with there is nothing to count.
        let committed = committed?;
        return compare(&count_all(options)?, &committed);
    };
    ensure!(!reason.trim().is_empty() && !reason.contains('\n'), "the reason is a line that says why");
    let counted = Figures { reason: reason.clone(), ..count_all(options)? };
    // Figures of another build, or none that can be read, are replaced as a whole.
    let mut updated = committed.ok().filter(|figures| figures.build == counted.build).unwrap_or_default();
    updated.update(counted);
    let path = &options.figures;
    fs::write(path, updated.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("written to {}\n{}", path.display(), updated.to_text()))
}

fn read(path: &Path) -> anyhow::Result<Figures> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Figures::parse(&text).with_context(|| format!("cannot understand {}", path.display()))
}

fn compare(counted: &Figures, committed: &Figures) -> anyhow::Result<()> {
    let (build, theirs) = (&counted.build, &committed.build);
    ensure!(build == theirs, "the figures are of a {theirs} build, this is a {build} build");
    for (script, count) in &counted.counts {
        let change = match committed.count_of(script) {
            Some(before) => format!("{before:9.1} committed, {:+.2}%", (count / before - 1.0) * 100.0),
            None => "none committed".to_owned(),
        };
        say(&format!("{script:<13}{count:9.1} user instructions, {change}"))?;
    }
    let grown = counted.grown_since(committed, TOLERANCE);
    if grown.is_empty() {
        return Ok(());
    }
    if counted.compiler != committed.compiler {
        say(&format!("the figures are of {}, this is {}", committed.compiler, counted.compiler))?;
    }
    bail!(
        "{} grew by more than {}%; a commit that means to raises the figure, with the reason: guard --update REASON",
        grown.join(", "),
        TOLERANCE * 100.0
    )
}

fn count_all(options: &GuardOptions) -> anyhow::Result<Figures> {
    let directory = own_directory()?;
    let program = siblings::copy(siblings::HOTPATH, &directory)?;
    let is_wanted = |name: &str| options.scripts.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
    let mut counts = Vec::new();
    for Script { name, rounds, units } in SCRIPTS.into_iter().filter(|script| is_wanted(script.name)) {
        let many = least(&program, name, 2 * rounds, &directory)?;
        let few = least(&program, name, rounds, &directory)?;
        ensure!(many > few, "{name}: callgrind did not count the turns of the loop");
        counts.push((name.to_owned(), (many - few) as f64 / (rounds * units) as f64));
    }
    fs::remove_dir_all(&directory)?;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    Ok(Figures { reason: String::new(), build: build.to_owned(), compiler: compiler(), counts })
}

/// A directory of this process alone, under the system's for such.
fn own_directory() -> anyhow::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("bench-report-guard-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// The least of a few counts. The script is fixed, but a kernel under load may deliver a message later, and the loop then
/// takes another turn.
fn least(program: &Path, script: &str, rounds: u64, directory: &Path) -> anyhow::Result<u64> {
    let counts: Vec<u64> =
        (0..RUNS).map(|_| count(program, script, rounds, directory)).collect::<anyhow::Result<_>>()?;
    counts.into_iter().min().context("there was no run")
}

/// Instructions below the turns of the loop, in one run.
fn count(program: &Path, script: &str, rounds: u64, directory: &Path) -> anyhow::Result<u64> {
    let result = directory.join("callgrind.out");
    let words = callgrind::wrapper(&result);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--collect-atstart=no", "--toggle-collect=*counted_turn*"]);
    command.arg(program).args([script, &rounds.to_string()]);
    let output = command.stdin(Stdio::null()).output().context("cannot run valgrind")?;
    if !output.status.success() {
        bail!("{script} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    callgrind::total_in(&result)
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("stdout is gone")
}

/// What a figure may grow by: more than the noise of a count, less than anything worth a reason.
const TOLERANCE: f64 = 0.03;

/// Runs of which the least counts.
const RUNS: usize = 3;

/// A script of events that `bench-hotpath` runs.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// A run is this long, and another one twice: their difference is counted.
    rounds: u64,
    /// What a round counts for.
    units: u64,
}

pub(crate) const SCRIPTS: [Script; 6] = [
    Script { name: "message", rounds: 200, units: 64 },
    Script { name: "idle-timeout", rounds: 200, units: 64 },
    Script { name: "large", rounds: 100, units: 64 },
    Script { name: "timer", rounds: 200, units: 64 },
    Script { name: "posted", rounds: 200, units: 64 },
    Script { name: "visit", rounds: 500, units: 1 },
];
