//! Child processes of a simulation as its test sees them.

use std::io;
use std::process::Command;

use crate::sim::process::{ChildState, SimChild};
use crate::sim::processes::Begun;
use crate::sim::sim::Sim;
use crate::sim::world;

impl Sim {
    /// Says what the programs are that [`spawn`](crate::LoopContext::spawn) starts from now on: `program` is given the command, and
    /// answers with the child's script, or with why it cannot be started. It is called on the thread that spawns. Until then
    /// there are no programs (`NotFound`).
    ///
    /// A command does not tell which of the standard streams it wants piped. So all three are, always. One that the program drops
    /// unused counts as not piped: what is written there goes nowhere, and input ends at once.
    ///
    /// With [`Faults::shortage`](crate::sim::Faults::shortage) starting one fails at times (`EAGAIN`, `ENOMEM`, `EMFILE`).
    ///
    /// ```
    /// use std::process::Command;
    /// use std::time::Duration;
    /// use reactor::EventLoop;
    /// use reactor::sim::{ChildState, Sim, SimChild};
    /// use reactor::sources::ChildOptions;
    ///
    /// let sim = Sim::new(1);
    /// sim.on_spawn(|command| {
    ///     assert_eq!(command.get_program(), "convert");
    ///     Ok(SimChild::exits(3).after(Duration::from_secs(60)))
    /// });
    /// let mut event_loop = EventLoop::new(None)?;
    /// let child = event_loop.context().spawn(&mut Command::new("convert"), &ChildOptions::default(), |cx, status| {
    ///     *cx.state() = status.unwrap().code();
    ///     cx.stop();
    /// })?;
    /// // A minute passes at once.
    /// event_loop.run()?;
    /// assert_eq!(*event_loop.state(), Some(3));
    /// assert_eq!(sim.child_state(child.pid), Some(ChildState::Gone));
    /// # reactor::Result::Ok(())
    /// ```
    pub fn on_spawn(&self, program: impl FnMut(&Command) -> io::Result<SimChild> + Send + 'static) {
        self.world.lock().kernel.programs = Some(Box::new(program));
    }

    /// How a child of this number stands; `None`: there was none.
    #[must_use]
    pub fn child_state(&self, pid: u32) -> Option<ChildState> {
        self.world.lock().kernel.child(pid).map(|process| process.state)
    }

    /// All that a child has read from its standard input.
    #[must_use]
    pub fn child_input(&self, pid: u32) -> Vec<u8> {
        let world = self.world.lock();
        let input = world.kernel.child(pid).and_then(|process| world.kernel.pipes.get(&process.input));
        input.map(|pipe| pipe.outside.taken.clone()).unwrap_or_default()
    }

    /// The signals that were sent to a child while it lived, in their order.
    #[must_use]
    pub fn child_signals(&self, pid: u32) -> Vec<i32> {
        self.world.lock().kernel.child(pid).map(|process| process.signals.clone()).unwrap_or_default()
    }

    /// How many children stand so. When a test is over, none should be a zombie.
    #[must_use]
    pub fn children(&self, state: ChildState) -> usize {
        self.world.lock().kernel.processes.values().filter(|process| process.state == state).count()
    }
}

/// Starts what the command says; `None` outside of a simulation.
pub(crate) fn spawn(command: &Command) -> Option<io::Result<Begun>> {
    // The test's closure runs without the lock, for it may ask the simulation.
    let programs = world::call(|kernel| kernel.programs.take())?;
    let Some(mut program) = programs else {
        let message = "a simulation has no programs but those of Sim::on_spawn";
        return Some(Err(io::Error::new(io::ErrorKind::NotFound, message)));
    };
    let script = program(command);
    world::call(|kernel| {
        // Unless it has said something new itself.
        kernel.programs.get_or_insert(program);
        let begun = script.and_then(|script| kernel.start_process(script));
        kernel.progress += u64::from(begun.is_ok());
        let traced = begun.as_ref().map(|begun| i64::from(begun.pid)).map_err(|error| error.kind().into());
        let _ = kernel.note("spawn", 0, traced);
        begun
    })
}

/// In a simulation: what is started from now on.
#[cfg(test)]
pub(crate) fn set_program(script: SimChild) {
    world::call(|kernel| kernel.programs = Some(Box::new(move |_| Ok(script.clone()))));
}
