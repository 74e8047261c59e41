//! Guards the hot path: what it costs on a fixed script of events may not grow unnoticed.

use std::env::consts::ARCH;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::callgrind::{self, OwnCost};
use crate::figures::{Figures, Toolchain};
use crate::options::GuardOptions;
use crate::siblings;

/// Counts, and compares with the committed figures or replaces them.
pub(crate) fn run(options: &GuardOptions) -> anyhow::Result<()> {
    if !callgrind::is_here() {
        return say("SKIPPED: the hot path is not counted, valgrind is not installed");
    }
    match &options.update {
        None => guard(options, &read(&options.figures)?),
        Some(reason) => update(options, reason),
    }
}

fn read(path: &Path) -> anyhow::Result<Figures> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Figures::parse(&text).with_context(|| format!("cannot understand {}", path.display()))
}

fn guard(options: &GuardOptions, committed: &Figures) -> anyhow::Result<()> {
    let (here, theirs) = (Toolchain::here(), &committed.toolchain);
    if here.architecture != theirs.architecture {
        let (here, theirs) = (here.architecture, &theirs.architecture);
        return say(&format!("SKIPPED: the figures of the hot path are of {theirs}, this is {here}"));
    }
    ensure!(here.build == theirs.build, "the figures are of a {} build, this is a {} build", theirs.build, here.build);
    let tolerance = if here.compiler == theirs.compiler { TOLERANCE } else { TOLERANCE_OF_COMPILERS };
    let percent = tolerance * 100.0;
    if here.compiler != theirs.compiler {
        let (here, theirs) = (here.compiler, &theirs.compiler);
        say(&format!("NOTE: the figures are of {theirs}, this is {here}: they may differ by {percent}%"))?;
    }
    let counted = count_all(options)?;
    for (script, cost) in &counted.costs {
        say(&compared(script, *cost, committed.cost_of(script)))?;
    }
    let grown = counted.grown_since(committed, tolerance).join(", ");
    let advice = "a commit that means to raises the figure, with the reason: guard --update REASON";
    ensure!(grown.is_empty(), "{grown} grew by more than {percent}%; {advice}");
    Ok(())
}

fn compared(script: &str, cost: OwnCost, committed: Option<OwnCost>) -> String {
    let OwnCost { instructions, calls } = cost;
    let change = committed.map_or_else(
        || "none committed".to_owned(),
        |before| {
            let percent = |now: f64, before: f64| (now / before - 1.0) * 100.0;
            let (more, more_calls) = (percent(instructions, before.instructions), percent(calls, before.calls));
            format!("against the committed {more:+.2}% and {more_calls:+.2}%")
        },
    );
    format!("{script:<13}{instructions:8.1} instructions, {calls:7.3} calls of the C library, {change}")
}

fn update(options: &GuardOptions, reason: &str) -> anyhow::Result<()> {
    ensure!(!reason.trim().is_empty() && !reason.contains('\n'), "the reason is a line that says why");
    let counted = Figures { reason: reason.to_owned(), ..count_all(options)? };
    // Figures of another toolchain, or none that can be read, are replaced as a whole.
    let committed = read(&options.figures).ok().filter(|figures| figures.toolchain == counted.toolchain);
    let mut updated = committed.unwrap_or_default();
    updated.update(counted);
    let path = &options.figures;
    fs::write(path, updated.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("written to {}\n{}", path.display(), updated.to_text()))
}

fn count_all(options: &GuardOptions) -> anyhow::Result<Figures> {
    siblings::build(&[siblings::HOTPATH])?;
    let directory = own_directory()?;
    let program = siblings::copy(siblings::HOTPATH, &directory)?;
    let is_wanted = |name: &str| options.scripts.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
    let mut costs = Vec::new();
    for script in SCRIPTS.into_iter().filter(|script| is_wanted(script.name)) {
        costs.push((script.name.to_owned(), cost_of_unit(&program, script, &directory)?));
    }
    fs::remove_dir_all(&directory)?;
    Ok(Figures { reason: String::new(), toolchain: Toolchain::here(), costs })
}

/// A directory of this process alone, under the system's for such.
fn own_directory() -> anyhow::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("bench-report-guard-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Callgrind names a program by its true path.
    Ok(directory.canonicalize()?)
}

/// Two runs that differ in their rounds alone differ by what the rounds cost.
fn cost_of_unit(program: &Path, script: Script, directory: &Path) -> anyhow::Result<OwnCost> {
    let Script { name, rounds, units } = script;
    let few = undisturbed(program, name, rounds, directory)?;
    let many = undisturbed(program, name, 2 * rounds, directory)?;
    ensure!(many.instructions > few.instructions, "{name}: callgrind did not count the turns of the loop");
    let each = |few: f64, many: f64| (many - few) / (rounds * units) as f64;
    Ok(OwnCost { instructions: each(few.instructions, many.instructions), calls: each(few.calls, many.calls) })
}

/// A count that another run confirms. The script is fixed, but a kernel under load may deliver a message later, and the
/// loop then takes another turn: what disturbs only adds, and hardly twice the same.
fn undisturbed(program: &Path, script: &str, rounds: u64, directory: &Path) -> anyhow::Result<OwnCost> {
    let mut least = count(program, script, rounds, directory)?;
    for _ in 1..MOST_RUNS {
        let again = count(program, script, rounds, directory)?;
        let (low, high) = (least.instructions.min(again.instructions), least.instructions.max(again.instructions));
        if again.instructions == low {
            least = again;
        }
        if high - low <= low * SAME {
            break;
        }
    }
    Ok(least)
}

/// What the program itself costs below the turns of the loop, in one run.
fn count(program: &Path, script: &str, rounds: u64, directory: &Path) -> anyhow::Result<OwnCost> {
    let result = directory.join("callgrind.out");
    let words = callgrind::wrapper(&result);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--collect-atstart=no", "--toggle-collect=*counted_turn*"]);
    command.arg(program).args([script, &rounds.to_string()]);
    let output = command.stdin(Stdio::null()).output().context("cannot run valgrind")?;
    if !output.status.success() {
        bail!("{script} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    callgrind::own_cost_in(&result, program)
}

impl Toolchain {
    /// The one of this program, if it was built by the compiler that is found now.
    fn here() -> Self {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let compiler = Command::new("rustc").arg("--version").output();
        let compiler = compiler
            .map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self { build: build.to_owned(), architecture: ARCH.to_owned(), compiler }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("stdout is gone")
}

/// What a figure may grow by: more than the noise of a count, less than anything worth a reason.
const TOLERANCE: f64 = 0.03;

/// The same where another compiler translated: it does some things better and others worse.
const TOLERANCE_OF_COMPILERS: f64 = 0.10;

/// What two runs may differ by that count the same: the clock is read, and what is due depends on it.
const SAME: f64 = 0.000_5;

/// Runs after which the least counts although none confirmed it.
const MOST_RUNS: usize = 10;

/// A script of events that `bench-hotpath` runs.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// A run is this long, and another one twice.
    rounds: u64,
    /// What a round counts for.
    units: u64,
}

pub(crate) const SCRIPTS: [Script; 7] = [
    Script { name: "message", rounds: 200, units: 64 },
    Script { name: "idle-timeout", rounds: 200, units: 64 },
    Script { name: "large", rounds: 100, units: 64 },
    Script { name: "answers", rounds: 50, units: 64 * 16 },
    Script { name: "timer", rounds: 200, units: 64 },
    Script { name: "posted", rounds: 200, units: 64 },
    Script { name: "visit", rounds: 500, units: 1 },
];
