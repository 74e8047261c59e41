//! Echo on mio: one `Poll`, a slab of connections, reading until the socket would block.

use std::io;
use std::net;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::session::{BUFFER, Session};

pub(super) fn serve(listener: net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<(TcpStream, Session)> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&poll, &listener, &mut connections);
                continue;
            }
            let Some((stream, session)) = connections.get_mut(event.token().0) else { continue };
            if !session.serve(&*stream, &mut buffer) {
                connections.remove(event.token().0);
            }
        }
    }
}

fn accept_all(poll: &Poll, listener: &TcpListener, connections: &mut Slab<(TcpStream, Session)>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let entry = connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        if poll.registry().register(&mut stream, Token(entry.key()), both).is_ok() {
            entry.insert((stream, Session::default()));
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
