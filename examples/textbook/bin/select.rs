//! The textbook echo server on select(2), as a program. Where it ends is told in `textbook/select.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_select
//!     nc 127.0.0.1 7777
//!
//! What you type comes back. Under `strace` each message is a `pselect6`, a `recvfrom` and a `sendto`.

use examples::textbook::{self, select};

fn main() -> std::io::Result<()> {
    textbook::run("Sends back what it is sent: the textbook server on select(2).", select::serve)
}
