//! SOCKS5 (RFC 1928): clients say where to, and are connected there; with `--user` only those who know the password (RFC 1929).
//!
//! The trap: each message of the handshake may come in pieces, or with the next one behind it, and a client that is in a hurry sends its own
//! data before it has the answer: what is read too far must not be lost. Meanwhile the connection to the target is under way; either side may
//! go before it is up. And then two streams are to be joined, each of which may be faster than the other. Here a message is taken when
//! it is whole, the rest stays in the input, `pause` stops a client who has said enough, and `relay_to` sends on first what was left.
//!
//! Try, with a network behind you:
//!
//!     cargo run -p examples --example socks5
//!     curl --proxy socks5h://127.0.0.1:7777 http://example.org/
//!
//! `curl` shows the page, and the server says `127.0.0.1:41234 to example.org:80: connected`.

#![forbid(unsafe_code)]

#[path = "socks5/messages.rs"]
mod messages;
#[path = "socks5/upstream.rs"]
mod upstream;

use std::io;
use std::time::Duration;

use clap::Parser;
use examples::{printable, say};
use messages::{
    ADDRESS_UNSUPPORTED, COMMAND_UNSUPPORTED, CONNECT, Request, VERSION, code_of, read_greeting, read_login,
    read_request, reply,
};
use reactor::net::Target;
use reactor::{
    CloseReason, ConnId, ConnectOptions, Context, Handler, Input, ListenOptions, Result, Server, Sharing, SocketAddress,
};
use upstream::Upstream;

/// Connects clients to where they want.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// Who may, as NAME:PASSWORD; without it everybody.
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Option<String>,
}

/// What a client is expected to say next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Login,
    Request,
    /// Nothing: the connection to the target is under way.
    Connecting(ConnId),
    /// Nothing that is for this handler: it is relayed, or was refused.
    Done,
}

struct Client {
    peer: SocketAddress,
    user: Option<String>,
    stage: Stage,
}

impl Client {
    /// Deals with the first message, if it is whole, and answers how long it is.
    fn take_message(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<Option<usize>> {
        match self.stage {
            Stage::Greeting => {
                let Some((methods, length)) = read_greeting(bytes)? else { return Ok(None) };
                self.choose(cx, methods).map(|()| Some(length))
            }
            Stage::Login => {
                let Some((login, length)) = read_login(bytes)? else { return Ok(None) };
                self.log_in(cx, &login).map(|()| Some(length))
            }
            Stage::Request => {
                let Some((request, length)) = read_request(bytes)? else { return Ok(None) };
                self.obey(cx, &request).map(|()| Some(length))
            }
            Stage::Connecting(_) | Stage::Done => Ok(None),
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, answer: impl AsRef<[u8]>) -> Result {
        self.stage = Stage::Done;
        cx.send(answer)?;
        cx.close_after_flush()
    }

    fn choose(&mut self, cx: &mut Context<'_>, methods: &[u8]) -> Result {
        let (method, next) = if self.user.is_some() { (2, Stage::Login) } else { (0, Stage::Request) };
        if !methods.contains(&method) {
            return self.refuse(cx, [VERSION, 0xff]);
        }
        self.stage = next;
        cx.send([VERSION, method])
    }

    fn log_in(&mut self, cx: &mut Context<'_>, login: &[u8]) -> Result {
        if self.user.as_ref().is_none_or(|user| user.as_bytes() != login) {
            return self.refuse(cx, [1, 1]);
        }
        self.stage = Stage::Request;
        cx.send([1, 0])
    }

    fn obey(&mut self, cx: &mut Context<'_>, request: &Request) -> Result {
        let Some(target) = &request.target else { return self.refuse(cx, reply(ADDRESS_UNSUPPORTED, None)) };
        if request.command != CONNECT {
            return self.refuse(cx, reply(COMMAND_UNSUPPORTED, None));
        }
        let (client, way) = (cx.id(), format!("{} to {}", self.peer, printable(target.as_bytes())));
        // With the scheme: a name such as `unix:/run/secret` is not to lead to a local socket.
        let target = Target::try_from(format!("tcp://{target}")).map_err(io::Error::from);
        let upstream = Upstream { client, way: way.clone() };
        match target.and_then(|target| cx.connect(target, &ConnectOptions::default(), upstream)) {
            Ok(upstream) => {
                self.stage = Stage::Connecting(upstream);
                cx.pause();
                Ok(())
            }
            Err(error) => {
                say!("{way}: {error}");
                self.refuse(cx, reply(code_of(&error), None))
            }
        }
    }
}

impl Handler for Client {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(length) = self.take_message(cx, input.as_slice())? {
            input.consume(length);
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        if let Stage::Connecting(upstream) = self.stage
            && let Some(mut upstream) = cx.peer(upstream)
        {
            upstream.close();
        }
    }
}

fn main() -> Result {
    let Options { address, user } = Options::parse();
    // Who opens a connection and says nothing has half a minute.
    let listen_options = ListenOptions::default().idle_timeout(Duration::from_secs(30));
    let make = move |peer: &SocketAddress| Client { peer: peer.clone(), user: user.clone(), stage: Stage::Greeting };
    examples::serve(Server::builder().listen_with(address, &listen_options, Sharing::default(), make)?)
}
