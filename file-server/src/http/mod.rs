//! HTTP/1.1 as pure functions over bytes: no sockets and no files.
