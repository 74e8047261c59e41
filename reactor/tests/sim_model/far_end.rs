//! What is at the other end of a connection: a client, or what a proxy connects to.

use reactor::sim::{Peer, PeerState, Random};

use crate::pattern::Pattern;

/// One end outside, what it has done, and what it has heard.
#[derive(Debug)]
pub(crate) struct FarEnd {
    pub(crate) peer: Peer,
    pub(crate) stream: Pattern,
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// It has done nothing that could cost it output: no reset, no close before the end.
    pub(crate) polite: bool,
    /// It sends no more.
    pub(crate) ended: bool,
    /// It has told of that by an end of stream.
    pub(crate) told_end: bool,
    /// It has lost power, so it never takes what waits for it.
    pub(crate) vanished: bool,
    /// It has heard an end of stream.
    pub(crate) heard_end: bool,
    /// It has sent an urgent byte. Of two, the first might become a byte like others.
    urgent: bool,
}

impl FarEnd {
    pub(crate) fn new(peer: Peer, stream: Pattern) -> Self {
        Self {
            peer,
            stream,
            sent: 0,
            received: 0,
            polite: true,
            ended: false,
            told_end: false,
            vanished: false,
            heard_end: false,
            urgent: false,
        }
    }

    pub(crate) fn send(&mut self, count: usize) {
        self.peer.send(&self.stream.bytes(self.sent, count));
        self.sent += count;
    }

    pub(crate) fn end(&mut self) {
        self.peer.shutdown_write();
        (self.ended, self.told_end) = (true, true);
    }

    /// Does something that a client does.
    pub(crate) fn act(&mut self, random: &mut Random) {
        match random.below(24) {
            0 => self.peer.stop_reading(),
            1 | 2 => self.peer.resume_reading(),
            3 => self.peer.set_receive_buffer(random.magnitude(5000) as usize),
            4 | 5 if self.polite => self.end(),
            6 if self.polite && random.chance(0.4) => {
                self.told_end = true;
                self.leave(Peer::close);
            }
            7 if random.chance(0.4) => self.leave(Peer::reset),
            8 if random.chance(0.4) => {
                self.vanished = true;
                self.leave(Peer::vanish);
            }
            9 if !self.ended && !self.urgent => {
                self.peer.send_urgent(b'!');
                self.urgent = true;
            }
            _ if !self.ended => self.send(random.magnitude(30_000) as usize),
            _ => {}
        }
    }

    /// Does something that may happen to a program that answers.
    pub(crate) fn act_as_echo(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => self.peer.stop_reading(),
            1..4 => self.peer.resume_reading(),
            4 => self.peer.set_receive_buffer(random.magnitude(5000) as usize),
            5 if self.polite && random.chance(0.3) => self.end(),
            6 if random.chance(0.2) => self.leave(Peer::reset),
            _ => {}
        }
    }

    fn leave(&mut self, how: fn(&mut Peer)) {
        how(&mut self.peer);
        (self.polite, self.ended) = (false, true);
    }

    /// Notes whether an end of stream was heard. A look at the peer takes its time, so it is not done every turn.
    pub(crate) fn note_end(&mut self) {
        self.heard_end |= self.peer.state() == PeerState::Ended;
    }

    /// Sends back what comes, and closes after the end.
    pub(crate) fn echo(&mut self, most: usize) {
        let bytes = self.peer.take();
        self.stream.check(self.received, &bytes, "what a proxy passes on");
        self.received += bytes.len();
        assert!(self.received <= most, "a proxy has passed on {} bytes of {most}", self.received);
        if !self.ended {
            self.send(bytes.len());
        }
        if !self.heard_end {
            self.note_end();
            if self.heard_end {
                self.peer.close();
                (self.ended, self.told_end) = (true, true);
            }
        }
    }

    /// It reads from now on, and fast.
    pub(crate) fn calm(&mut self) {
        self.peer.resume_reading();
        self.peer.set_receive_buffer(1 << 20);
    }
}
