//! What `file-server` and `file-client` are made of.
//!
//! ```text
//! connection  one HTTP connection: requests in, answers out
//! answer      answers, written from what is known of a file
//! asking, identity          requests for what a worker has to look for; whose they are
//! feed        the content of a large answer, piece by piece
//! worker      what the connections of a loop share; asks for files and takes in what is found
//! load        finds and opens a file, on the worker pool
//! memo        requests that were answered before
//! cache, entry, watcher     what is kept, and how it is learned that it has changed
//! root        names resolved below the served directory, by the kernel
//! receiving, removing       PUT and DELETE
//! reception, memory, jobs   bodies on their way to the disk
//! storage     files as they are received: whole under their name, or not there
//! struct_upload, struct_header   the other protocol
//! http        the protocol as pure functions
//! ```

#![forbid(unsafe_code)]

pub mod access_log;
pub mod answer;
pub mod asking;
pub mod cache;
pub mod connection;
mod direct;
pub mod entry;
pub mod feed;
mod hot;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod listing;
pub mod load;
pub mod media_type;
pub mod memo;
pub mod memory;
pub mod metrics;
mod pipe;
pub mod receiving;
pub mod reception;
pub mod removing;
pub mod root;
pub mod settings;
pub mod shared;
pub mod sink;
pub mod storage;
mod struct_header;
pub mod struct_upload;
mod unwanted;
pub mod users;
pub mod wall_clock;
pub mod watcher;
pub mod worker;
