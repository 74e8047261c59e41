//! Bytes on their way, ends of stream, resets: what happens between the two ends of a simulated stream.

use std::io;

use crate::sim::kernel::{Kernel, Occurrence};
use crate::sim::stream::{ANYTHING, End, Owner, Phase, Side, Stream};
use crate::sim::words::{Id, bits, error, nanos};

impl Kernel {
    pub(super) fn stream(&self, id: Id) -> Option<&Stream> {
        self.streams.get(&id)
    }

    pub(super) fn end_mut(&mut self, stream: Id, side: Side) -> Option<&mut End> {
        self.streams.get_mut(&stream).map(|stream| stream.end_mut(side))
    }

    /// Tells who has the end that something has happened to it.
    pub(super) fn notify_end(&mut self, stream: Id, side: Side, key: u32) {
        match self.stream(stream).map(|stream| stream.end(side).owner) {
            Some(Owner::Socket(socket)) => self.notify(socket, key),
            Some(Owner::Peer { .. }) => self.peer_heard = true,
            Some(Owner::Backlog(_) | Owner::Nobody) | None => {}
        }
    }

    /// Reads; see recv(2).
    pub(super) fn receive(&mut self, id: Id, side: Side, into: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = self.streams.get_mut(&id) else { return Err(error(libc::ENOTCONN)) };
        let unix = stream.unix;
        let end = stream.end_mut(side);
        end.skip_urgent();
        if end.readable() > 0 {
            let count = end.take(into);
            self.read_made_room(id, side);
            return Ok(count);
        }
        if end.read_ended && !unix {
            return Ok(0);
        }
        match end.error.take() {
            Some(errno) => Err(error(errno)),
            None if end.phase == Phase::Dead || end.read_ended => Ok(0),
            None => Err(error(libc::EAGAIN)),
        }
    }

    /// Bytes were read: the other end may send more.
    pub(super) fn read_made_room(&mut self, id: Id, reader: Side) {
        self.transmit(id, reader.other());
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.unix {
            self.tell_room(id, reader.other());
        }
    }

    /// Sends; see send(2).
    pub(super) fn send(&mut self, id: Id, side: Side, bytes: &[u8]) -> io::Result<usize> {
        let (blocks, cuts) = (self.fails(|faults| faults.send_would_block), self.fails(|faults| faults.short_write));
        let Some(stream) = self.streams.get_mut(&id) else { return Err(error(libc::ENOTCONN)) };
        let (unix, used) = (stream.unix, stream.in_use(side));
        let end = stream.end_mut(side);
        if end.phase == Phase::Dead || end.write_ended || end.error.is_some() {
            let told = if unix { None } else { end.error.take() };
            return Err(error(told.unwrap_or(libc::EPIPE)));
        }
        let free = end.send_buffer.saturating_sub(used);
        if end.phase == Phase::Connecting || end.squeezed || free == 0 {
            end.wants_room = true;
            return Err(error(libc::EAGAIN));
        }
        if blocks {
            self.squeeze(id, side);
            return Err(error(libc::EAGAIN));
        }
        let most = bytes.len().min(free);
        let count = if cuts { self.random.magnitude(most as u64).try_into().unwrap_or(most) } else { most };
        let Some(end) = self.end_mut(id, side) else { return Ok(0) };
        end.outgoing.extend(&bytes[..count]);
        if count < bytes.len() && count == most {
            end.wants_room = true;
        } else if count < bytes.len() && self.random.chance(0.5) {
            self.squeeze(id, side);
        }
        self.transmit(id, side);
        Ok(count)
    }

    /// The kernel takes nothing more for some time, and then tells that it does.
    fn squeeze(&mut self, stream: Id, side: Side) {
        if let Some(end) = self.end_mut(stream, side) {
            end.squeezed = true;
            end.wants_room = true;
            let longest = nanos(self.faults.longest_delay);
            let delay = self.random.magnitude(longest);
            self.schedule(delay, Occurrence::Room { stream, side });
        }
    }

    pub(super) fn make_room(&mut self, stream: Id, side: Side) {
        if let Some(end) = self.end_mut(stream, side) {
            end.squeezed = false;
            self.tell_room(stream, side);
        }
    }

    /// There may be room again: who wants it is told.
    fn tell_room(&mut self, id: Id, side: Side) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.has_room(side) && (stream.unix || std::mem::take(&mut stream.end_mut(side).wants_room)) {
            self.notify_end(id, side, bits(libc::EPOLLOUT));
        }
    }

    /// Ends our direction; see shutdown(2).
    pub(super) fn end_writing(&mut self, id: Id, side: Side) -> io::Result<()> {
        let Some(end) = self.end_mut(id, side) else { return Err(error(libc::ENOTCONN)) };
        if end.phase != Phase::Open {
            return Err(error(libc::ENOTCONN));
        }
        end.write_ended = true;
        self.transmit(id, side);
        self.notify_end(id, side, ANYTHING);
        Ok(())
    }

    /// Puts what was sent on its way, unless it is, or nothing can go.
    pub(super) fn transmit(&mut self, id: Id, from: Side) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // Between two sockets of one machine nothing takes time.
        let at_once = stream.unix;
        let (end, other) = stream.both(from);
        let open = end.phase == Phase::Open && other.phase != Phase::Connecting;
        let has_room = at_once || end.unreachable || other.readable() < other.receive_buffer;
        let has_bytes = !end.outgoing.is_empty() && has_room;
        let has_end = end.outgoing.is_empty() && end.write_ended && !end.end_arrived;
        if !open || end.in_transit || !has_bytes && !has_end {
            return;
        }
        end.in_transit = true;
        if at_once {
            self.arrive(id, from);
        } else if end.unreachable {
            self.schedule(RETRANSMIT_NS, Occurrence::Timeout { stream: id, side: from });
        } else {
            let delay = self.delay();
            self.schedule(delay, Occurrence::Arrival { stream: id, from });
        }
    }

    /// What one end has sent arrives at the other, as far as it has room, and perhaps not all of it.
    pub(super) fn arrive(&mut self, id: Id, from: Side) {
        let (splits, resets) = (self.fails(|faults| faults.split), self.fails(|faults| faults.reset));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let unix = stream.unix;
        let (end, other) = stream.both(from);
        end.in_transit = false;
        if end.phase != Phase::Open {
            return;
        }
        if end.unreachable {
            return self.transmit(id, from);
        }
        if resets && !unix {
            self.reset(id, from, libc::ECONNRESET);
            return self.reset(id, from.other(), libc::ECONNRESET);
        }
        let closed = other.owner == Owner::Nobody || other.phase == Phase::Dead;
        if closed && !end.outgoing.is_empty() {
            // Nobody will read it, and who sent it is told.
            return self.reset(id, from.other(), libc::ECONNRESET);
        }
        let room = if unix { usize::MAX } else { other.receive_buffer.saturating_sub(other.readable()) };
        let most = end.outgoing.len().min(room);
        let count = if splits && !unix { self.random.magnitude(most as u64).try_into().unwrap_or(most) } else { most };
        self.carry(id, from, count.min(most));
        self.trace_arrival(id, from, count);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let end = stream.end_mut(from);
        if end.outgoing.is_empty() && end.write_ended && !end.end_arrived && (count == 0 || self.random.chance(0.5)) {
            return self.end_arrives(id, from);
        }
        self.transmit(id, from);
    }

    fn trace_arrival(&mut self, id: Id, from: Side, count: usize) {
        let what = if from == Side::Client { "arrives from the client" } else { "arrives from the server" };
        self.note(what, id.cast_signed(), count);
    }

    /// Moves bytes from one end to the other.
    fn carry(&mut self, id: Id, from: Side, count: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let unix = stream.unix;
        let (end, other) = stream.both(from);
        if count == 0 {
            return;
        }
        if let Some(place) = end.urgent_outgoing {
            if place < count {
                other.urgent = Some(other.arrived.len() + place);
            }
            end.urgent_outgoing = place.checked_sub(count);
        }
        other.arrived.extend(end.outgoing.drain(..count));
        if other.owner == (Owner::Peer { reads: true }) {
            other.take_all();
        }
        self.notify_end(id, from.other(), bits(libc::EPOLLIN | libc::EPOLLPRI));
        if !unix {
            self.tell_room(id, from);
        }
    }

    /// The end of stream arrives; both ends are told of it, for one learns that it was acknowledged.
    fn end_arrives(&mut self, id: Id, from: Side) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let unix = stream.unix;
        let (end, other) = stream.both(from);
        end.end_arrived = true;
        other.read_ended = true;
        self.note("end of stream arrives", id.cast_signed(), 0);
        self.notify_end(id, from.other(), ANYTHING);
        if !unix {
            self.notify_end(id, from, ANYTHING);
        }
        self.forget_if_gone(id);
    }

    /// One end dies with a reset to the other. What was sent is lost, but for what was on its way.
    pub(super) fn reset(&mut self, id: Id, by: Side, errno: i32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (end, other) = stream.both(by);
        if end.phase == Phase::Dead {
            return;
        }
        let on_its_way = end.outgoing.len().min(other.receive_buffer.saturating_sub(other.readable()));
        let was_on_its_way = other.owner != Owner::Nobody && other.phase == Phase::Open && end.in_transit;
        end.phase = Phase::Dead;
        if was_on_its_way {
            let count = self.random.index(on_its_way + 1);
            self.carry(id, by, count);
        }
        let Some(end) = self.end_mut(id, by) else { return };
        end.outgoing.clear();
        if end.owner != Owner::Nobody {
            // It was not this end's wish.
            end.error = Some(errno);
            self.notify_end(id, by, ANYTHING);
        }
        self.note("reset sent", id.cast_signed(), 0);
        let delay = self.delay();
        self.schedule(delay, Occurrence::Reset { stream: id, to: by.other() });
    }

    pub(super) fn reset_arrives(&mut self, id: Id, to: Side) {
        let Some(end) = self.end_mut(id, to) else { return };
        if end.phase != Phase::Dead {
            end.error = Some(match end.phase {
                Phase::Connecting => libc::ECONNREFUSED,
                _ if end.read_ended => libc::EPIPE,
                _ => libc::ECONNRESET,
            });
            self.die(id, to);
        }
        self.forget_if_gone(id);
    }

    /// The end is dead, and whoever has it is told.
    pub(super) fn die(&mut self, id: Id, side: Side) {
        let Some(end) = self.end_mut(id, side) else { return };
        end.phase = Phase::Dead;
        end.outgoing.clear();
        self.note("dies", id.cast_signed(), 0);
        self.notify_end(id, side, ANYTHING);
    }

    /// Who had the end has closed it; see close(2). Unread input makes a reset; `resets` asks for one.
    pub(super) fn close_end(&mut self, id: Id, side: Side, resets: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let unix = stream.unix;
        let (end, other) = stream.both(side);
        let unread = !end.arrived.is_empty();
        end.owner = Owner::Nobody;
        if end.phase == Phase::Connecting {
            (end.phase, other.phase) = (Phase::Dead, Phase::Dead);
        }
        if unix {
            return self.close_unix_end(id, side, unread || resets);
        }
        match end.phase {
            Phase::Dead | Phase::Connecting => {}
            Phase::Open if resets || unread => self.reset(id, side, libc::ECONNRESET),
            Phase::Open => {
                end.write_ended = true;
                self.transmit(id, side);
            }
        }
        self.forget_if_gone(id);
    }

    /// On one machine the other end knows at once, and has what was sent.
    fn close_unix_end(&mut self, id: Id, side: Side, unread: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (end, other) = stream.both(side);
        let was_open = end.phase == Phase::Open;
        end.phase = Phase::Dead;
        end.outgoing.clear();
        if was_open && other.phase == Phase::Open {
            other.read_ended = true;
            other.error = unread.then_some(libc::ECONNRESET);
            self.die(id, side.other());
        }
        self.forget_if_gone(id);
    }

    /// The machine of this end is gone: who sends to it hears nothing.
    pub(super) fn vanish(&mut self, id: Id, side: Side) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (end, other) = stream.both(side);
        end.owner = Owner::Nobody;
        end.phase = Phase::Dead;
        end.outgoing.clear();
        other.unreachable = true;
        self.transmit(id, side.other());
    }

    /// What was sent was not acknowledged for so long that TCP gives up.
    pub(super) fn time_out(&mut self, id: Id, side: Side) {
        let Some(end) = self.end_mut(id, side) else { return };
        if end.phase == Phase::Open && (!end.outgoing.is_empty() || end.write_ended) {
            end.error = Some(libc::ETIMEDOUT);
            self.die(id, side);
            self.forget_if_gone(id);
        }
    }

    /// A connection of which both ends are gone is no more.
    pub(super) fn forget_if_gone(&mut self, id: Id) {
        if self.stream(id).is_some_and(|stream| stream.client.is_gone() && stream.server.is_gone()) {
            self.streams.remove(&id);
        }
    }

    /// Sends a byte of urgent data, as `MSG_OOB` does; see tcp(7).
    pub(super) fn send_urgent(&mut self, id: Id, side: Side, byte: u8) {
        if let Some(end) = self.end_mut(id, side) {
            end.urgent_outgoing = Some(end.outgoing.len());
            end.outgoing.push_back(byte);
            self.transmit(id, side);
        }
    }
}

/// After so long without an acknowledgement TCP gives up: `net.ipv4.tcp_retries2` of 15 is 924.6 seconds.
const RETRANSMIT_NS: u64 = 924_600_000_000;
