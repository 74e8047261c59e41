//! Outgoing connections in the engine: looked up, tried address by address, tried again, given up.

use std::io;
use std::mem;

use crate::address::SocketAddress;
use crate::attempt::Attempt;
use crate::close_reason::CloseReason;
use crate::connection::{Connection, Flag, Phase};
use crate::engine::{Engine, gone, idle_ms};
use crate::interest::Interest;
use crate::net::connect::{self, ConnectOptions};
use crate::net::target::{Place, Target};
use crate::resolver::Found;
use crate::sys::socket;
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    /// Begins to connect. What fails at once, and is not to be tried again, leaves nothing behind.
    pub(crate) fn connect(&mut self, target: Target, options: &ConnectOptions) -> io::Result<Token> {
        if self.draining {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the loop is shutting down"));
        }
        if !self.has_room() {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "as many connections are open as Limits allows"));
        }
        if matches!(target.place(), Place::Addresses(addresses) if addresses.is_empty()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no address to try"));
        }
        let mut attempt = Attempt::new(target, options.clone());
        // Until it is known which family is needed, a socket holds the place.
        let likely = attempt.likely_address();
        let fd = socket::stream(&likely)?;
        attempt.unused_for = Some(likely);
        let token = self.enter(fd, Phase::Connecting, idle_ms(options.idle_timeout))?;
        if let Some(connection) = self.connection_mut(token) {
            connection.set_attempt(attempt);
        }
        match self.begin_round(token).or_else(|error| self.wait_for_next_round(token, error)) {
            Ok(()) => Ok(token),
            Err(error) => {
                self.drop_attempt(token);
                self.forget(token);
                Err(error)
            }
        }
    }

    /// A look-up has brought this.
    pub(crate) fn looked_up(&mut self, token: Token, round: u32, found: Found) {
        // The attempt may have been given up, or be in a later round.
        let Some(attempt) = self.attempt_mut(token).filter(|attempt| attempt.failed_rounds == round) else { return };
        if attempt.lookup.take().is_none() {
            return;
        }
        let result = found.map(|addresses| attempt.set_addresses(addresses)).and_then(|()| self.try_next(token));
        self.end_round_if_failed(token, result);
    }

    /// The address that is being tried has failed.
    pub(crate) fn address_failed(&mut self, token: Token, error: io::Error) {
        let Some(attempt) = self.attempt_mut(token) else { return };
        attempt.fail(error);
        let result = self.try_next(token);
        self.end_round_if_failed(token, result);
    }

    /// A timer of the attempt is due.
    pub(crate) fn attempt_due(&mut self, token: Token, timer: TimerId) {
        let late = |why: String| io::Error::new(io::ErrorKind::TimedOut, why);
        let Some(attempt) = self.attempt_mut(token) else { return };
        if attempt.deadline == Some(timer) {
            attempt.deadline = None;
            let error = match attempt.lookup.take() {
                Some(_) => late(format!("the host of {} was not found within the deadline", attempt.target())),
                None => {
                    attempt.fail(late("no answer within the deadline".to_owned()));
                    attempt.verdict()
                }
            };
            return self.end_round_if_failed(token, Err(error));
        }
        attempt.step = None;
        if attempt.is_trying() {
            return self.address_failed(token, late("no answer within its share of the deadline".to_owned()));
        }
        let result = self.begin_round(token);
        self.end_round_if_failed(token, result);
    }

    /// Takes the attempt off a connection that is up, or has ended.
    #[inline(never)]
    pub(crate) fn drop_attempt(&mut self, token: Token) {
        let Some(mut attempt) = self.connection_mut(token).and_then(Connection::take_attempt) else {
            return;
        };
        for timer in attempt.take_timers() {
            self.timers.cancel(timer);
        }
    }

    fn attempt_mut(&mut self, token: Token) -> Option<&mut Attempt> {
        let connection = self.connection_mut(token).filter(|connection| connection.phase == Phase::Connecting)?;
        connection.attempt_mut()
    }

    /// Looks the host up or tries the first address, with a deadline for all.
    fn begin_round(&mut self, token: Token) -> io::Result<()> {
        let deadline = self.attempt_mut(token).ok_or_else(gone)?.options.deadline;
        let timer = self.arm(deadline, token)?;
        let deadline_ms = self.clock.deadline_in(deadline);
        let attempt = self.attempt_mut(token).ok_or_else(gone)?;
        (attempt.deadline, attempt.deadline_ms) = (Some(timer), deadline_ms);
        let round = attempt.failed_rounds;
        match attempt.target().place().clone() {
            Place::Addresses(addresses) => {
                attempt.set_addresses(addresses);
                self.try_next(token)
            }
            Place::Host(host) => {
                let names = self.names.as_ref().expect("a loop has a resolver from the start");
                let lookup = names.look_up(&host, token, round)?;
                self.attempt_mut(token).ok_or_else(gone)?.lookup = Some(lookup);
                Ok(())
            }
        }
    }

    /// Tries the next address that does not fail at once. The error is what became of all.
    fn try_next(&mut self, token: Token) -> io::Result<()> {
        self.cancel_step(token);
        loop {
            let attempt = self.attempt_mut(token).ok_or_else(gone)?;
            let Some(address) = attempt.next() else { return Err(attempt.verdict()) };
            match self.try_address(token, &address) {
                Ok(()) => return self.share_out_time(token),
                Err(error) => self.attempt_mut(token).ok_or_else(gone)?.fail(error),
            }
        }
    }

    fn try_address(&mut self, token: Token, address: &SocketAddress) -> io::Result<()> {
        let attempt = self.attempt_mut(token).ok_or_else(gone)?;
        let options = attempt.options.clone();
        let unused = attempt.unused_for.take();
        if !unused.is_some_and(|unused| same_family(&unused, address)) {
            let fd = socket::stream(address)?;
            // The one before closes first: it may hold the local address.
            self.connection_mut(token).ok_or_else(gone)?.replace_fd(fd);
        }
        let connection = self.connection(token).ok_or_else(gone)?;
        connect::begin(connection.fd().as_fd(), address, &options)?;
        self.poller.register(connection.fd().as_fd(), Interest::STREAM, token)
    }

    /// An address with others behind it has only its share of the time.
    fn share_out_time(&mut self, token: Token) -> io::Result<()> {
        let attempt = self.attempt_mut(token).ok_or_else(gone)?;
        let (shares, deadline_ms) = (attempt.shares(), attempt.deadline_ms);
        if shares > 1 {
            let step = self.arm(self.clock.until(deadline_ms) / shares, token)?;
            self.attempt_mut(token).ok_or_else(gone)?.step = Some(step);
        }
        Ok(())
    }

    fn end_round_if_failed(&mut self, token: Token, result: io::Result<()>) {
        if let Err(error) = result.or_else(|error| self.wait_for_next_round(token, error)) {
            self.end(token, CloseReason::ConnectFailed(error));
        }
    }

    /// A round has failed: another is due later, or the error stands.
    fn wait_for_next_round(&mut self, token: Token, error: io::Error) -> io::Result<()> {
        self.cancel_step(token);
        let attempt = self.attempt_mut(token).ok_or_else(gone)?;
        attempt.end_round();
        let deadline = attempt.deadline.take();
        let delay = attempt.options.reconnect.and_then(|policy| policy.next_delay(attempt.failed_rounds));
        if let Some(timer) = deadline {
            self.timers.cancel(timer);
        }
        let Some(delay) = delay else { return Err(error) };
        self.put_socket_aside(token);
        let step = self.arm(delay, token)?;
        let attempt = self.attempt_mut(token).ok_or_else(gone)?;
        attempt.step = Some(step);
        log::debug!("could not connect to {}, again in {delay:?}: {error}", attempt.target());
        Ok(())
    }

    /// Between two rounds nothing goes on in the kernel, and no address is held.
    fn put_socket_aside(&mut self, token: Token) {
        let Some(likely) = self.attempt_mut(token).map(|attempt| attempt.likely_address()) else { return };
        // If there is no other, the old one holds the place as well.
        let Ok(fd) = socket::stream(&likely) else { return };
        let Some(connection) = self.connection_mut(token) else { return };
        connection.replace_fd(fd);
        if let Some(attempt) = connection.attempt_mut() {
            attempt.unused_for = Some(likely);
        }
    }

    fn cancel_step(&mut self, token: Token) {
        if let Some(timer) = self.attempt_mut(token).and_then(|attempt| attempt.step.take()) {
            self.timers.cancel(timer);
        }
    }

    /// Looks how the address that is being tried has fared: `true` says that the connection is up.
    pub(crate) fn check_connecting(&mut self, token: Token) -> bool {
        let Some(connection) = self.connection_mut(token) else { return false };
        if connection.attempt_mut().is_none() {
            // It was connected when it came.
            return true;
        }
        if !connection.has(Flag::WRITABLE) || !connection.attempt_mut().is_some_and(|attempt| attempt.is_trying()) {
            return false;
        }
        let opens_fast = connection.attempt_mut().is_some_and(|attempt| attempt.options.socket.opens_fast());
        match connect::outcome(connection.fd().as_fd(), opens_fast) {
            Ok(true) => return true,
            Ok(false) => connection.clear(Flag::WRITABLE),
            Err(error) => self.address_failed(token, error),
        }
        false
    }
}

fn same_family(one: &SocketAddress, other: &SocketAddress) -> bool {
    let family =
        |address: &SocketAddress| (mem::discriminant(address), address.as_inet().is_some_and(|inet| inet.is_ipv6()));
    family(one) == family(other)
}
