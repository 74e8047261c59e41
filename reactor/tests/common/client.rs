//! A blocking client over TCP or a Unix socket that never waits longer than the deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixStream};
use std::time::Duration;

use reactor::{SocketAddress, UnixName};
use rustix::net::{RecvFlags, SendFlags, send, sockopt};

use super::DEADLINE;

/// A client: reads and writes fail after the deadline, and so does the test.
#[derive(Debug)]
pub(crate) enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    pub(crate) fn connect(address: &SocketAddress) -> Self {
        Self::try_connect(address).expect("the server listens")
    }

    pub(crate) fn try_connect(address: &SocketAddress) -> io::Result<Self> {
        let client = match address {
            SocketAddress::Inet(address) => Self::Tcp(Self::connect_tcp(*address)?),
            SocketAddress::Unix(UnixName::Path(path)) => Self::Unix(UnixStream::connect(path)?),
            SocketAddress::Unix(UnixName::Abstract(name)) => {
                Self::Unix(UnixStream::connect_addr(&net::SocketAddr::from_abstract_name(name)?)?)
            }
            SocketAddress::Unix(UnixName::Unnamed) => panic!("a listener has a name"),
        };
        client.set_timeout(Some(DEADLINE))?;
        Ok(client)
    }

    fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
        // Miri does not know poll(2), by which the deadline is kept.
        let stream =
            if cfg!(miri) { TcpStream::connect(address)? } else { TcpStream::connect_timeout(&address, DEADLINE)? };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if cfg!(miri) {
            // It does not know the option; a test that fails there may wait for ever.
            return Ok(());
        }
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
        }
    }

    /// A second hand on the same socket, for another thread.
    pub(crate) fn twin(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("a descriptor is free")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("a descriptor is free")),
        }
    }

    /// Sends all of the bytes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Sends one byte of TCP urgent data.
    pub(crate) fn send_urgent(&mut self, byte: u8) {
        assert_eq!(send(self.as_fd(), &[byte], SendFlags::OOB).expect("the server takes what is sent"), 1);
    }

    /// Ends the sending direction.
    pub(crate) fn end(&mut self) {
        self.shut(Shutdown::Write);
    }

    fn shut(&self, how: Shutdown) {
        let result = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
        result.expect("the socket is connected");
    }

    /// Closes with a reset: what the server does next on its socket fails.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(self.as_fd(), Some(Duration::ZERO)).expect("the option is known");
    }

    /// Receives exactly so many bytes.
    #[track_caller]
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut received = 0;
        while received < count {
            match self.read(&mut bytes[received..]) {
                Ok(0) => panic!("the stream ended after {received} bytes of {count}"),
                Ok(more) => received += more,
                Err(error) => panic!("{error} after {received} bytes of {count}"),
            }
        }
        bytes
    }

    /// Receives exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let received = self.receive(expected.len());
        assert!(received == expected, "{} came, not {}", received.escape_ascii(), expected.escape_ascii());
    }

    /// Receives all until the end of the stream, which is no reset.
    #[track_caller]
    pub(crate) fn receive_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let result = self.read_to_end(&mut bytes);
        assert!(result.is_ok(), "{result:?} after {} bytes", bytes.len());
        bytes
    }

    /// Receives the end of the stream, and no byte before it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.receive_to_end();
        assert!(rest.is_empty(), "{} bytes came before the end: {}", rest.len(), rest.escape_ascii());
    }

    /// Receives until a reset, and says how many bytes came before it.
    #[track_caller]
    pub(crate) fn expect_reset(&mut self) -> usize {
        let mut bytes = Vec::new();
        let error = self.read_to_end(&mut bytes).expect_err("a reset comes");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        bytes.len()
    }

    /// What waits in the socket now, without waiting for more.
    pub(crate) fn receive_waiting(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let count = match rustix::net::recv(self.as_fd(), &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((count, _)) => count,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => panic!("{error}"),
        };
        bytes.truncate(count);
        bytes
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
