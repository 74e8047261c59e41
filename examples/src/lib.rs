//! Small programs on the reactor, one idea each; they are the examples of this crate.
//!
//! What they share stands here, and is little: how a line is said, and how a server says where it listens.

use std::fmt;
use std::io::{self, Write};

use reactor::{Result, Server, ServerBuilder, SocketAddress};

#[path = "../textbook/mod.rs"]
pub mod textbook;

/// Says a line on stdout.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {
        $crate::say_line(format_args!($($words)*))
    };
}

/// What [`say!`] calls. A reader that has gone away has seen what it wanted, and is no reason to end.
pub fn say_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Starts a server, says on stderr where it listens, and waits for its end.
///
/// # Errors
/// As [`ServerBuilder::run`].
pub fn serve<S: 'static>(builder: ServerBuilder<S>) -> Result {
    start(builder)?.wait().map(drop)
}

/// Starts a server and says on stderr where it listens.
///
/// # Errors
/// As [`ServerBuilder::start`].
pub fn start<S: 'static>(builder: ServerBuilder<S>) -> Result<Server<S>> {
    let server = builder.start()?;
    server.local_addresses().iter().for_each(tell_listening);
    server.datagram_addresses().iter().for_each(tell_bound);
    Ok(server)
}

/// Says on stderr that a socket for streams is ready, the port known.
pub fn tell_listening(address: &SocketAddress) {
    match address {
        SocketAddress::Inet(address) => ready(format_args!("tcp://{address}")),
        SocketAddress::Unix(name) => ready(format_args!("{name}")),
    }
}

/// Says on stderr that a UDP socket is ready, the port known.
pub fn tell_bound(address: &SocketAddress) {
    ready(format_args!("udp://{address}"));
}

fn ready(address: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "listening on {address}");
}

/// Text that a stranger has sent, fit for a terminal: on one line, and nothing in it that the terminal would obey.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
