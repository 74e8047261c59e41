//! What has arrived is acknowledged when the handler wants it, and not when the kernel finds it time.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};

use common::{Client, DEADLINE, TestLoop, Transport};
use reactor::{Context, Handler, Input, Limits, Result};

/// Answers the first byte, after which the kernel expects more answers and puts acknowledgements off; then it tells of
/// each piece, which it answers no more.
struct Quiet {
    answered: bool,
    told: Sender<()>,
}

impl Handler for Quiet {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        if !self.answered {
            self.answered = true;
            return cx.send(bytes);
        }
        cx.quickack();
        self.told.send(()).expect("the test waits");
        Ok(())
    }
}

fn serve(transport: Transport) -> (TestLoop, Receiver<()>) {
    let (told, hears) = mpsc::channel();
    let make = move || Quiet { answered: false, told: told.clone() };
    (TestLoop::serve_with(Limits::default(), transport, make), hears)
}

/// Has the first byte answered, and waits until the second one is seen.
fn send_two(client: &mut Client, hears: &Receiver<()>) {
    client.write_all(b"1").and_then(|()| client.read_exact(&mut [0])).expect("it answers");
    client.write_all(b"2").expect("it reads");
    hears.recv_timeout(DEADLINE).expect("it tells");
}

/// What a client has sent and the server's kernel has not acknowledged; see proc_pid_net(5).
fn unacknowledged(client: &Client) -> u64 {
    let Client::Tcp(client) = client else { panic!("it is a TCP client") };
    let port = format!(":{:04X}", client.local_addr().expect("it is bound").port());
    let table = fs::read_to_string("/proc/net/tcp").expect("proc is mounted");
    let is_ours = |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
    let line = table.lines().find(is_ours).expect("the connection is open");
    let (sent, _) = line.split_whitespace().nth(4).and_then(|queues| queues.split_once(':')).expect("there are queues");
    u64::from_str_radix(sent, 16).expect("it is a number")
}

#[test]
#[cfg_attr(miri, ignore = "looks into the kernel's tables")]
fn a_piece_is_acknowledged_when_the_handler_wants_it() {
    let (server, hears) = serve(Transport::Tcp);
    // On its way through the loopback an acknowledgement may be late once, but hardly twenty times.
    let at_once = (0..20).any(|_| {
        let mut client = server.client();
        send_two(&mut client, &hears);
        unacknowledged(&client) == 0
    });
    assert!(at_once, "no piece was acknowledged at once");
}

#[test]
fn on_a_unix_socket_there_is_nothing_to_acknowledge() {
    let (server, hears) = serve(Transport::Unix);
    send_two(&mut server.client(), &hears);
}
