//! How the loops of a server come up together, or not at all.

use std::io;
use std::sync::Arc;

use crate::handle::LoopHandle;
use crate::server::{Outcome, Server, ServerHandle};
use crate::server_plan::{Pools, ServerPlan, Sockets};
use crate::sys::thread::{self, Sender, Thread};

/// Starts `count` loops; these are the bound sockets.
pub(crate) fn start_loops<S: 'static>(
    plan: &Arc<ServerPlan<S>>,
    count: usize,
    sockets: &Sockets,
) -> io::Result<Server<S>> {
    let outcome = Arc::new(Outcome::new(count));
    let local = sockets.listeners.iter().map(|socket| socket.local_address().clone()).collect();
    let datagram = sockets.datagrams.iter().map(|socket| socket.local_address().clone()).collect();
    let sockets = plan.sockets_by_loop(count, sockets)?;
    let pools = plan.make_pools()?;
    let mut starting = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        match Starting::spawn(plan, index, count, (sockets, &pools), &outcome) {
            Ok(another) => starting.push(another),
            Err(error) => {
                starting.into_iter().for_each(Starting::abandon);
                return Err(error);
            }
        }
    }
    let loops: Arc<[LoopHandle<S>]> = starting.iter().map(|starting| starting.handle.clone()).collect();
    let handle = ServerHandle::new(Arc::clone(&loops), outcome);
    // It is the first and only time, for a builder starts once.
    let _ = plan.server.set(handle.clone());
    let threads = starting.into_iter().map(|starting| starting.go(&loops)).collect();
    Ok(Server::new(handle, threads, local, datagram))
}

/// A loop that is made and waits for the others.
struct Starting<S: 'static> {
    handle: LoopHandle<S>,
    go: Sender<Arc<[LoopHandle<S>]>>,
    thread: Thread,
}

impl<S: 'static> Starting<S> {
    fn spawn(
        plan: &Arc<ServerPlan<S>>,
        index: usize,
        count: usize,
        (sockets, pools): (Sockets, &Pools),
        outcome: &Arc<Outcome>,
    ) -> io::Result<Self> {
        let (made, is_made) = thread::channel();
        let (go, may_go) = thread::channel::<Arc<[LoopHandle<S>]>>();
        let (plan, outcome) = (Arc::clone(plan), Arc::clone(outcome));
        let parts = (sockets, pools.clone());
        let thread = thread::spawn(format!("reactor-{index}"), move || {
            let event_loop = match plan.make_loop(index, count, parts) {
                Ok(event_loop) => event_loop,
                Err(error) => return made.send(Err(error)),
            };
            made.send(Ok(event_loop.handle()));
            let Some(loops) = may_go.recv() else { return };
            outcome.record(&loops, || plan.run_loop(event_loop, index, &loops));
        })?;
        let gone = || io::Error::other("the state of a loop could not be made: its closure panicked");
        match is_made.recv().unwrap_or_else(|| Err(gone())) {
            Ok(handle) => Ok(Self { handle, go, thread }),
            Err(error) => {
                // When it is gone, so are its sockets. That it panicked has been told.
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Another loop could not be made: this one finds its starter gone, and ends.
    fn abandon(self) {
        drop(self.go);
        // It has nothing to tell.
        let _ = self.thread.join();
    }

    fn go(self, loops: &Arc<[LoopHandle<S>]>) -> Thread {
        // The thread waits for this; if it has died, its join will tell.
        self.go.send(Arc::clone(loops));
        self.thread
    }
}
