//! What the kernel knows of a TCP connection; see tcp(7), `TCP_INFO`.

use std::io;
use std::mem;
use std::time::Duration;

use libc::socklen_t;

use super::check;
use super::fd::FdRef;

/// The figures of `TCP_INFO` that tell how a connection fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// Smoothed, and how much it varies.
    pub(crate) rtt: Duration,
    pub(crate) rtt_variance: Duration,
    /// Since the connection was made.
    pub(crate) retransmits: u32,
    /// In segments.
    pub(crate) congestion_window: u32,
    pub(crate) unacknowledged: u32,
}

/// The figures of a TCP socket; an error on any other.
pub(crate) fn get(fd: FdRef<'_>) -> io::Result<TcpInfo> {
    simulated!(fd, Err(io::ErrorKind::Unsupported.into()));
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: `tcp_info` is made of integers, for which all bits zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = socklen_t::try_from(size_of::<libc::tcp_info>()).expect("it is some hundred bytes");
    let into = (&raw mut info).cast();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `info`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut length) })?;
    Ok(TcpInfo {
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        rtt_variance: Duration::from_micros(info.tcpi_rttvar.into()),
        retransmits: info.tcpi_total_retrans,
        congestion_window: info.tcpi_snd_cwnd,
        unacknowledged: info.tcpi_unacked,
    })
}
