//! Echo on this project.

use std::io;
use std::net::UdpSocket;

use reactor::{DatagramContext, DatagramHandler, DatagramOptions, DatagramSocket, EventLoop, Result, SocketAddress};

struct Echo;

impl DatagramHandler for Echo {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, bytes: &[u8]) -> Result {
        cx.reply(bytes)
    }
}

pub(super) fn serve(socket: UdpSocket) -> io::Result<()> {
    let socket = DatagramSocket::from_fd(socket.into(), &DatagramOptions::default())?;
    let mut event_loop = EventLoop::new(())?;
    event_loop.context().add_datagram(socket, Echo)?;
    event_loop.run().map(drop)
}
