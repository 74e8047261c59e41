//! `file-server`: serves a directory over HTTP, and receives files.

#![forbid(unsafe_code)]

fn main() {}
