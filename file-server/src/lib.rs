//! What `file-server` and `file-client` are made of.

#![forbid(unsafe_code)]

pub mod http;
pub mod root;
