//! Datagrams: servers that echo them, one call for each or one for many, and a load that counts what they cost.

mod bare;
mod load;
mod reactor;

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::gettid;

use crate::cores;

pub use load::DatagramLoad;

/// One way to echo datagrams.
#[derive(Clone, Copy, Debug)]
pub struct DatagramPeer {
    /// What it is called in reports.
    pub name: &'static str,
    serve: fn(UdpSocket) -> io::Result<()>,
}

/// All ways. The bare ones make one `recvfrom` and one `sendto` for each datagram: on an edge-triggered epoll, as a loop must
/// that has other things to do, and blocking, as one may that has not.
pub const DATAGRAM_PEERS: [DatagramPeer; 3] = [
    DatagramPeer { name: "reactor", serve: reactor::serve },
    DatagramPeer { name: "epoll", serve: bare::serve_edge_triggered },
    DatagramPeer { name: "blocking", serve: bare::serve_blocking },
];

/// A server that runs on a thread of its own until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct DatagramServer {
    /// Where it is.
    pub address: SocketAddr,
    thread: i32,
}

impl DatagramPeer {
    /// Serves a port of the loopback interface on the processor of the server.
    ///
    /// # Errors
    /// No port can be bound, or no thread started.
    pub fn spawn(&self) -> io::Result<DatagramServer> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        let address = socket.local_addr()?;
        let (told, is_told) = mpsc::channel();
        let serve = self.serve;
        cores::spawn_server(self.name, move || {
            told.send(gettid().as_raw_nonzero().get()).map_err(io::Error::other)?;
            serve(socket)
        })?;
        let thread = is_told.recv().map_err(io::Error::other)?;
        Ok(DatagramServer { address, thread })
    }
}

impl DatagramServer {
    /// The processor time of its thread so far. It is exact while the thread sleeps.
    ///
    /// # Errors
    /// The kernel keeps no such figures.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.thread))?;
        let nanos = stat.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| io::Error::other("schedstat cannot be read"))
    }
}

/// Room for all that a load has under way.
const RECEIVE_BUFFER: usize = 2 << 20;
