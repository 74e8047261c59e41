//! What the benches are made of: servers that echo streams and datagrams, loads for them, and timers and mailboxes to
//! compare.
#![forbid(unsafe_code)]

mod blocking;
pub mod cores;
pub mod datagrams;
pub mod descriptors;
pub mod listener;
pub mod load;
pub mod options;
pub mod peers;
pub mod post;
pub mod push;
pub mod random;
pub mod timers;
