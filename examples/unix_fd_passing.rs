//! One process opens a file for another one, which may not even see it, and passes the open descriptor through a Unix socket.
//!
//! The trap: a descriptor travels with a byte of the stream, and a program that reads with a small buffer, or with a plain `read`, loses it
//! or leaks it, without an error; one that does not close what it did not ask for can be filled up with descriptors by anybody; and
//! one that is not close-on-exec ends up in every child. Here a handler asks for descriptors by `receive_fds`, has them by `take_fds`
//! beside the bytes they came with, and those it does not take are closed. Who is at the other end the kernel says, not the peer.
//!
//! Try:
//!
//!     cargo run -p examples --example unix_fd_passing -- serve /tmp/opener /etc
//!     cargo run -p examples --example unix_fd_passing -- open /tmp/opener hostname
//!
//! The second shows what is in `/etc/hostname`, and the server says `process 4711 of user 0 gets hostname`.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Parser;
use examples::{printable, say};
use reactor::codec::{Codec, Lines};
use reactor::{
    Address, CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, Result, Server, SocketAddress, UnixName,
};
use rustix::fs::OFlags;

/// Opens files for other processes.
#[derive(Parser)]
enum Options {
    /// Open the files of a directory for those who ask.
    Serve {
        /// The path of the socket.
        socket: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// Have a file opened, and show what is in it.
    Open {
        /// The path of the socket.
        socket: PathBuf,
        /// The name of the file in the directory of the server.
        name: String,
    },
}

/// The server's end.
struct Opener {
    directory: PathBuf,
    lines: Lines,
}

impl Opener {
    /// Opens a regular file that is directly in the directory. On a slow disk this is work for `spawn_blocking`.
    fn open(&self, name: &str) -> io::Result<File> {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no plain name"));
        }
        // No link out of the directory, and no waiting for whoever writes to a FIFO.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.directory.join(name))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("that is no regular file")) }
    }
}

impl Handler for Opener {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            let name = printable(line);
            let who = cx.peer_credentials()?;
            match self.open(&name) {
                Ok(file) => {
                    say!("process {} of user {} gets {name}", who.pid, who.uid);
                    cx.send_with_fds("ok\n", vec![file.into()])?;
                }
                Err(error) => {
                    say!("process {} of user {} does not get {name}: {error}", who.pid, who.uid);
                    cx.send(format!("{error}\n"))?;
                }
            }
        }
        Ok(())
    }
}

/// The client's end.
struct Asker {
    name: String,
    lines: Lines,
}

/// What has come, or why nothing has.
type Passed = Result<Option<OwnedFd>>;

impl Handler<Passed> for Asker {
    fn on_open(&mut self, cx: &mut Context<'_, Passed>) -> Result {
        cx.receive_fds()?;
        cx.send(format!("{}\n", self.name))
    }

    fn on_data(&mut self, cx: &mut Context<'_, Passed>, input: &mut Input<'_>) -> Result {
        let Some(answer) = self.lines.decode(input)? else { return Ok(()) };
        if answer != b"ok" {
            return Err(io::Error::other(printable(answer)));
        }
        *cx.state() = Ok(cx.take_fds().pop());
        cx.close_after_flush()
    }

    fn on_close(&mut self, cx: &mut Context<'_, Passed>, reason: &CloseReason) {
        if !matches!(reason, CloseReason::Closed) {
            *cx.state() = Err(io::Error::other(reason.to_string()));
        }
        cx.stop();
    }
}

fn main() -> Result {
    let lines = Lines::new(1024);
    match Options::parse() {
        Options::Serve { socket, directory } => {
            let make = move |_peer: &SocketAddress| Opener { directory: directory.clone(), lines };
            examples::serve(Server::builder().listen(Address::Unix(UnixName::Path(socket)), make)?)
        }
        Options::Open { socket, name } => {
            let mut event_loop = EventLoop::new(Ok(None))?;
            let asker = Asker { name, lines };
            event_loop.connect(SocketAddress::Unix(UnixName::Path(socket)), &ConnectOptions::default(), asker)?;
            event_loop.run()?;
            let passed = std::mem::replace(event_loop.state_mut(), Ok(None))?;
            let file = passed.ok_or_else(|| io::Error::other("no descriptor has come"))?;
            io::copy(&mut File::from(file), &mut io::stdout()).map(drop)
        }
    }
}
