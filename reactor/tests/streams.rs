//! What goes in comes back byte for byte, however it is cut up, over TCP and over Unix sockets alike.

mod common;

use std::io::Read;
use std::thread::{self, JoinHandle};

use common::{Client, Echo, TestLoop, Transport, assert_pattern, fill_pattern};
use reactor::{Limits, Server};

/// Sends the pattern from `offset` on in pieces of the sizes that come, then ends its direction.
fn send_in_pieces(
    client: &Client,
    offset: usize,
    total: usize,
    mut sizes: impl FnMut() -> usize + Send + 'static,
) -> JoinHandle<()> {
    let mut client = client.twin();
    thread::spawn(move || {
        let mut piece = Vec::new();
        let mut sent = 0;
        while sent < total {
            piece.resize(sizes().clamp(1, total - sent), 0);
            fill_pattern(offset + sent, &mut piece);
            client.send(&piece);
            sent += piece.len();
        }
        client.end();
    })
}

/// Receives the pattern from `offset` on in pieces of at most `size`, to the end of the stream after `total` bytes.
fn receive_in_pieces(client: &mut Client, offset: usize, total: usize, size: usize) {
    let mut piece = vec![0; size];
    let mut received = 0;
    loop {
        let count = client.read(&mut piece).unwrap_or_else(|error| panic!("{error} after {received} bytes of {total}"));
        assert_pattern(offset + received, &piece[..count]);
        received += count;
        if count == 0 {
            return assert_eq!(received, total);
        }
    }
}

fn echoes(transport: Transport) -> TestLoop {
    TestLoop::serve_with(Limits::default(), transport, || Echo)
}

#[test]
fn a_large_stream_comes_back_whole() {
    for transport in Transport::ALL {
        let total = 64 << 20;
        let server = echoes(transport);
        let mut client = server.client();
        let sending = send_in_pieces(&client, 0, total, || 256 << 10);
        receive_in_pieces(&mut client, 0, total, 256 << 10);
        sending.join().unwrap();
        server.eventually("it has closed", |metrics| metrics.open == 0);
        let metrics = server.metrics();
        assert_eq!((metrics.bytes_in, metrics.bytes_out), (total as u64, total as u64));
        assert_eq!((metrics.closed.eof, metrics.closed.total(), metrics.buffered), (1, 1, 0));
    }
}

#[test]
fn single_bytes_come_back_in_order() {
    for transport in Transport::ALL {
        let total = 50_000;
        let server = echoes(transport);
        let mut client = server.client();
        let sending = send_in_pieces(&client, 7, total, || 1);
        receive_in_pieces(&mut client, 7, total, 1000);
        sending.join().unwrap();
    }
}

#[test]
fn a_reader_of_small_pieces_gets_all() {
    for transport in Transport::ALL {
        let total = 8 << 20;
        let server = echoes(transport);
        let mut client = server.client();
        let sending = send_in_pieces(&client, 0, total, || 100_000);
        receive_in_pieces(&mut client, 0, total, 700);
        sending.join().unwrap();
    }
}

#[test]
fn pieces_of_uneven_sizes_come_back_in_order() {
    for transport in Transport::ALL {
        let total = 16 << 20;
        let server = echoes(transport);
        let mut client = server.client();
        let mut state = 1_u32;
        let sending = send_in_pieces(&client, 0, total, move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // From a byte to a megabyte, every order of magnitude as often.
            1 << ((state >> 24) % 21)
        });
        receive_in_pieces(&mut client, 0, total, 12_345);
        sending.join().unwrap();
    }
}

#[test]
fn a_thousand_requests_in_a_row_are_answered_one_by_one() {
    for transport in Transport::ALL {
        let server = echoes(transport);
        let mut client = server.client();
        for round in 0..1000 {
            let mut request = vec![0; 1 + round * 13 % 5000];
            fill_pattern(round, &mut request);
            client.send(&request);
            client.expect(&request);
        }
    }
}

#[test]
fn two_hundred_streams_at_once_do_not_mix() {
    const CLIENTS: usize = 200;
    for transport in Transport::ALL {
        let total = 128 << 10;
        let server = echoes(transport);
        let mut clients = (0..CLIENTS).map(|_| server.client()).collect::<Vec<_>>();
        let sending = clients.iter().enumerate().map(|(index, client)| {
            // Each sends another part of the pattern.
            send_in_pieces(client, index * 1009, total, move || 1 + index * 37)
        });
        let sending = sending.collect::<Vec<_>>();
        for (index, client) in clients.iter_mut().enumerate() {
            receive_in_pieces(client, index * 1009, total, 65_536);
        }
        for sender in sending {
            sender.join().unwrap();
        }
        server.eventually("all have closed", |metrics| metrics.closed.eof == CLIENTS as u64);
        let metrics = server.metrics();
        let bytes = (CLIENTS * total) as u64;
        assert_eq!((metrics.bytes_in, metrics.bytes_out, metrics.buffered), (bytes, bytes, 0));
    }
}

#[test]
fn streams_over_several_loops_come_back_whole() {
    for transport in Transport::ALL {
        let server = Server::builder().threads(2).listen(&*transport.address(), |_| Echo).unwrap().start().unwrap();
        let address = server.local_addresses()[0].clone();
        let total = 1 << 20;
        let mut clients = (0..20).map(|_| Client::connect(&address)).collect::<Vec<_>>();
        let sending = clients.iter().map(|client| send_in_pieces(client, 0, total, || 30_000)).collect::<Vec<_>>();
        for client in &mut clients {
            receive_in_pieces(client, 0, total, 65_536);
        }
        for sender in sending {
            sender.join().unwrap();
        }
    }
}
