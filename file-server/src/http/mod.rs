//! HTTP/1.1 as pure functions over bytes: no sockets, no files and no clock (RFC 9110, 9111, 9112).
//!
//! ```text
//! request    a head, parsed and checked; how its body is framed
//! target     its path as names that stay below a root; links back to it
//! conditional, range     what of a file is to be sent
//! negotiation            in which coding, as a page or as JSON
//! head, cors what is sent before it
//! chunked, digest        bodies that are received, and whether they are what they are said to be
//! authorization          who asks
//! ```

pub mod authorization;
pub mod chunked;
pub mod conditional;
pub mod cors;
pub mod date;
pub mod digest;
pub mod etag;
pub mod field;
pub mod framing;
pub mod head;
mod line_ends;
pub mod list;
pub mod method;
pub mod negotiation;
pub mod range;
pub mod request;
mod request_target;
pub mod status;
pub mod structured_field;
pub mod target;
pub mod version;
