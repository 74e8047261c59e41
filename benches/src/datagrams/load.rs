//! A load of datagrams: so many under way at once, the next one sent for each that comes back.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reactor::{DatagramContext, DatagramHandler, DatagramOptions, EventLoop, Result, SocketAddress};

/// A client with one socket. It receives and sends many in one call, so that a server that does not has them waiting.
pub struct DatagramLoad {
    event_loop: EventLoop<Left>,
    client: reactor::DatagramId,
    window: u64,
}

/// What is left of a run.
#[derive(Default)]
struct Left {
    to_send: u64,
    to_receive: u64,
}

struct Client;

impl DatagramHandler<Left> for Client {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, Left>, _from: &SocketAddress, _bytes: &[u8]) -> Result {
        let left = cx.state();
        left.to_receive -= 1;
        if left.to_send == 0 {
            return Ok(());
        }
        left.to_send -= 1;
        cx.send(PAYLOAD)
    }
}

impl DatagramLoad {
    /// A load with so many datagrams of 64 bytes under way.
    ///
    /// # Errors
    /// No socket can be made.
    pub fn new(server: SocketAddr, window: u64) -> io::Result<Self> {
        let mut event_loop = EventLoop::new(Left::default())?;
        let options = DatagramOptions::default().max_size(PAYLOAD.len()).receive_buffer(2 << 20);
        let client = event_loop.context().connect_datagram(server, &options, Client)?;
        Ok(Self { event_loop, client, window })
    }

    /// Has so many datagrams echoed.
    ///
    /// # Errors
    /// Some do not come back.
    pub fn run(&mut self, count: u64) -> io::Result<()> {
        let first = count.min(self.window);
        *self.event_loop.state_mut() = Left { to_send: count - first, to_receive: count };
        for _ in 0..first {
            let mut cx = self.event_loop.context();
            cx.datagram(self.client).ok_or(io::ErrorKind::NotConnected)?.send(PAYLOAD)?;
        }
        let mut last = (Instant::now(), count);
        while self.event_loop.state().to_receive > 0 {
            self.event_loop.turn(Some(PATIENCE))?;
            let left = self.event_loop.state().to_receive;
            if left < last.1 {
                last = (Instant::now(), left);
            } else if last.0.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{left} datagrams were lost")));
            }
        }
        Ok(())
    }
}

const PAYLOAD: [u8; 64] = [7; 64];

const PATIENCE: Duration = Duration::from_secs(5);
