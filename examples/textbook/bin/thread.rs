//! The textbook echo server of a thread for each connection, as a program. Where it ends is told in `textbook/thread.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_thread
//!     nc 127.0.0.1 7777
//!
//! What you type comes back, and `ps -L` shows a thread more for as long as `nc` runs.

use examples::textbook::{self, thread};

fn main() -> std::io::Result<()> {
    textbook::run("Sends back what it is sent: the textbook server of a thread for each connection.", thread::serve)
}
