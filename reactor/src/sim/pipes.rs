//! Pipes in the simulated kernel: made, read, written, closed, and the programs at their other ends.

use std::io;

use crate::sim::kernel::{Kernel, Object, Occurrence};
use crate::sim::pipe::{Direction, Holder, PAGE, PAGES, Pipe};
use crate::sim::stream::ANYTHING;
use crate::sim::words::{Id, bits, error, nanos};

impl Kernel {
    /// See pipe2(2): where it is read, and where it is written.
    pub(super) fn create_pipe(&mut self) -> io::Result<(i32, i32)> {
        self.meets_shortage()?;
        let pipe = self.new_pipe();
        let read = self.open_end(pipe, Direction::Read);
        let write = read.and_then(|read| Ok((read, self.open_end(pipe, Direction::Write)?)));
        if write.is_err() {
            if let Some(&Pipe { reader: Holder::Object(id), .. }) = self.pipes.get(&pipe) {
                self.forget_object(id);
            }
            self.pipes.remove(&pipe);
        }
        write
    }

    /// A pipe of which the test plays the other end.
    pub(super) fn pipe_to_outside(&mut self, direction: Direction, child: Option<Id>) -> io::Result<(i32, Id)> {
        let pipe = self.new_pipe();
        let number = self.open_end(pipe, direction).inspect_err(|_| drop(self.pipes.remove(&pipe)))?;
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            *pipe.holder(direction.other()) = Holder::Outside;
            (pipe.outside.reads, pipe.outside.child) = (direction == Direction::Write, child);
        }
        Ok((number, pipe))
    }

    fn new_pipe(&mut self) -> Id {
        // Who has many pages in pipes gets two for the next; see `pipe-user-pages-soft` in pipe(7).
        let room = if self.fails(|faults| faults.small_buffers) { 1 + self.random.index(2) } else { PAGES };
        let id = self.new_id();
        self.pipes.insert(id, Pipe::new(room));
        id
    }

    fn open_end(&mut self, pipe: Id, direction: Direction) -> io::Result<i32> {
        let number = self.open(Object::Pipe(pipe, direction))?;
        let object = self.id_of(number)?;
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            *pipe.holder(direction) = Holder::Object(object);
        }
        Ok(number)
    }

    /// The pipe of which a descriptor names this end.
    fn pipe_of(&mut self, number: i32, direction: Direction) -> io::Result<Id> {
        match *self.object(number)? {
            Object::Pipe(pipe, named) if named == direction => Ok(pipe),
            _ => Err(error(libc::EBADF)),
        }
    }

    pub(super) fn pipe(&mut self, id: Id) -> io::Result<&mut Pipe> {
        self.pipes.get_mut(&id).ok_or_else(|| error(libc::EBADF))
    }

    pub(super) fn pipe_readiness(&mut self, id: Id, direction: Direction) -> u32 {
        let Some(pipe) = self.pipes.get_mut(&id) else { return 0 };
        pipe.used = true;
        pipe.readiness(direction)
    }

    /// See read(2).
    pub(super) fn read_pipe(&mut self, number: i32, into: &mut [u8]) -> io::Result<usize> {
        let id = self.pipe_of(number, Direction::Read)?;
        let pipe = self.pipe(id)?;
        pipe.used = true;
        let bytes = pipe.first(into.len());
        if bytes.is_empty() && !into.is_empty() {
            return if pipe.writer == Holder::Nobody { Ok(0) } else { Err(error(libc::EAGAIN)) };
        }
        into[..bytes.len()].copy_from_slice(&bytes);
        self.consume_pipe(id, bytes.len());
        Ok(bytes.len())
    }

    /// Bytes have left a pipe.
    fn consume_pipe(&mut self, id: Id, count: usize) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.consume(count) {
            self.notify_pipe(id, Direction::Write, bits(libc::EPOLLOUT));
        }
        self.stir(id);
    }

    /// See write(2).
    pub(super) fn write_pipe(&mut self, number: i32, bytes: &[u8]) -> io::Result<usize> {
        let (blocks, cuts) = (self.fails(|faults| faults.send_would_block), self.fails(|faults| faults.short_write));
        let id = self.pipe_of(number, Direction::Write)?;
        let pipe = self.pipe(id)?;
        pipe.used = true;
        if bytes.is_empty() {
            return Ok(0);
        }
        if pipe.reader == Holder::Nobody {
            return Err(error(libc::EPIPE));
        }
        if blocks && !pipe.squeezed {
            self.squeeze_pipe(id);
        }
        let pages = bytes.len() / PAGE;
        // A page could not be had.
        let most = if cuts && pages > 0 { PAGE * (1 + self.random.index(pages)) } else { bytes.len() };
        let pipe = self.pipe(id)?;
        let count = if pipe.squeezed { 0 } else { pipe.put(&bytes[..most]) };
        // Who reads is told even if there was no room.
        self.notify_pipe(id, Direction::Read, bits(libc::EPOLLIN));
        self.stir(id);
        if count == 0 { Err(error(libc::EAGAIN)) } else { Ok(count) }
    }

    /// Somebody else has filled the pipe, and empties it some time later.
    fn squeeze_pipe(&mut self, id: Id) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.squeezed = true;
            let longest = nanos(self.faults.longest_delay);
            let delay = self.random.magnitude(longest);
            self.schedule(delay, Occurrence::PipeRoom { pipe: id });
        }
    }

    pub(super) fn make_pipe_room(&mut self, id: Id) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.squeezed = false;
            if !pipe.is_full() {
                self.notify_pipe(id, Direction::Write, bits(libc::EPOLLOUT));
            }
        }
    }

    /// See `F_SETPIPE_SZ` in fcntl(2); answers how much it holds.
    pub(super) fn set_pipe_capacity(&mut self, number: i32, bytes: usize) -> io::Result<usize> {
        let refused = self.fails(|faults| faults.small_buffers);
        let Object::Pipe(pipe, _) = *self.object(number)? else { return Err(error(libc::EBADF)) };
        let pipe = self.pipe(pipe)?;
        let pages = bytes.div_ceil(PAGE).max(1).next_power_of_two();
        if !refused && pages >= pipe.pages() {
            pipe.room = pages;
        }
        Ok(pipe.room * PAGE)
    }

    /// Moves bytes from a socket into a pipe; see splice(2). Each piece that came on its own takes a page of its own.
    pub(super) fn splice_in(&mut self, socket: i32, number: i32, count: usize) -> io::Result<usize> {
        let id = self.pipe_of(number, Direction::Write)?;
        let (stream, side) = self.end_of(socket)?;
        let pipe = self.pipe(id)?;
        if pipe.reader == Holder::Nobody {
            return Err(error(libc::EPIPE));
        }
        if pipe.is_full() {
            return Err(error(libc::EAGAIN));
        }
        let mut moved = 0;
        while moved < count && !self.pipe(id)?.is_full() {
            let mut bytes = vec![0; self.piece((count - moved).min(PAGE))];
            let received = self.receive(stream, side, &mut bytes)?;
            if received == 0 {
                return Ok(0);
            }
            self.pipe(id)?.put_spliced(&bytes[..received]);
            moved += received;
            // The end, or an error, is what the next call tells.
            if self.stream(stream).is_none_or(|stream| stream.end(side).readable() == 0) {
                break;
            }
        }
        self.notify_pipe(id, Direction::Read, bits(libc::EPOLLIN));
        Ok(moved)
    }

    /// Moves bytes from a pipe into a socket; see splice(2).
    pub(super) fn splice_out(&mut self, number: i32, socket: i32, count: usize) -> io::Result<usize> {
        let id = self.pipe_of(number, Direction::Read)?;
        let pipe = self.pipe(id)?;
        let (bytes, pages) = (pipe.first(count), pipe.pages());
        if bytes.is_empty() {
            return if pipe.writer == Holder::Nobody { Ok(0) } else { Err(error(libc::EAGAIN)) };
        }
        let (stream, side) = self.end_of(socket).map_err(|_| error(libc::EPIPE))?;
        let sent = self.send(stream, side, &bytes)?;
        self.consume_pipe(id, sent);
        if self.pipe(id)?.pages() < pages {
            // Who writes is told of each page, and not of the first alone.
            self.notify_pipe(id, Direction::Write, bits(libc::EPOLLOUT));
        }
        Ok(sent)
    }

    /// Bytes that wait in the pipe.
    pub(super) fn unread_in_pipe(&mut self, id: Id) -> usize {
        self.pipes.get(&id).map_or(0, Pipe::len)
    }

    fn notify_pipe(&mut self, id: Id, direction: Direction, key: u32) {
        if let Some(Holder::Object(object)) = self.pipes.get_mut(&id).map(|pipe| *pipe.holder(direction)) {
            self.notify(object, key);
        }
    }

    /// Who had the end has closed it.
    pub(super) fn close_pipe_end(&mut self, id: Id, direction: Direction) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        *pipe.holder(direction) = Holder::Nobody;
        self.notify_pipe(id, direction.other(), ANYTHING);
        self.stir(id);
        self.forget_pipe_if_gone(id);
    }

    /// A pipe that nobody has any more is no more.
    pub(super) fn forget_pipe_if_gone(&mut self, id: Id) {
        if self.pipes.get(&id).is_some_and(Pipe::is_gone) {
            self.pipes.remove(&id);
        }
    }

    /// The program outside does something in a while, if there is something to do.
    pub(super) fn stir(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if !pipe.outside.stirs && pipe.is_to_stir() {
            pipe.outside.stirs = true;
            let delay = self.delay();
            self.schedule(delay, Occurrence::Stir { pipe: id });
        }
    }

    /// The program outside writes a piece, or reads one.
    pub(super) fn stirs(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.outside.stirs = false;
        if pipe.writer == Holder::Outside {
            self.outside_writes(id);
        } else if pipe.reader == Holder::Outside {
            self.outside_reads(id);
        }
        if let Some(child) = self.pipes.get(&id).and_then(|pipe| pipe.outside.child) {
            self.settle_child(child);
        }
        self.stir(id);
        self.forget_pipe_if_gone(id);
    }

    fn outside_writes(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let outside = &mut pipe.outside;
        if pipe.reader == Holder::Nobody && !outside.unsent.is_empty() {
            outside.unsent.clear();
            // What a program leaves alone from the start was never meant for it.
            outside.broken = pipe.used;
            self.peer_heard = true;
        } else if !outside.unsent.is_empty() {
            let most = outside.unsent.len();
            let piece = self.piece(most);
            let Some(pipe) = self.pipes.get_mut(&id) else { return };
            let bytes: Vec<u8> = pipe.outside.unsent.iter().take(piece).copied().collect();
            let count = pipe.put(&bytes);
            drop(pipe.outside.unsent.drain(..count));
            self.note("written from outside", id.cast_signed(), count);
            self.notify_pipe(id, Direction::Read, bits(libc::EPOLLIN));
        }
        let Some(outside) = self.pipes.get(&id).map(|pipe| &pipe.outside) else { return };
        if outside.finishing && outside.unsent.is_empty() && self.random.chance(0.5) {
            self.peer_heard = true;
            self.close_pipe_end(id, Direction::Write);
        }
    }

    fn outside_reads(&mut self, id: Id) {
        let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| pipe.outside.reads) else { return };
        let most = pipe.len();
        if most > 0 {
            let piece = self.piece(most);
            let Some(pipe) = self.pipes.get_mut(&id) else { return };
            let bytes = pipe.first(piece);
            pipe.outside.taken.extend(&bytes);
            self.note("read from outside", id.cast_signed(), piece);
            self.consume_pipe(id, piece);
        } else if pipe.writer == Holder::Nobody {
            pipe.outside.ended = true;
        }
        self.peer_heard = true;
    }

    /// How much of so many bytes is moved at once.
    fn piece(&mut self, most: usize) -> usize {
        if !self.fails(|faults| faults.split) {
            return most;
        }
        self.random.magnitude(most as u64).try_into().unwrap_or(most)
    }
}
