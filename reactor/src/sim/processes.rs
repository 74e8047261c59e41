//! Child processes in the simulated kernel: started, signalled, ended, waited for.

use std::io;

use crate::sim::kernel::{Kernel, Object, Occurrence};
use crate::sim::pipe::{Direction, Holder, Pipe};
use crate::sim::process::{ChildState, Process, SimChild};
use crate::sim::words::{Id, bits, error, nanos};

/// What a started process is known by: its number, and descriptors of it and of its standard streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) pid: u32,
    pub(crate) process: i32,
    pub(crate) input: i32,
    pub(crate) output: i32,
    pub(crate) errors: i32,
}

impl Kernel {
    /// Starts a process. It gets pipes for all three streams.
    pub(super) fn start_process(&mut self, script: SimChild) -> io::Result<Begun> {
        if self.fails(|faults| faults.shortage) {
            return Err(error(*self.random.pick(&[libc::EAGAIN, libc::ENOMEM, libc::EMFILE])));
        }
        if self.open_descriptors() + 4 > self.descriptor_limit {
            return Err(error(libc::EMFILE));
        }
        let id = self.new_id();
        let process = self.open(Object::Process(id))?;
        let (input, stdin) = self.pipe_to_outside(Direction::Write, Some(id))?;
        let (output, stdout) = self.pipe_to_outside(Direction::Read, Some(id))?;
        let (errors, stderr) = self.pipe_to_outside(Direction::Read, Some(id))?;
        let pid = FIRST_PID + u32::try_from(self.processes.len()).expect("a simulation starts few processes");
        for (pipe, reads, says) in
            [(stdin, script.reads, None), (stdout, false, Some(&script.output)), (stderr, false, Some(&script.errors))]
        {
            let pipe = self.pipe(pipe)?;
            pipe.outside.reads = reads;
            pipe.outside.held = true;
            pipe.outside.unsent.extend(says.into_iter().flatten());
        }
        let lifetime = nanos(script.lifetime);
        let state = ChildState::Running;
        let (is_old, awaited, signals) = (false, false, Vec::new());
        self.processes.insert(
            id,
            Process { pid, script, state, is_old, awaited, input: stdin, output: stdout, errors: stderr, signals },
        );
        let delay = self.delay();
        self.schedule(lifetime.saturating_add(delay), Occurrence::ChildAges { process: id });
        self.stir(stdout);
        self.stir(stderr);
        Ok(Begun { pid, process, input, output, errors })
    }

    pub(super) fn child_ages(&mut self, id: Id) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.is_old = true;
            self.settle_child(id);
        }
    }

    /// Something has happened in a pipe of a child: it echoes, or has nothing more to do, or dies of it.
    pub(super) fn settle_child(&mut self, id: Id) {
        let Some(process) = self.processes.get(&id).filter(|process| process.state == ChildState::Running) else {
            return;
        };
        let Process { ref script, is_old, input, output, errors, .. } = *process;
        let (status, reads, echoes, ignored) = (script.status, script.reads, script.echoes, script.ignored);
        if echoes {
            self.echo(input, output);
        }
        let pipes = &self.pipes;
        let is_broken = |pipe| pipes.get(&pipe).is_some_and(|pipe: &Pipe| pipe.outside.broken);
        if ignored & 1 << libc::SIGPIPE == 0 && (is_broken(output) || is_broken(errors)) {
            return self.end_child(id, libc::SIGPIPE);
        }
        let has_said = |pipe| pipes.get(&pipe).is_none_or(|pipe: &Pipe| pipe.outside.unsent.is_empty());
        let has_read = !reads || pipes.get(&input).is_none_or(|pipe| pipe.outside.ended);
        if is_old && has_read && has_said(output) && has_said(errors) {
            self.end_child(id, status);
        }
    }

    /// What was read and not echoed yet is to be written.
    fn echo(&mut self, input: Id, output: Id) {
        let Some(pipe) = self.pipes.get_mut(&input) else { return };
        let fresh: Vec<u8> = pipe.outside.taken[pipe.outside.echoed..].to_vec();
        pipe.outside.echoed = pipe.outside.taken.len();
        if let Some(pipe) = self.pipes.get_mut(&output).filter(|pipe| !pipe.outside.broken) {
            pipe.outside.unsent.extend(fresh);
            self.stir(output);
        }
    }

    fn end_child(&mut self, id: Id, status: i32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.state = if process.awaited { ChildState::Gone } else { ChildState::Zombie };
        process.script.status = status;
        let (pid, pipes) = (process.pid, [process.input, process.output, process.errors]);
        self.note("a child ends", pid.into(), i64::from(status));
        for (pipe, direction) in pipes.into_iter().zip([Direction::Read, Direction::Write, Direction::Write]) {
            if let Some(state) = self.pipes.get_mut(&pipe) {
                state.outside.unsent.clear();
                if *state.holder(direction) == Holder::Outside {
                    self.close_pipe_end(pipe, direction);
                }
            }
        }
        let names = |object: &Object| matches!(object, Object::Process(process) if *process == id);
        let told: Vec<Id> = self.objects.iter().filter(|(_, object)| names(object)).map(|(id, _)| *id).collect();
        told.into_iter().for_each(|object| self.notify(object, bits(libc::EPOLLIN)));
        self.peer_heard = true;
    }

    pub(super) fn process_readiness(&self, id: Id) -> u32 {
        match self.processes.get(&id).map(|process| process.state) {
            Some(ChildState::Running) | None => 0,
            Some(ChildState::Zombie) => bits(libc::EPOLLIN),
            Some(ChildState::Gone) => bits(libc::EPOLLIN | libc::EPOLLHUP),
        }
    }

    fn process_of(&mut self, number: i32) -> io::Result<(Id, &mut Process)> {
        let Object::Process(id) = *self.object(number)? else { return Err(error(libc::EBADF)) };
        self.processes.get_mut(&id).map(|process| (id, process)).ok_or_else(|| error(libc::ESRCH))
    }

    /// See waitid(2): how it ended, or `None` if it lives.
    pub(super) fn wait_for_process(&mut self, number: i32) -> io::Result<Option<i32>> {
        let (_, process) = self.process_of(number)?;
        match process.state {
            ChildState::Running => Ok(None),
            ChildState::Gone => Err(error(libc::ECHILD)),
            ChildState::Zombie => {
                process.state = ChildState::Gone;
                Ok(Some(process.script.status))
            }
        }
    }

    /// A thread waits for its end from now on, and does nothing else.
    pub(super) fn await_process(&mut self, number: i32) -> io::Result<()> {
        let (_, process) = self.process_of(number)?;
        process.awaited = true;
        if process.state == ChildState::Zombie {
            process.state = ChildState::Gone;
        }
        Ok(())
    }

    /// See pidfd_send_signal(2).
    pub(super) fn signal_process(&mut self, number: i32, signal: i32) -> io::Result<()> {
        let (id, process) = self.process_of(number)?;
        if !(0..=64).contains(&signal) {
            return Err(error(libc::EINVAL));
        }
        match process.state {
            ChildState::Gone => return Err(error(libc::ESRCH)),
            ChildState::Zombie => return Ok(()),
            ChildState::Running if signal == 0 => return Ok(()),
            ChildState::Running => process.signals.push(signal),
        }
        let delay = self.delay();
        self.schedule(delay, Occurrence::Signal { process: id, signal });
        Ok(())
    }

    /// A signal reaches a child.
    pub(super) fn signal_arrives(&mut self, id: Id, signal: i32) {
        let Some(process) = self.processes.get(&id).filter(|process| process.state == ChildState::Running) else {
            return;
        };
        let ignores = process.script.ignored & 1_u64.checked_shl(signal.cast_unsigned()).unwrap_or(0) != 0;
        if signal == libc::SIGKILL || !(ignores || HARMLESS.contains(&signal)) {
            self.end_child(id, signal);
        }
    }

    pub(super) fn child(&self, pid: u32) -> Option<&Process> {
        self.processes.values().find(|process| process.pid == pid)
    }
}

/// The first child's number.
const FIRST_PID: u32 = 1000;

/// What these do by default is nothing, or no end; see signal(7).
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];
