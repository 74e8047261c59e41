//! `file-client`: puts and gets files.

#![forbid(unsafe_code)]

fn main() {}
