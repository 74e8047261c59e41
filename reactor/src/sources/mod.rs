//! Any descriptor as a source of events, and ready-made sources.
//!
//! A [`Source`] is what the loop calls when a descriptor is ready that is neither a connection nor a datagram socket. The
//! others are made of it:
//!
//! | what | how |
//! |---|---|
//! | bytes of a pipe, a terminal, standard input, a file | [`add_reader`](crate::LoopContext::add_reader), [`ByteReader`] |
//! | bytes to write there | [`add_writer`](crate::LoopContext::add_writer), [`ByteWriter`] |
//! | child processes | [`spawn`](crate::LoopContext::spawn) |
//! | changes to files | [`watch_files`](crate::LoopContext::watch_files) |
//! | signals | [`EventLoop::on_signals`](crate::EventLoop::on_signals) |
//! | anything else that epoll(7) takes | [`add_source`](crate::LoopContext::add_source) |
//!
//! Each has a [`SourceId`](crate::SourceId), by which it is [closed](crate::LoopContext::close_source).

pub(crate) mod byte_stream;
pub(crate) mod child;
pub(crate) mod descriptor;
pub(crate) mod file_event;
pub(crate) mod file_watcher;
pub(crate) mod reader;
pub(crate) mod reading;
pub(crate) mod serving;
pub(crate) mod source;
pub(crate) mod source_context;
pub(crate) mod watched;
pub(crate) mod watching;
pub(crate) mod writer;
pub(crate) mod writing;

pub use byte_stream::ByteStream;
pub use child::{AtEnd, Child, ChildOptions, Spawned};
pub use descriptor::Descriptor;
pub use file_event::{FileEvent, FileMask, WatchId};
pub use file_watcher::FileWatcher;
pub use reader::{ByteReader, Reader, ReaderContext};
pub use source::{Progress, Source};
pub use source_context::SourceContext;
pub use writer::{ByteWriter, Writer, WriterContext};
