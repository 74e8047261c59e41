//! Processes that share one listening socket: a parent binds it once, N children accept on it.
//!
//! The trap: the classical server forks for each connection, and leaks. A parent that keeps its copy of the socket never lets the client
//! see the end; children that nobody asks for stay as zombies; one SIGCHLD can stand for several children; and a stopped parent leaves
//! children behind that hold the port. Here the children are made beforehand and inherit the listener as descriptor 0, as inetd
//! passes it. The parent's loop hears of each end as of any other event, asks *all* its children, and starts another in place of
//! one that crashed. SIGTERM or SIGINT has every child drain, and the parent ends when the last one has.
//!
//! Try:
//!
//!     cargo run -p examples --example prefork -- --processes 3
//!     nc 127.0.0.1 7777
//!
//! `nc` shows `process 4711`, and echoes. Kill that one with `kill -9 4711`, and the parent says `process 4711 ended: signal: 9
//! (SIGKILL)`, then `process 4720 serves`. Ctrl-C: each ends, and no process is left.

#![forbid(unsafe_code)]

use std::env;
use std::fs::File;
use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{self, Child, Command};
use std::time::Duration;

use clap::Parser;
use examples::say;
use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Listener, LoopContext, Result, Server, Sharing};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// Echoes from several processes that share one listening socket.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How many children.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
    /// What the parent says to its children.
    #[arg(long, hide = true, value_name = "PID")]
    child_of: Option<u32>,
}

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send(format!("process {}\n", process::id()))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

/// The life of a child.
fn serve_as_child(parent: u32) -> Result {
    // A parent that is killed takes its children with it, also one that is dead already.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if parent_id() != parent {
        return Ok(());
    }
    let listener = Listener::from_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    // The socket is to close when the drain begins, so this process keeps no other copy of it.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let server = Server::builder().shutdown_on_signals(GRACE);
    let options = ListenOptions::default().shared(true);
    server.listen_on(listener, &options, Sharing::default(), |_peer| Echo).run().map(drop)
}

struct Parent {
    listener: Option<TcpListener>,
    children: Vec<Child>,
}

impl Parent {
    fn start_child(&mut self) -> Result {
        let Some(listener) = &self.listener else { return Ok(()) };
        let mut command = Command::new(env::current_exe()?);
        command.args(["--child-of", &process::id().to_string()]).stdin(OwnedFd::from(listener.try_clone()?));
        // A group of its own: Ctrl-C reaches the parent alone, which tells the children once.
        let child = command.process_group(0).spawn()?;
        say!("process {} serves", child.id());
        self.children.push(child);
        Ok(())
    }
}

/// SIGCHLD: at least one child has ended.
fn reap(cx: &mut LoopContext<'_, Parent>) {
    let before = cx.state().children.len();
    cx.state().children.retain_mut(|child| match child.try_wait() {
        Ok(Some(status)) => {
            say!("process {} ended: {status}", child.id());
            false
        }
        _ => true,
    });
    let Parent { listener, children } = cx.state();
    let (stopping, left) = (listener.is_none(), children.len());
    if stopping && left == 0 {
        return cx.stop();
    }
    (left..before).for_each(|_| replace(cx));
}

/// Not at once: a child that crashes as it starts would make the parent do nothing else.
fn replace(cx: &mut LoopContext<'_, Parent>) {
    let task = cx.run_after(Duration::from_millis(100), |cx| {
        if let Err(error) = cx.state().start_child() {
            say!("cannot start a child: {error}");
            replace(cx);
        }
    });
    task.expect("the loop has room for a task for each child");
}

/// SIGTERM or SIGINT: the first time children drain, the second time they are killed.
fn stop(cx: &mut LoopContext<'_, Parent>) {
    let Parent { listener, children } = cx.state();
    let again = mem::take(listener).is_none();
    for child in children.iter_mut() {
        // A child that is not reaped yet is still named by its number, and one that has ended does not mind.
        let _ =
            if again { child.kill() } else { kill_process(Pid::from_child(child), Signal::TERM).map_err(Into::into) };
    }
    if children.is_empty() {
        cx.stop();
    }
}

fn main() -> Result {
    let options = Options::parse();
    if let Some(parent) = options.child_of {
        return serve_as_child(parent);
    }
    let listener = TcpListener::bind(&options.address)?;
    let address = listener.local_addr()?.into();
    let mut event_loop = EventLoop::new(Parent { listener: Some(listener), children: Vec::new() })?;
    // Before the first child, whose end must not be missed.
    let signals = [Signal::CHILD, Signal::TERM, Signal::INT].map(Signal::as_raw);
    event_loop.on_signals(&signals, |cx, signal| if signal == Signal::CHILD.as_raw() { reap(cx) } else { stop(cx) })?;
    for _ in 0..options.processes {
        event_loop.state_mut().start_child()?;
    }
    examples::tell_listening(&address);
    event_loop.run().map(drop)
}

/// How long the clients of a child may take to end.
const GRACE: Duration = Duration::from_secs(5);
