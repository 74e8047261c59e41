//! The textbook server on edge-triggered `epoll`, as a program: `cargo run -p examples --example textbook_epoll_edge -- [ADDR]`.

use examples::textbook::{self, epoll_edge};

fn main() -> std::io::Result<()> {
    textbook::run(epoll_edge::serve)
}
