//! The textbook server on `poll`, as a program: `cargo run -p examples --example textbook_poll -- [ADDR]`.

use examples::textbook::{self, poll};

fn main() -> std::io::Result<()> {
    textbook::run(poll::serve)
}
