//! Datagrams on both kernels.

use super::{CLIENT, SERVER, Stage, same};
use crate::sys::datagram::{self, Layout, Message, ReceiveBatch, SendBatch};
use crate::sys::fd::Fd;
use crate::sys::sockaddr::RawAddress;
use crate::sys::{datagram_option, epoll, socket};

/// A datagram socket that others find at the stage's address, and one that sends.
fn datagram_pair(stage: &mut Stage) -> (Fd, Fd) {
    let receiver = socket::datagram(&stage.target).unwrap();
    let sender = socket::datagram(&stage.target).unwrap();
    if !stage.target.is_unix() {
        datagram_option::receive_errors(sender.as_fd(), false).unwrap();
        socket::bind(sender.as_fd(), &stage.target).unwrap();
    }
    socket::bind(receiver.as_fd(), &stage.target).unwrap();
    stage.target = socket::local_address(receiver.as_fd()).unwrap();
    (receiver, sender)
}

fn send_datagrams(stage: &mut Stage, what: &str, from: &Fd, datagrams: &[&[u8]]) {
    let to = RawAddress::encode(&stage.target).unwrap();
    let messages = datagrams.iter().map(|bytes| Message { bytes, to: Some(&to), from: None });
    let result = datagram::send(from.as_fd(), &mut SendBatch::default(), messages);
    stage.saw_result(what, result);
}

fn receive_datagrams(stage: &mut Stage, what: &str, at: &Fd, count: usize) {
    let mut batch = ReceiveBatch::default();
    batch.lay_out(Layout { slots: 4, size: 4, control: false });
    let result = datagram::receive(at.as_fd(), &mut batch, count).map(|count| {
        let all = (0..count).map(|index| batch.get(index));
        all.map(|one| (String::from_utf8_lossy(one.bytes).into_owned(), one.length)).collect::<Vec<_>>()
    });
    stage.saw_result(what, result);
}

#[test]
fn datagrams_come_whole_and_are_cut_where_there_is_no_room() {
    same("datagrams", |stage| {
        let (receiver, sender) = datagram_pair(stage);
        stage.watch(&receiver, SERVER);
        stage.events("at first");
        receive_datagrams(stage, "nothing", &receiver, 4);
        send_datagrams(stage, "three", &sender, &[b"abc", b"", b"longer than there is room for"]);
        stage.events("three");
        stage.events("no more edges though they are there");
        receive_datagrams(stage, "two of them", &receiver, 2);
        send_datagrams(stage, "another", &sender, &[b"def"]);
        stage.events("another");
        receive_datagrams(stage, "the others", &receiver, 4);
        receive_datagrams(stage, "nothing", &receiver, 4);
        stage.saw_result("type", datagram_option::is_datagram(receiver.as_fd()));
        stage.saw("peer", socket::peer_address(receiver.as_fd()).unwrap_err().raw_os_error());
    });
}

#[test]
fn a_datagram_for_nobody_is_an_error_that_is_told_once() {
    same("undelivered", |stage| {
        let (receiver, sender) = datagram_pair(stage);
        let result = epoll::add(stage.epoll.as_fd(), sender.as_fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, CLIENT);
        stage.saw_result("watch", result);
        drop(receiver);
        send_datagrams(stage, "for nobody", &sender, &[b"abc"]);
        stage.events("the error");
        if !stage.target.is_unix() {
            let told = datagram::receive_error(sender.as_fd());
            let told = told.map(|told| (told.to.decode().ok(), told.error.map(|error| error.errno)));
            let told = told.map(|(to, errno)| (to == Some(stage.target.clone()), errno));
            stage.saw_result("told", told);
            receive_datagrams(stage, "no error is left", &sender, 1);
            let none = datagram::receive_error(sender.as_fd()).map(|_| ());
            stage.saw_result("nothing more is told", none);
            send_datagrams(stage, "once more", &sender, &[b"abc"]);
            stage.events("another error");
            send_datagrams(stage, "the error answers", &sender, &[b"abc"]);
            receive_datagrams(stage, "and that only once", &sender, 1);
        }
    });
}

#[test]
fn a_connected_datagram_socket_hears_its_peer_alone() {
    same("connected datagrams", |stage| {
        if stage.target.is_unix() {
            // Of these the sender is told, which differs between kernels.
            return;
        }
        let (receiver, sender) = datagram_pair(stage);
        let stranger = socket::datagram(&stage.target).unwrap();
        let from = socket::local_address(sender.as_fd()).unwrap();
        let connected = socket::connect(receiver.as_fd(), &from);
        stage.saw_result("connect", connected);
        stage.saw("peer", socket::peer_address(receiver.as_fd()).unwrap() == from);
        send_datagrams(stage, "a stranger", &stranger, &[b"abc"]);
        send_datagrams(stage, "the peer", &sender, &[b"def"]);
        stage.watch(&receiver, SERVER);
        stage.events("the peer's");
        receive_datagrams(stage, "the peer's", &receiver, 4);
    });
}
