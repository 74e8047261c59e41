//! The textbook echo server on level-triggered epoll(7), as a program. Where it ends is told in `textbook/epoll_level.rs`.
//!
//! Try:
//!
//!     cargo run -p examples --example textbook_epoll_level
//!     nc 127.0.0.1 7777
//!
//! What you type comes back. Under `strace` each message is an `epoll_wait`, a `recvfrom` and a `sendto`; no list is copied.

use examples::textbook::{self, epoll_level};

fn main() -> std::io::Result<()> {
    textbook::run("Sends back what it is sent: the textbook server on level-triggered epoll(7).", epoll_level::serve)
}
