//! Small programs on the reactor, one idea each; they are the examples of this crate.

#[path = "../textbook/mod.rs"]
pub mod textbook;
