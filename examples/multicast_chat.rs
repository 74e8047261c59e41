//! A chat without a server: what one says is sent to a multicast group, and all who have joined it hear it.
//!
//! The trap: to hear a group it is not enough to bind its port. The socket has to join, on the right interface, or nothing comes; on most
//! systems it then also hears groups that *others* on the machine have joined; two programs on one machine want SO_REUSEADDR; and
//! what is sent leaves through the interface that the routes prefer, which may not be the one listened to. Here
//! [`DatagramOptions`] has a field for each, and a socket hears its own groups alone.
//!
//! Lines are read by a thread of their own, which blocks in stdin and posts each line to the loop.
//!
//! Try, in two terminals:
//!
//!     cargo run -p examples --example multicast_chat -- --name ana
//!     cargo run -p examples --example multicast_chat -- --name bob
//!
//! Each line that one types both show, as `ana: hello`. With `--interface eth0` it is heard by the machines of the network. Ctrl-D ends it.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddrV4;
use std::thread;
use std::time::Duration;

use clap::Parser;
use examples::{printable, say};
use reactor::net::interface_index;
use reactor::{
    Address, DatagramContext, DatagramHandler, DatagramId, DatagramOptions, EventLoop, LoopHandle, Result,
    SocketAddress,
};

/// Chats without a server, over a multicast group.
#[derive(Parser)]
struct Options {
    /// The group and the port.
    #[arg(default_value = "239.255.77.77:7777")]
    group: SocketAddrV4,
    /// Who you are.
    #[arg(long, default_value = "somebody")]
    name: String,
    /// The network interface.
    #[arg(long, default_value = "lo")]
    interface: String,
}

struct Member;

impl DatagramHandler for Member {
    fn on_datagram(&mut self, _cx: &mut DatagramContext<'_>, _from: &SocketAddress, bytes: &[u8]) -> Result {
        say!("{}", printable(bytes));
        Ok(())
    }
}

/// The life of the thread that reads stdin.
fn post_lines(event_loop: &LoopHandle, member: DatagramId, options: &Options) {
    let group = SocketAddress::Inet(options.group.into());
    for line in io::stdin().lines().map_while(io::Result::ok) {
        let (group, text) = (group.clone(), format!("{}: {line}", options.name));
        let posted = event_loop.execute(move |cx| {
            if let Some(mut member) = cx.datagram(member)
                && let Err(error) = member.send_to(&group, text)
            {
                say!("not sent: {error}");
            }
        });
        if posted.is_err() {
            return;
        }
    }
    // What was said is still sent, and what has come is still shown.
    let _ = event_loop.shutdown(Duration::from_secs(1));
}

fn main() -> Result {
    let options = Options::parse();
    let interface = interface_index(&options.interface)?;
    let mut datagram_options = DatagramOptions::default().join(*options.group.ip(), interface);
    datagram_options.reuse_address = true;
    datagram_options.multicast_interface = Some(interface);
    let everywhere: Address = format!("udp://0.0.0.0:{}", options.group.port()).parse().map_err(io::Error::other)?;
    let mut event_loop = EventLoop::new(())?;
    let member = event_loop.bind_datagram(everywhere, &datagram_options, Member)?;
    say!("{} has joined {} on {}", options.name, options.group, options.interface);
    let handle = event_loop.handle();
    thread::spawn(move || post_lines(&handle, member, &options));
    event_loop.run().map(drop)
}
