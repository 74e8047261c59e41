//! Ways to send bytes to a client from a thread that is not its loop's.

mod mio;
mod reactor;
mod tokio;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

pub use self::mio::MioPush;
pub use self::reactor::ReactorPush;
pub use self::tokio::TokioPush;
use crate::options;
use crate::post::{Desk, Letter};

/// The way to a client by its loop, which runs on a thread of its own, on the server's processor; dropped, it ends that
/// loop.
pub trait Push {
    /// Has the loop send bytes to the client.
    fn push(&self, bytes: &[u8]);

    /// Hands the loop a letter for its desk.
    fn post(&self, letter: Letter);

    /// The far ends.
    fn ends(&self) -> &Ends;

    /// Has the loop busy until [`release`](Self::release) is called.
    fn hold(&self) {
        self.post(Letter::Hold);
        self.ends().desk.wait_until_held();
    }

    /// Lets the loop go on.
    fn release(&self) {
        self.ends().desk.release();
    }
}

/// What is at the other ends of the loop: its desk, and the client.
#[derive(Debug)]
pub struct Ends {
    desk: Arc<Desk>,
    client: TcpStream,
}

impl Ends {
    /// Connects to the loop.
    fn connect(desk: Arc<Desk>, server: SocketAddr) -> io::Result<Self> {
        let client = TcpStream::connect(server)?;
        options::set(&client)?;
        client.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { desk, client })
    }

    /// Waits until so many bytes have come to the client.
    ///
    /// # Errors
    /// They do not come within 10 s, or the loop closed the connection.
    pub fn receive(&self, mut count: usize) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        while count > 0 {
            let most = count.min(buffer.len());
            match (&self.client).read(&mut buffer[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => count -= received,
            }
        }
        Ok(())
    }
}

/// What a loop that has a channel is sent.
#[derive(Debug)]
enum Order {
    Send(Vec<u8>),
    Read(Letter),
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn every_byte_arrives(push: &impl Push) {
        push.push(&[1; 64]);
        push.ends().receive(64).unwrap();
        push.hold();
        (0..500).for_each(|_| push.push(&[2; 64]));
        push.release();
        push.ends().receive(500 * 64).unwrap();
    }

    #[test]
    fn every_byte_arrives_by_every_push() {
        every_byte_arrives(&ReactorPush::start().unwrap());
        every_byte_arrives(&TokioPush::start().unwrap());
        every_byte_arrives(&MioPush::start().unwrap());
    }
}
