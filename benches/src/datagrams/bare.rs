//! The two loops that everybody writes first.

use std::io;
use std::net::UdpSocket;

use rustix::event::epoll;

#[allow(clippy::needless_pass_by_value, reason = "all servers are started in one way")]
pub(super) fn serve_blocking(socket: UdpSocket) -> io::Result<()> {
    let mut bytes = vec![0; LARGEST];
    loop {
        let (count, from) = socket.recv_from(&mut bytes)?;
        socket.send_to(&bytes[..count], from)?;
    }
}

#[allow(clippy::needless_pass_by_value, reason = "all servers are started in one way")]
pub(super) fn serve_edge_triggered(socket: UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    let mut events = Vec::with_capacity(16);
    let mut bytes = vec![0; LARGEST];
    loop {
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        events.clear();
        echo_all(&socket, &mut bytes)?;
    }
}

fn echo_all(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<()> {
    loop {
        match socket.recv_from(bytes) {
            Ok((count, from)) => socket.send_to(&bytes[..count], from)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
    }
}

const LARGEST: usize = 65_535;
