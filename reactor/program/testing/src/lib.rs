//! The programs of this workspace as their tests see them: what they say, how they end, which of their system calls fail.
//!
//! It is for tests: whatever goes wrong is a panic, and nothing is waited for without a deadline.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

pub mod haproxy;
pub mod process;
pub mod proxy_header;
pub mod running;
pub mod silent;
pub mod strace;
