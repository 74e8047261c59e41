//! A server that is measured: how it is started, pinned, found and ended.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::cores;
use benches::peers::Peer;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::ports;

/// A way to start a server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// The words of its command, with placeholders.
    words: Vec<String>,
    /// The most connections it is asked to hold.
    pub(crate) max_connections: usize,
    /// Whether it can answer in pieces.
    pub(crate) can_answer: bool,
    /// Nobody asked for it by name: it may be left out.
    pub(crate) is_optional: bool,
}

/// How a server is started.
#[derive(Clone, Default)]
pub(crate) struct Launch {
    /// The words of a command that runs the server's command.
    pub(crate) wrapper: Vec<String>,
    /// Whether it answers each 64 bytes by a send of its own, instead of sending back what it read.
    pub(crate) answers: bool,
    /// Whether it may use all processors, and not only the server's.
    pub(crate) everywhere: bool,
}

/// A server that runs, until this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// One of the peers, as a process.
    pub(crate) fn of_peer(program: &Path, peer: &Peer) -> Self {
        let words = [&program.to_string_lossy(), peer.name, "--listen", "{addr}"].map(str::to_owned).to_vec();
        let (name, max_connections, can_answer) = (peer.name.to_owned(), peer.max_connections, peer.answer.is_some());
        Self { name, words, max_connections, can_answer, is_optional: false }
    }

    /// This project's program, with so many loops.
    pub(crate) fn of_program(program: &Path, name: &str, threads: usize) -> Self {
        let mut words = vec![program.to_string_lossy().into_owned()];
        words.extend(["--listen", "{addr}", "--threads"].map(str::to_owned));
        words.push(threads.to_string());
        Self::of_words(name, words, true)
    }

    /// A server of the user's: `NAME=COMMAND`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("it is NAME=COMMAND")?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c)) {
            return Err("a name has letters, digits and any of -_.+".to_owned());
        }
        if !command.contains(PORT) && !command.contains(ADDRESS) {
            return Err(format!("the command has to say {PORT} or {ADDRESS} where the port or address goes"));
        }
        let words = shlex::split(command).filter(|words| !words.is_empty()).ok_or("the command cannot be read")?;
        Ok(Self::of_words(name, words, false))
    }

    fn of_words(name: &str, words: Vec<String>, is_optional: bool) -> Self {
        Self { name: name.to_owned(), words, max_connections: usize::MAX, can_answer: false, is_optional }
    }

    /// Starts it, and waits until it listens. What it says on stderr goes to a file in `logs`.
    pub(crate) fn start(&self, launch: &Launch, logs: &Path) -> anyhow::Result<Process> {
        let port = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let fill = |word: &String| word.replace(PORT, &port.to_string()).replace(ADDRESS, &address.to_string());
        let answers = launch.answers.then(|| ANSWERS.to_owned());
        let words = launch.wrapper.iter().cloned().chain(self.words.iter().map(fill)).chain(answers);
        let words: Vec<String> = words.collect();
        let log = logs.join(format!("{}.log", self.name));
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        // A child is pinned as its parent is, from its first instruction on.
        if launch.everywhere {
            unpin()?;
        } else {
            cores::pin_server()?;
        }
        let spawned = command.spawn();
        cores::pin_load()?;
        let child = spawned.with_context(|| format!("{}: cannot run {}", self.name, words[0]))?;
        let mut process = Process { child, address };
        process.wait_until_it_listens().with_context(|| format!("{}: see {}", self.name, log.display()))?;
        Ok(process)
    }
}

/// Lets this thread run on every processor that the process may use: the kernel leaves out the others.
fn unpin() -> io::Result<()> {
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::MAX_CPU {
        all.set(cpu);
    }
    Ok(sched_setaffinity(None, &all)?)
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.terminate()
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !ports::is_listening(self.address.port())? {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(Instant::now() < deadline, "the server does not listen on {}", self.address);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn terminate(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && self.child.try_wait()?.is_none()
        {
            kill_process(pid, Signal::TERM)?;
        }
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended, or cannot be reached, needs no more.
        let _ = self.terminate();
    }
}

const PORT: &str = "{port}";
const ADDRESS: &str = "{addr}";

/// What a peer is told that is to answer.
const ANSWERS: &str = "--answers";

/// How long a server may take to start or to end; under valgrind it takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_the_users_is_a_name_and_a_command() {
        let server = Server::parse("go-1.2='/opt/my servers/echo' --port={port}").unwrap();
        assert_eq!(server.name, "go-1.2");
        assert_eq!(server.words, ["/opt/my servers/echo", "--port={port}"]);
        for bad in ["echo", "=echo {port}", "a/b=echo {port}", "a=echo 7777", "a='echo {port}"] {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }
}
