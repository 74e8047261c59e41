//! Bodies that nobody wants: small ones are passed over for the sake of the next request, others end the connection.

use reactor::{Context, Input, Result};

use crate::connection::HttpConnection;
use crate::http::framing::Body;
use crate::http::request::Request;
use crate::worker::Worker;

impl HttpConnection {
    /// The body of this request will not be read for what it is.
    #[inline]
    pub(crate) fn pass_over_body(&mut self, request: &Request<'_>) {
        self.unwanted = unwanted_of(request).unwrap_or(0);
    }

    /// Drops what has come of a body that nobody wants. The rest of it may take as long as a head.
    #[cold]
    pub(crate) fn drop_unwanted(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        let there = u32::try_from(input.len()).unwrap_or(u32::MAX).min(self.unwanted);
        input.consume(there as usize);
        self.unwanted -= there;
        if self.unwanted > 0 {
            return self.await_rest(cx);
        }
        self.end_head(cx);
        Ok(())
    }
}

/// How many bytes of a body that nobody wants are read for the sake of the next request behind them. `None`: they are too many,
/// their number is not known, or they may not come, for the client waits to be told to go on.
#[inline]
pub(crate) fn unwanted_of(request: &Request<'_>) -> Option<u32> {
    match request.body {
        Body::None => Some(0),
        Body::Length(length) if length <= MOST_UNWANTED && !request.expects_continue => u32::try_from(length).ok(),
        Body::Length(_) | Body::Chunked => None,
    }
}

/// What a client has likely sent before it sees an answer: reading it costs less than a new connection.
const MOST_UNWANTED: u64 = 64 << 10;
