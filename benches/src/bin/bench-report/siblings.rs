//! The programs that are built beside this one, and are measured.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// A program: its package and its name.
pub(crate) type Program = (&'static str, &'static str);

/// Builds programs anew when cargo runs this one: what is measured must not be older than what measures, nor built in
/// another way.
pub(crate) fn build(programs: &[Program]) -> anyhow::Result<()> {
    let (Some(cargo), Some(manifest)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR")) else {
        return Ok(());
    };
    let mut command = Command::new(cargo);
    command.current_dir(manifest).args(["build", "--quiet"]);
    for (package, program) in programs {
        command.args(["--package", package, "--bin", program]);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    ensure!(command.status().context("cargo cannot be run")?.success(), "what is to be measured cannot be built");
    Ok(())
}

/// A copy of a program beside this one. Whoever builds it while a run goes on changes nothing about the run.
pub(crate) fn copy((package, name): Program, directory: &Path) -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(name);
    ensure!(program.exists(), "{name} is not beside this program: cargo build --release -p {package}");
    let copy = directory.join(name);
    // A program that still runs cannot be written to, but its name can be given away.
    match fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::copy(&program, &copy).with_context(|| format!("cannot copy {name} to {}", directory.display()))?;
    // Found by a path of its own, not by PATH.
    Ok(copy.canonicalize()?)
}

pub(crate) const PEER: Program = ("benches", "bench-peer");
pub(crate) const HOTPATH: Program = ("benches", "bench-hotpath");
/// This project's own echo server.
pub(crate) const ECHO_SERVER: Program = ("echo-server", "echo-server");
