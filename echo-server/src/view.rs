//! The connections of all loops, on stderr when SIGUSR1 comes.

use std::sync::{Arc, OnceLock};

use program::console::Console;
use reactor::{ConnectionView, LoopHandle, ServerBuilder};
use rustix::process::Signal;

use crate::proxied::Clients;

/// Where views are shown, which is known only once the server has blocked its signals.
#[derive(Default)]
pub(crate) struct Views {
    console: Arc<OnceLock<Console>>,
    clients: Arc<Clients>,
}

impl Views {
    /// Has the server show its connections when SIGUSR1 comes.
    pub(crate) fn shown_on_signal(&self, builder: ServerBuilder) -> ServerBuilder {
        let (console, clients) = (Arc::clone(&self.console), Arc::clone(&self.clients));
        builder.on_signals(&[Signal::USR1.as_raw()], move |server, _number| {
            let Some(console) = console.get() else { return };
            server.loops().iter().enumerate().for_each(|(index, handle)| show(console, &clients, index, handle));
        })
    }

    /// Whom connections are with where a balancer stands before them.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// To be called once.
    pub(crate) fn show_on(&self, console: &Console) {
        // A second console would be a second stderr, which there is none of.
        let _ = self.console.set(console.clone());
    }
}

/// Has a loop say which connections it has.
fn show(console: &Console, clients: &Arc<Clients>, index: usize, handle: &LoopHandle) {
    let (listener, clients, open) = (console.clone(), Arc::clone(clients), handle.metrics().open);
    let shown = handle.connections(MOST, move |mut views| {
        clients.name(&mut views);
        say(&listener, index, open, &views);
    });
    if let Err(error) = shown {
        console.say(format_args!("loop {index}: {error}"));
    }
}

fn say(console: &Console, index: usize, open: u64, views: &[ConnectionView]) {
    console.say(format_args!("loop {index}: {open} open, {} shown", views.len()));
    views.iter().for_each(|view| console.say(format_args!("  {view}")));
}

/// Connections shown of each loop: what a person reads, and a console holds.
const MOST: usize = 500;
