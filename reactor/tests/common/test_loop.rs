//! A loop that runs on a thread of its own for the length of a test.

use std::io;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use reactor::{
    Context, DrainReport, EventLoop, Handler, Input, Limits, ListenOptions, LoopContext, LoopHandle, Metrics, Result,
    SocketAddress,
};

use super::{Client, DEADLINE, any_port, eventually};

/// A running loop. Dropping it stops the loop and waits for its end.
pub(crate) struct TestLoop<S: 'static = ()> {
    pub(crate) handle: LoopHandle<S>,
    addresses: Vec<SocketAddress>,
    thread: Option<JoinHandle<io::Result<DrainReport>>>,
}

impl TestLoop {
    /// A loop with default limits that listens on TCP.
    pub(crate) fn serve<H: Handler>(make: impl FnMut() -> H + Send + 'static) -> Self {
        Self::serve_with(Limits::default(), Transport::Tcp, make)
    }

    /// A loop that listens.
    pub(crate) fn serve_with<H: Handler>(
        limits: Limits,
        transport: Transport,
        mut make: impl FnMut() -> H + Send + 'static,
    ) -> Self {
        Self::start(limits, move |event_loop| {
            event_loop
                .listen(&*transport.address(), &ListenOptions::default(), move |_| make())
                .expect("port 0 is free");
        })
    }

    /// A loop without state that `build` has prepared on the loop's own thread.
    pub(crate) fn start(limits: Limits, build: impl FnOnce(&mut EventLoop) + Send + 'static) -> Self {
        Self::start_with_state(limits, || (), build)
    }
}

impl<S: 'static> TestLoop<S> {
    /// A loop whose state is made, and which `build` has prepared, on the loop's own thread.
    pub(crate) fn start_with_state(
        limits: Limits,
        state: impl FnOnce() -> S + Send + 'static,
        build: impl FnOnce(&mut EventLoop<S>) + Send + 'static,
    ) -> Self {
        let (made, is_made) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::with_limits(limits, state()).expect("the limits are sound");
            build(&mut event_loop);
            made.send((event_loop.handle(), event_loop.local_addresses())).expect("the test waits");
            drop(made);
            event_loop.run()
        });
        let (handle, addresses) = is_made.recv().expect("the loop is made");
        Self { handle, addresses, thread: Some(thread) }
    }

    /// Where the first listener listens.
    pub(crate) fn address(&self) -> &SocketAddress {
        &self.addresses[0]
    }

    pub(crate) fn addresses(&self) -> &[SocketAddress] {
        &self.addresses
    }

    /// A client of the first listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Runs a closure on the loop and waits for its answer. It takes the loop one turn at least.
    #[track_caller]
    pub(crate) fn on_loop<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut LoopContext<'_, S>) -> R + Send + 'static,
    ) -> R {
        let (answer, is_answered) = mpsc::channel();
        let task = move |cx: &mut LoopContext<'_, S>| answer.send(task(cx)).expect("the test waits");
        self.handle.execute(task).expect("the loop runs");
        is_answered.recv_timeout(DEADLINE).expect("the loop answers within the deadline")
    }

    /// Waits until the loop has counted what is wanted.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Metrics) -> bool) {
        eventually(what, || holds(&self.metrics()));
    }

    /// Holds the loop up while `meanwhile` runs, so that all that it does to sockets comes to the loop at once.
    #[track_caller]
    pub(crate) fn hold_up<R>(&self, meanwhile: impl FnOnce() -> R) -> R {
        let (held, is_held) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let task = move |_: &mut LoopContext<'_, S>| {
            held.send(()).expect("the test waits");
            // It ends when the other end is dropped, at the latest when the test has failed.
            let _ = is_released.recv();
        };
        self.handle.execute(task).expect("the loop runs");
        is_held.recv_timeout(DEADLINE).expect("the loop comes to it within the deadline");
        let result = meanwhile();
        drop(release);
        result
    }

    /// Fails if the loop makes turns that nobody asked for.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        // Two turns: what was sent to it before comes in the second at the latest, or counts among the few below.
        self.on_loop(|_| ());
        self.on_loop(|_| ());
        let before = self.metrics().turns;
        // The time in which a loop that spins would make thousands of turns.
        thread::sleep(Duration::from_millis(50));
        self.on_loop(|_| ());
        let turns = self.metrics().turns - before;
        assert!(turns <= 8, "the loop made {turns} turns with nothing to do");
    }

    /// Drains the loop and says how it went.
    #[track_caller]
    pub(crate) fn shut_down(mut self, grace: Duration) -> DrainReport {
        self.handle.shutdown(grace).expect("the loop runs");
        self.join()
    }

    /// Waits for the end of the loop and says how it went.
    #[track_caller]
    pub(crate) fn wait(mut self) -> DrainReport {
        self.join()
    }

    #[track_caller]
    fn join(&mut self) -> DrainReport {
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the loop does not panic").expect("the loop does not fail")
    }
}

impl<S: 'static> Drop for TestLoop<S> {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // It may have ended by itself.
        let _ = self.handle.stop();
        let ended = thread.join();
        if !thread::panicking() {
            ended.expect("the loop does not panic").expect("the loop does not fail");
        }
    }
}

/// What a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Unix];

    /// An address to listen on that nobody else has.
    pub(crate) fn address(self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        match self {
            Self::Tcp => any_port().to_string(),
            Self::Unix => format!("unix:@reactor-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Sends back what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

impl<S: 'static> Handler<S> for Echo {
    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

/// Takes all and says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent;

impl<S: 'static> Handler<S> for Silent {
    fn on_data(&mut self, _cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}
