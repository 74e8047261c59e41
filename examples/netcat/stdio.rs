//! Stdin and stdout, and what they and the network know of each other.

use std::io;
use std::time::Duration;

use reactor::sources::{ByteReader, ByteStream, ByteWriter, ReaderContext, WriterContext};
use reactor::{CloseReason, ConnId, DatagramId, Input, LoopContext, Peer, Result, SocketAddress, SourceId};

/// What the parts of the program know of each other.
pub(crate) struct Ends {
    pub(crate) network: Network,
    pub(crate) stdin: Option<SourceId>,
    pub(crate) stdout: Option<SourceId>,
    pub(crate) stdin_ended: bool,
    pub(crate) network_ended: bool,
    pub(crate) outcome: Result,
}

#[derive(Clone)]
pub(crate) enum Network {
    /// Nobody is there yet, or no more.
    Nobody,
    Stream(ConnId),
    Datagrams(DatagramId, SocketAddress),
}

/// The peer is there: stdin may begin.
pub(crate) fn begin(cx: &mut LoopContext<'_, Ends>, network: Network) -> Result {
    cx.state().network = network;
    cx.state().stdin = Some(cx.add_reader(ByteStream::stdin()?, Stdin)?);
    Ok(())
}

/// The peer is gone: what has come from it is still written, however long that takes.
pub(crate) fn finish(cx: &mut LoopContext<'_, Ends>, outcome: Result) {
    cx.state().network = Network::Nobody;
    cx.state().outcome = outcome;
    if let Some(mut stdout) = cx.state().stdout.and_then(|id| cx.writer(id)) {
        stdout.finish();
    }
    cx.shutdown(Duration::MAX);
}

/// Writes to stdout, and says whether the peer had better wait.
pub(crate) fn write_out(cx: &mut LoopContext<'_, Ends>, bytes: &[u8]) -> Result<bool> {
    let Some(mut stdout) = cx.state().stdout.and_then(|id| cx.writer(id)) else { return Ok(false) };
    stdout.send(bytes)?;
    Ok(stdout.is_congested())
}

/// The peer of a stream, if it is there.
fn stream<'a>(cx: &'a mut LoopContext<'_, Ends>) -> Option<Peer<'a>> {
    let Network::Stream(id) = cx.state().network else { return None };
    cx.peer(id)
}

struct Stdin;

impl ByteReader<Ends> for Stdin {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Ends>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        if let Network::Datagrams(id, to) = cx.state().network.clone() {
            let Some(mut socket) = cx.datagram(id) else { return Ok(()) };
            return bytes.chunks(LONGEST_DATAGRAM).try_for_each(|piece| socket.send_to(&to, piece));
        }
        let Some(mut peer) = stream(cx) else { return Ok(()) };
        peer.send(bytes)?;
        if peer.queued() > HIGH_MARK {
            cx.pause();
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Ends>) -> Result {
        cx.state().stdin_ended = true;
        let network_ended = cx.state().network_ended;
        match stream(cx) {
            Some(mut peer) if network_ended => peer.close_after_flush(),
            Some(mut peer) => peer.shutdown_write(),
            None => {}
        }
        Ok(())
    }
}

pub(crate) struct Stdout;

impl ByteWriter<Ends> for Stdout {
    fn on_drained(&mut self, cx: &mut WriterContext<'_, Ends>) -> Result {
        if let Some(mut peer) = stream(cx) {
            peer.resume();
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut WriterContext<'_, Ends>, reason: &CloseReason) {
        if let CloseReason::Error(error) = reason {
            cx.state().outcome = Err(io::Error::other(format!("stdout: {error}")));
            cx.stop();
        }
    }
}

/// Above so many bytes that the peer has not taken stdin is not read.
const HIGH_MARK: usize = 256 << 10;

/// What fits one packet of most networks.
const LONGEST_DATAGRAM: usize = 1400;
