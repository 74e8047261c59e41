//! How a simulation stands, in words: what a failing test shows.

use std::fmt::{self, Write};

use crate::sim::kernel::{Kernel, Object};
use crate::sim::pipe::Pipe;
use crate::sim::socket::{Role, Socket};
use crate::sim::stream::{End, Side};

impl Kernel {
    /// All that is open, all that is on its way, and what has happened last.
    pub(super) fn dump(&self) -> String {
        let mut text = format!("  time {} ns, {} calls\n", self.now, self.calls);
        for (number, object) in self.numbered() {
            // Writing to a string cannot fail.
            let _ = match object {
                Object::Socket(Socket { role: Role::Listening { waiting, .. }, local, .. }) => {
                    writeln!(text, "  descriptor {number} listens on {local}, {} wait", waiting.len())
                }
                Object::Socket(Socket { role: Role::End(stream, side), .. }) => {
                    writeln!(text, "  descriptor {number} is the {side:?} of stream {stream}")
                }
                Object::Socket(Socket { role: Role::Fresh, .. }) => {
                    writeln!(text, "  descriptor {number} is a fresh socket")
                }
                Object::Socket(Socket { role: Role::Datagram(datagrams), local, .. }) => {
                    writeln!(text, "  descriptor {number} takes datagrams at {local}: {datagrams:?}")
                }
                Object::Event(count) => writeln!(text, "  descriptor {number} is an eventfd of {count}"),
                Object::Epoll => writeln!(text, "  descriptor {number} is an epoll instance"),
                Object::Pipe(pipe, direction) => {
                    writeln!(text, "  descriptor {number} is to {direction:?} pipe {pipe}")
                }
                Object::Process(process) => writeln!(text, "  descriptor {number} is process {process}"),
                Object::Inotify(inotify) => writeln!(text, "  descriptor {number} is {inotify:?}"),
                Object::Signals(set) => writeln!(text, "  descriptor {number} is a signalfd of {set:#x}"),
            };
        }
        for (id, stream) in &self.streams {
            for side in [Side::Client, Side::Server] {
                let _ = writeln!(text, "  stream {id}, {side:?}: {}", describe(stream.end(side)));
            }
        }
        for (id, process) in &self.processes {
            let _ = writeln!(text, "  process {id}: {process:?}");
        }
        for (id, pipe) in &self.pipes {
            let _ = writeln!(text, "  pipe {id}: {} bytes, {pipe}", pipe.len());
        }
        format!("{text}  what happened last:\n{}", self.trace)
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reader, writer, squeezed, outside, .. } = self;
        let (unsent, taken) = (outside.unsent.len(), outside.taken.len());
        write!(
            f,
            "reader {reader:?}, writer {writer:?}, squeezed {squeezed}, outside {unsent} unsent and {taken} taken"
        )
    }
}

fn describe(end: &End) -> String {
    let End { phase, owner, error, read_ended, write_ended, .. } = end;
    format!(
        "{phase:?}, of {owner:?}, {} arrived, {} on their way, read_ended {read_ended}, write_ended {write_ended}, error {error:?}",
        end.arrived.len(),
        end.outgoing.len()
    )
}
