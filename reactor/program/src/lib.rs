//! What the programs of this workspace have in common: how they read their options, what they say on stderr, how
//! connections come in, and the sockets that a service manager passes in.

#![forbid(unsafe_code)]

pub mod cli;
pub mod console;
pub mod entrance;
pub mod file_size;
pub mod inherited;
pub mod logging;
pub mod proxy_header;
pub mod proxy_protocol;
pub mod proxy_refusals;
pub mod sharing;
