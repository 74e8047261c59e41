//! The handler of a connection that begins with a PROXY header, until the header has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::proxy_protocol::parse;
use crate::proxy_refusals::{ProxyRefusal, ProxyRefusals};

/// What is expected of headers.
#[derive(Clone, Debug)]
pub struct ProxyTerms {
    /// How long one may take.
    pub timeout: Duration,
    /// Where those are counted that did not come, or were none.
    pub refusals: Arc<ProxyRefusals>,
}

/// Waits for the header, makes the real handler for the client that it tells, and leaves the connection to that.
///
/// What begins otherwise, ends too early or is not whole in time is closed without an answer: whoever it is, it is not the balancer.
///
/// The real handler is opened here, and so must not give the connection a third one in its `on_open`.
#[derive(Debug)]
pub struct ProxyHeader<M> {
    /// Who has connected.
    peer: SocketAddress,
    make: Arc<M>,
    terms: ProxyTerms,
    timer: Option<TimerId>,
    /// When the loop closes by force, if it drains.
    draining_until: Option<Instant>,
}

impl<M> ProxyHeader<M> {
    /// Of a connection that has just been accepted. `make` is called with the address of the client.
    pub fn new(peer: &SocketAddress, terms: &ProxyTerms, make: &Arc<M>) -> Self {
        Self { peer: peer.clone(), make: Arc::clone(make), terms: terms.clone(), timer: None, draining_until: None }
    }

    /// Gives the connection its real handler, in the state in which that would be.
    fn hand_over<S, H>(&mut self, cx: &mut Context<'_, S>, client: &SocketAddress) -> Result
    where
        S: 'static,
        H: Handler<S>,
        M: Fn(&SocketAddress) -> H,
    {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        let mut handler = (self.make)(client);
        let mut opened = handler.on_open(cx);
        if let (Ok(()), Some(deadline)) = (&opened, self.draining_until) {
            opened = handler.on_shutdown(cx, deadline);
        }
        // Also if that failed: who was opened is told of the close.
        cx.replace_handler(handler);
        opened
    }

    fn refuse<S>(&self, cx: &mut Context<'_, S>, why: ProxyRefusal) -> Result {
        tracing::debug!("connection {} from {} is closed: {why}", cx.id(), self.peer);
        // In a drain it is us who have ended it.
        if why != ProxyRefusal::Ended || self.draining_until.is_none() {
            self.terms.refusals.count(why);
        }
        cx.close();
        Ok(())
    }
}

impl<S, H, M> Handler<S> for ProxyHeader<M>
where
    S: 'static,
    H: Handler<S>,
    M: Fn(&SocketAddress) -> H + 'static,
{
    fn on_open(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.timer = Some(cx.set_timer(self.terms.timeout)?);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        match parse(input.as_slice()) {
            Ok(None) => Ok(()),
            Ok(Some(header)) => {
                input.consume(header.length);
                let client = header.source.map_or_else(|| self.peer.clone(), SocketAddress::Inet);
                self.hand_over(cx, &client)
            }
            Err(flaw) => {
                input.take();
                self.refuse(cx, ProxyRefusal::Flaw(flaw))
            }
        }
    }

    fn on_eof(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.refuse(cx, ProxyRefusal::Ended)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, S>, _: TimerId) -> Result {
        self.refuse(cx, ProxyRefusal::Late)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, S>, deadline: Instant) -> Result {
        self.draining_until = Some(deadline);
        cx.finish()
    }
}
