//! What the two programs of this crate have in common: how they read their options and what they say on stderr.

#![forbid(unsafe_code)]

pub mod cli;
pub mod console;
pub mod logging;
