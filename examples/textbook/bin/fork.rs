//! The textbook echo server of a process for each connection, as a program. Where it ends is told in `textbook/fork.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_fork
//!     nc 127.0.0.1 7777
//!
//! What you type comes back, and `ps` shows a process more for as long as `nc` runs.

use examples::textbook::{self, fork};

fn main() -> std::io::Result<()> {
    textbook::run("Sends back what it is sent: the textbook server of a process for each connection.", fork::serve)
}
