//! Options of stream sockets as one value: set on a listener for what it accepts, before a connect, or on a live connection.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::sys::fd::FdRef;
use crate::sys::{option, stream_option};

/// Options of a stream socket; see socket(7) and tcp(7). What is `None` is left as it is.
///
/// Those of a listener are set before it listens, and **accepted sockets inherit** all but [`priority`](Self::priority) and
/// [`incoming_cpu`](Self::incoming_cpu), so accepting costs no call for them ([`ListenOptions::socket`](crate::ListenOptions::socket)).
/// Those of an outgoing connection are set before it connects ([`ConnectOptions::socket`](crate::ConnectOptions::socket)). Those of a
/// live one can be changed: [`Context::set_options`](crate::Context::set_options).
///
/// On a Unix socket the options of tcp(7) and ipv6(7) are left out. An option in a place that it is not for is an error, as is a
/// value that the kernel refuses: the error names the option, the value and the address.
///
/// ```
/// use std::time::Duration;
/// use reactor::{Keepalive, ListenOptions, Listener, SocketOptions};
///
/// let probes = Keepalive::after(Duration::from_secs(60)).interval(Duration::from_secs(10)).count(3);
/// let options = SocketOptions::default().keepalive(probes).user_timeout(Duration::from_secs(30)).congestion("reno");
/// let listener = Listener::bind("127.0.0.1:0", &ListenOptions::default().socket(options))?;
///
/// let refused = Listener::bind("127.0.0.1:0", &ListenOptions::default().socket(SocketOptions::default().congestion("none")));
/// assert!(refused.unwrap_err().to_string().contains("cannot set TCP_CONGESTION to none on 127.0.0.1:0"));
/// # drop(listener);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `TCP_NODELAY`: small messages leave at once, not when the last one was acknowledged. The library turns it on for the sockets
    /// that it makes, unless this says off.
    pub nodelay: Option<bool>,
    /// `SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`: whether and when the kernel asks a silent peer if it is still
    /// there. Off by default.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: how long what was sent may stay unacknowledged before the connection ends with `ETIMEDOUT`; zero leaves
    /// it to the kernel, which takes some 15 minutes. Milliseconds, at most 24 days.
    pub user_timeout: Option<Duration>,
    /// `SO_LINGER`: zero makes every close a reset that drops what was not sent. Nothing else is taken: a longer time would have
    /// close(2) block the loop. See [`Limits::linger`](crate::Limits::linger) for what is done instead.
    pub linger: Option<Duration>,
    /// `SO_RCVBUF` in bytes. The kernel doubles it, and stops tuning it. On a listener it is set before listen(2), which fixes the
    /// window scale.
    pub receive_buffer: Option<u32>,
    /// `SO_SNDBUF` in bytes. The kernel doubles it, and stops tuning it.
    pub send_buffer: Option<u32>,
    /// `TCP_NOTSENT_LOWAT` in bytes: the kernel takes output only while less than this has yet to leave, so what is sent last waits
    /// here, where it can still be changed, and not there.
    pub notsent_lowat: Option<u32>,
    /// `TCP_CONGESTION`: the congestion control by its name, as `/proc/sys/net/ipv4/tcp_available_congestion_control` has it.
    pub congestion: Option<String>,
    /// `TCP_FASTOPEN` on a listener: how many connections may wait that came with data. `TCP_FASTOPEN_CONNECT` on an outgoing
    /// connection, unless 0: what is sent first goes with the request to connect. To a server that is known to take it the connection
    /// counts as up at once, and a failure shows as [`CloseReason::Error`](crate::CloseReason::Error). Data may arrive twice. See
    /// `net.ipv4.tcp_fastopen`. Not for a live connection.
    pub fastopen: Option<u32>,
    /// `TCP_DEFER_ACCEPT`: a connection is not accepted before it has sent something, or this time has passed. Seconds. For listeners.
    pub defer_accept: Option<Duration>,
    /// `IPV6_V6ONLY`: whether a listener on `[::]` leaves IPv4 alone; `None` leaves it to the system. For listeners; left out on
    /// IPv4. See ipv6(7).
    pub v6_only: Option<bool>,
    /// `SO_MARK`: the mark of what is sent, for routing and filters. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// `SO_PRIORITY`: the class of what is sent in the queues of an interface. Above 6 it needs `CAP_NET_ADMIN`.
    /// Not inherited.
    pub priority: Option<u32>,
    /// `SO_INCOMING_CPU`: of the listeners that share a port by [`ListenOptions::reuse_port`](crate::ListenOptions::reuse_port) this one is
    /// for what this processor receives. Not inherited: an accepted socket tells by it which processor its bytes come in on.
    pub incoming_cpu: Option<u32>,
    /// `SO_BUSY_POLL`: for how long the kernel asks the interface for more before it waits. Microseconds. To raise it needs
    /// `CAP_NET_ADMIN`.
    pub busy_poll: Option<Duration>,
}

/// When the kernel asks a silent peer whether it is still there; see `SO_KEEPALIVE` in socket(7). `None` leaves the system's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Whether it asks at all.
    pub on: bool,
    /// `TCP_KEEPIDLE`: the silence before it asks. Whole seconds, rounded up, 1 s to 9 h. The system's value is 2 h.
    pub idle: Option<Duration>,
    /// `TCP_KEEPINTVL`: the time between two questions. Whole seconds, rounded up, 1 s to 9 h. The system's value is 75 s.
    pub interval: Option<Duration>,
    /// `TCP_KEEPCNT`: questions without an answer, 1 to 127, after which the connection ends with `ETIMEDOUT`. The system's value is 9.
    pub count: Option<u32>,
}

impl Keepalive {
    /// Not at all.
    #[must_use]
    pub fn off() -> Self {
        Self { on: false, idle: None, interval: None, count: None }
    }

    /// With the times of the system.
    #[must_use]
    pub fn on() -> Self {
        Self { on: true, ..Self::off() }
    }

    /// After so long a silence.
    #[must_use]
    pub fn after(idle: Duration) -> Self {
        Self { idle: Some(idle), ..Self::on() }
    }

    /// Sets [`interval`](Self::interval).
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Sets [`count`](Self::count).
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

/// Setters, one for each field.
macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {
        impl SocketOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, value: impl Into<$type>) -> Self {
                    self.$field = Some(value.into());
                    self
                }
            )*
        }
    };
}

setters! {
    nodelay: bool,
    keepalive: Keepalive,
    user_timeout: Duration,
    linger: Duration,
    receive_buffer: u32,
    send_buffer: u32,
    notsent_lowat: u32,
    congestion: String,
    fastopen: u32,
    defer_accept: Duration,
    v6_only: bool,
    mark: u32,
    priority: u32,
    incoming_cpu: u32,
    busy_poll: Duration,
}

/// What becomes of the socket, which decides what an option means to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Listening,
    Connecting,
    Live,
}

/// A socket whose options are set.
struct Subject<'a> {
    fd: FdRef<'a>,
    address: &'a SocketAddress,
    role: Role,
}

impl SocketOptions {
    /// Sets them on a socket. The first that fails ends it; those before it stay set.
    pub(crate) fn apply(&self, fd: FdRef<'_>, address: &SocketAddress, role: Role) -> io::Result<()> {
        let subject = Subject { fd, address, role };
        self.apply_to_any(&subject)?;
        let SocketAddress::Inet(inet) = address else { return Ok(()) };
        let nodelay = self.nodelay.or((role != Role::Live).then_some(true));
        subject.set("TCP_NODELAY", nodelay, option::set_nodelay)?;
        self.apply_keepalive(&subject)?;
        subject.set("TCP_USER_TIMEOUT", self.user_timeout.map(Time), |fd, time| {
            stream_option::set_user_timeout(fd, time.count(MILLISECOND))
        })?;
        subject.set("TCP_NOTSENT_LOWAT", self.notsent_lowat, stream_option::set_notsent_lowat)?;
        subject.set("TCP_CONGESTION", self.congestion.as_deref(), stream_option::set_congestion)?;
        self.apply_to_role(&subject, inet.is_ipv6())
    }

    /// Those of socket(7).
    fn apply_to_any(&self, subject: &Subject<'_>) -> io::Result<()> {
        subject.set("SO_RCVBUF", self.receive_buffer, option::set_receive_buffer)?;
        subject.set("SO_SNDBUF", self.send_buffer, option::set_send_buffer)?;
        subject.set("SO_LINGER", self.linger.map(Time), |fd, time| match time.0 {
            Duration::ZERO => option::set_reset_on_close(fd),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "closing would block the loop")),
        })?;
        subject.set("SO_MARK", self.mark, stream_option::set_mark)?;
        subject.set("SO_PRIORITY", self.priority, stream_option::set_priority)?;
        subject.set("SO_INCOMING_CPU", self.incoming_cpu, stream_option::set_incoming_cpu)?;
        subject.set("SO_BUSY_POLL", self.busy_poll.map(Time), |fd, time| {
            stream_option::set_busy_poll(fd, time.count(MICROSECOND))
        })?;
        subject.set("SO_KEEPALIVE", self.keepalive.map(|keepalive| keepalive.on), option::set_keepalive)
    }

    fn apply_keepalive(&self, subject: &Subject<'_>) -> io::Result<()> {
        let Some(Keepalive { idle, interval, count, .. }) = self.keepalive else { return Ok(()) };
        let seconds =
            |set: fn(FdRef<'_>, u32) -> io::Result<()>| move |fd: FdRef<'_>, time: Time| set(fd, time.count(SECOND));
        subject.set("TCP_KEEPIDLE", idle.map(Time), seconds(stream_option::set_keepalive_idle))?;
        subject.set("TCP_KEEPINTVL", interval.map(Time), seconds(stream_option::set_keepalive_interval))?;
        subject.set("TCP_KEEPCNT", count, stream_option::set_keepalive_count)
    }

    /// Those that have their place.
    fn apply_to_role(&self, subject: &Subject<'_>, is_ipv6: bool) -> io::Result<()> {
        let v6_only = self.v6_only.filter(|_| is_ipv6);
        subject.set("IPV6_V6ONLY", v6_only, subject.only(Role::Listening, option::set_v6_only))?;
        let defer = |fd: FdRef<'_>, time: Time| stream_option::set_defer_accept(fd, time.count(SECOND));
        subject.set("TCP_DEFER_ACCEPT", self.defer_accept.map(Time), subject.only(Role::Listening, defer))?;
        if subject.role == Role::Listening {
            return subject.set("TCP_FASTOPEN", self.fastopen, stream_option::set_fastopen_queue);
        }
        let begin = |fd: FdRef<'_>, queue| stream_option::set_fastopen_connect(fd, queue != 0);
        subject.set("TCP_FASTOPEN_CONNECT", self.fastopen, subject.only(Role::Connecting, begin))
    }

    /// Whether an outgoing connection may count as up before it is.
    pub(crate) fn opens_fast(&self) -> bool {
        self.fastopen.is_some_and(|queue| queue != 0)
    }
}

impl Subject<'_> {
    /// Sets one option, if there is a value for it.
    fn set<T: fmt::Display + Copy>(
        &self,
        name: &str,
        value: Option<T>,
        set: impl FnOnce(FdRef<'_>, T) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        set(self.fd, value).map_err(|error| {
            let message = format!("cannot set {name} to {value} on {}: {error}", self.address);
            io::Error::new(error.kind(), message)
        })
    }

    /// The setter of an option that belongs to sockets of one role.
    fn only<T>(
        &self,
        role: Role,
        set: impl FnOnce(FdRef<'_>, T) -> io::Result<()>,
    ) -> impl FnOnce(FdRef<'_>, T) -> io::Result<()> {
        let fits = self.role == role;
        move |fd, value| match fits {
            true => set(fd, value),
            false => {
                let place = if role == Role::Listening { "listeners" } else { "sockets that are to connect" };
                Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is for {place}")))
            }
        }
    }
}

/// A time, which the kernel takes as a number.
#[derive(Clone, Copy)]
struct Time(Duration);

impl Time {
    /// How many units, rounded up, so that what is short does not become none.
    fn count(self, unit: Duration) -> u32 {
        u32::try_from(self.0.as_nanos().div_ceil(unit.as_nanos())).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MICROSECOND: Duration = Duration::from_micros(1);

// Miri knows few options.
#[cfg(all(test, not(miri)))]
mod tests;
