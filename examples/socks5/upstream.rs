//! The connection to the target: once it is up, it and its client are relayed to each other.

use std::time::Duration;

use examples::say;
use reactor::{CloseReason, ConnId, Context, Handler, Input, Result};

use crate::messages::{SUCCEEDED, code_of, reply};
use crate::{Client, Stage};

/// The connection to the target.
pub(crate) struct Upstream {
    pub(crate) client: ConnId,
    pub(crate) way: String,
}

impl Handler for Upstream {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        say!("{}: connected", self.way);
        let local = cx.local_address()?;
        cx.with(self.client, |client: &mut Client, cx| {
            client.stage = Stage::Done;
            cx.set_idle_timeout(RELAY_IDLE);
            cx.resume();
            cx.send(reply(SUCCEEDED, local.as_inet()))
        });
        cx.set_idle_timeout(RELAY_IDLE);
        cx.relay_to(self.client)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        unreachable!("what comes is relayed")
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        let CloseReason::ConnectFailed(error) = reason else { return };
        say!("{}: {error}", self.way);
        if let Some(mut client) = cx.peer(self.client) {
            // It fails only if the client is gone.
            let _ = client.send(reply(code_of(error), None));
            client.close_after_flush();
        }
    }
}

/// How long nothing may move between client and target.
const RELAY_IDLE: Duration = Duration::from_secs(600);
