//! The textbook echo server that serves one connection after another, as a program. Where it ends is told in `textbook/blocking.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_blocking
//!     nc 127.0.0.1 7777
//!
//! Open a second `nc` while the first one is connected: what you type there comes back only when the first has ended.

use examples::textbook::{self, blocking};

fn main() -> std::io::Result<()> {
    textbook::run(
        "Sends back what it is sent: the textbook server that serves one connection after another.",
        blocking::serve,
    )
}
