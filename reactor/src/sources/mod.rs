//! Any descriptor as a source of events, and ready-made sources.
//!
//! A [`Source`] is what the loop calls when a descriptor is ready that is neither a connection nor a
//! datagram socket. Everything else here is made of it.

pub(crate) mod byte_stream;
pub(crate) mod child;
pub(crate) mod file_event;
pub(crate) mod file_watcher;
pub(crate) mod reader;
pub(crate) mod serving;
pub(crate) mod source;
pub(crate) mod source_context;
pub(crate) mod watched;
pub(crate) mod watching;
pub(crate) mod writer;

pub use byte_stream::ByteStream;
pub use child::{AtEnd, Child, ChildOptions, Spawned};
pub use file_event::{FileEvent, FileMask, WatchId};
pub use file_watcher::FileWatcher;
pub use reader::{ByteReader, Reader, ReaderContext};
pub use source::{Progress, Source};
pub use source_context::SourceContext;
pub use writer::{ByteWriter, Writer, WriterContext};
