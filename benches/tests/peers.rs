//! Every peer is an honest echo server, or its figures would say nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use benches::load::{Churn, ClosedLoop, Shape};
use benches::peers::Peer;

macro_rules! tests_of {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn echoes_every_byte_in_order_and_then_closes() {
                super::echoes_every_byte_in_order_and_then_closes(stringify!($name));
            }

            #[test]
            fn a_slow_reader_holds_up_nobody_and_loses_nothing() {
                super::a_slow_reader_holds_up_nobody_and_loses_nothing(stringify!($name));
            }

            #[test]
            fn serves_many_at_once() {
                super::serves_many_at_once(stringify!($name));
            }

            #[test]
            fn serves_those_that_come_and_go() {
                super::serves_those_that_come_and_go(stringify!($name));
            }
        })*

        #[test]
        fn no_peer_is_forgotten() {
            assert_eq!(benches::peers::ALL.map(|peer| peer.name), [$(stringify!($name)),*]);
        }
    };
}

tests_of! { reactor epoll mio tokio polling calloop level poll select thread }

fn echoes_every_byte_in_order_and_then_closes(name: &str) {
    echoes_whole_stream(client_of(name));
}

fn echoes_whole_stream(mut client: TcpStream) {
    let sent = pattern(0, 3 << 20);
    let mut writing = client.try_clone().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            for piece in sent.chunks(50_001) {
                writing.write_all(piece).unwrap();
            }
            writing.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
}

fn a_slow_reader_holds_up_nobody_and_loses_nothing(name: &str) {
    let server = Peer::named(name).unwrap().spawn().unwrap();
    let (mut slow, mut quick) = (connect(server), connect(server));
    slow.set_nonblocking(true).unwrap();
    let mut written = 0;
    // The slow one writes until nothing moves any more; meanwhile the quick one is answered.
    loop {
        let more = write_until_blocked(&mut slow, written);
        for _ in 0..20 {
            exchange(&mut quick, b"still there?");
        }
        if more == 0 {
            break;
        }
        written += more;
    }
    slow.set_nonblocking(false).unwrap();
    slow.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    slow.read_to_end(&mut received).unwrap();
    assert!(received == pattern(0, written), "{} bytes came back of {written}", received.len());
}

fn serves_many_at_once(name: &str) {
    let server = Peer::named(name).unwrap().spawn().unwrap();
    for (connections, size, depth) in [(100, 64, 16), (20, 16 << 10, 1), (1, 1 << 20, u64::MAX)] {
        let mut load = ClosedLoop::connect(server, Shape { connections, size, depth }).unwrap();
        load.run(50).unwrap();
        load.run(1).unwrap();
    }
}

fn serves_those_that_come_and_go(name: &str) {
    let server = Peer::named(name).unwrap().spawn().unwrap();
    let mut load = Churn::new(server, 16, 64).unwrap();
    load.run(1000).unwrap();
    load.run(1).unwrap();
}

#[test]
fn who_answers_in_pieces_loses_nothing_either() {
    let names: Vec<_> = benches::peers::ALL.iter().filter(|peer| peer.answer.is_some()).map(|peer| peer.name).collect();
    assert_eq!(names, ["reactor", "epoll", "tokio"]);
    for name in names {
        let server = Peer::named(name).unwrap().spawn_answering().unwrap().unwrap();
        echoes_whole_stream(connect(server));
        // Less than the size of an answer comes back too.
        exchange(&mut connect(server), b"short");
    }
}

fn client_of(name: &str) -> TcpStream {
    connect(Peer::named(name).unwrap().spawn().unwrap())
}

fn connect(server: std::net::SocketAddr) -> TcpStream {
    let client = TcpStream::connect(server).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

fn exchange(client: &mut TcpStream, message: &[u8]) {
    client.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
}

fn write_until_blocked(client: &mut TcpStream, written_before: usize) -> usize {
    let mut written = 0;
    loop {
        match client.write(&pattern(written_before + written, 64 << 10)) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Bytes that differ by their place in the stream.
fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8).collect()
}
