//! The textbook echo server on poll(2), as a program. Where it ends is told in `textbook/poll.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_poll
//!     nc 127.0.0.1 7777
//!
//! What you type comes back. Under `strace` each message is a `poll` with the whole list, a `recvfrom` and a `sendto`.

use examples::textbook::{self, poll};

fn main() -> std::io::Result<()> {
    textbook::run("Sends back what it is sent: the textbook server on poll(2).", poll::serve)
}
