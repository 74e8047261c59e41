//! The textbook server on `select`, as a program: `cargo run -p examples --example textbook_select -- [ADDR]`.

use examples::textbook::{self, select};

fn main() -> std::io::Result<()> {
    textbook::run(select::serve)
}
