//! The textbook server of a thread for each connection, as a program: `cargo run -p examples --example textbook_thread -- [ADDR]`.

use examples::textbook::{self, thread};

fn main() -> std::io::Result<()> {
    textbook::run(thread::serve)
}
