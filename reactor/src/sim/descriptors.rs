//! Descriptors that a test makes in a simulation and gives to the loop.

use std::io;
use std::sync::Arc;

use crate::address::UnixName;
use crate::sim::kernel::Kernel;
use crate::sim::peer::Peer;
use crate::sim::pipe::Direction;
use crate::sim::pipe_peer::{PipeReceiver, PipeSender};
use crate::sim::sim::Sim;
use crate::sim::stream::{Owner, Side};
use crate::sources::descriptor::Descriptor;
use crate::sys::eventfd;
use crate::sys::fd::Fd;
use crate::sys::pipe;

impl Sim {
    /// A pipe of which both ends are the machine's: where it is read, and where it is written.
    ///
    /// # Errors
    /// No descriptor is free, or a shortage strikes.
    pub fn pipe(&self) -> io::Result<(Descriptor, Descriptor)> {
        pipe::create().map(|(read, write)| (Descriptor::of(read), Descriptor::of(write)))
    }

    /// A pipe which the loop reads, and the program that writes into it.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn pipe_to_read(&self) -> io::Result<(Descriptor, PipeSender)> {
        let (number, pipe) = self.world.call_as_current(|kernel| kernel.pipe_to_outside(Direction::Read, None))?;
        Ok((Descriptor::of(Fd::simulated(number)), PipeSender::new(Arc::clone(&self.world), pipe)))
    }

    /// A pipe into which the loop writes, and the program that reads it.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn pipe_to_write(&self) -> io::Result<(Descriptor, PipeReceiver)> {
        let (number, pipe) = self.world.call_as_current(|kernel| kernel.pipe_to_outside(Direction::Write, None))?;
        Ok((Descriptor::of(Fd::simulated(number)), PipeReceiver::new(Arc::clone(&self.world), pipe)))
    }

    /// Two descriptors of one eventfd: the second adds to what the first one reads; see eventfd(2).
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn eventfd(&self) -> io::Result<(Descriptor, Descriptor)> {
        let event = eventfd::create()?;
        let other = event.as_fd().duplicate()?;
        Ok((Descriptor::of(event), Descriptor::of(other)))
    }

    /// One end of a pair of connected Unix sockets, and the program that has the other one.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn socket(&self) -> io::Result<(Descriptor, Peer)> {
        let (number, stream) = self.world.call_as_current(Kernel::socket_to_outside)?;
        Ok((Descriptor::of(Fd::simulated(number)), Peer::new(Arc::clone(&self.world), stream, Side::Server)))
    }
}

impl Kernel {
    /// See socketpair(2).
    fn socket_to_outside(&mut self) -> io::Result<(i32, u64)> {
        let number = self.create_socket(&UnixName::Unnamed.into())?;
        let stream = self.join_to_outside(number)?;
        self.open_stream(stream, Owner::Peer { reads: true });
        if let Some(end) = self.end_mut(stream, Side::Server) {
            end.held = true;
        }
        Ok((number, stream))
    }
}
