//! Moving datagrams, many in one call, and hearing what became of those sent; see recvmmsg(2), sendmmsg(2) and ip(7).

use std::io;
use std::mem;
use std::net::IpAddr;
use std::ptr;

use libc::{c_int, c_uint};

use super::ancillary::{Asked, Control, ExtendedError, Source};
use super::fd::FdRef;
use super::sockaddr::RawAddress;
use super::{check, check_count, retry};

/// Room for the datagrams of one call. Nothing is allocated before it is first laid out.
#[derive(Default)]
pub(crate) struct ReceiveBatch {
    layout: Layout,
    /// All slots, one after the other. It, as the other vectors, does not grow once the headers point into it.
    bytes: Vec<u8>,
    names: Vec<RawAddress>,
    controls: Vec<Control>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// How many headers the kernel has written to since they were set.
    used: usize,
}

/// What the slots are made for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) slots: usize,
    /// Bytes that a slot holds; a longer datagram is cut.
    pub(crate) size: usize,
    /// Whether there is room for the address asked. Where there is none, the kernel closes descriptors that somebody sends
    /// along.
    pub(crate) control: bool,
}

/// One datagram of a batch.
pub(crate) struct Received<'a> {
    pub(crate) bytes: &'a [u8],
    /// How long it was before it was cut.
    pub(crate) length: usize,
    pub(crate) from: &'a RawAddress,
}

impl ReceiveBatch {
    /// Makes the slots, unless they are as wanted.
    #[inline]
    pub(crate) fn lay_out(&mut self, layout: Layout) {
        if self.layout != layout {
            self.lay_out_anew(layout);
        }
    }

    #[cold]
    fn lay_out_anew(&mut self, layout: Layout) {
        let Layout { slots, size, control } = layout;
        // Slots that lie a power of two apart would share a few lines of the processor's caches.
        let stride = size.next_multiple_of(CACHE_LINE) + CACHE_LINE;
        // Fresh zeroes from the system cost no memory until the kernel writes there.
        self.bytes = vec![0; slots * stride];
        self.names = vec![RawAddress::unset(); slots];
        self.controls = vec![Control::empty(); if control { slots } else { 0 }];
        let slots = self.bytes.chunks_exact_mut(stride);
        self.slices = slots.map(|slot| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: size }).collect();
        let parts = self.slices.iter_mut().zip(&mut self.names);
        self.headers = parts.map(|(slice, name)| header(slice, name)).collect();
        for (header, control) in self.headers.iter_mut().zip(&mut self.controls) {
            header.msg_hdr.msg_control = control.place();
        }
        self.used = layout.slots;
        self.layout = layout;
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// The datagram in a slot that the last call filled.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Received<'_> {
        let length = self.headers[index].msg_len as usize;
        let stride = self.bytes.len() / self.headers.len();
        let bytes = &self.bytes[index * stride..][..length.min(self.layout.size)];
        Received { bytes, length, from: &self.names[index] }
    }

    /// Which of our addresses the datagram was sent to, where that was asked for.
    pub(crate) fn asked(&self, index: usize) -> Option<Asked> {
        self.controls.get(index)?.asked(self.headers[index].msg_hdr.msg_controllen)
    }

    /// Sets anew what the kernel has written to.
    #[inline]
    fn set_headers(&mut self) {
        let control = if self.layout.control { Control::room() } else { 0 };
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = RawAddress::ROOM;
            header.msg_hdr.msg_controllen = control;
        }
    }
}

/// A header for one slot, but for its control messages.
fn header(slice: &mut libc::iovec, name: &mut RawAddress) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is made of pointers and integers, for which all bits zero is a value: nothing anywhere.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = name.place();
    header.msg_hdr.msg_iov = ptr::from_mut(slice);
    header.msg_hdr.msg_iovlen = 1;
    header
}

/// Takes up to `count` datagrams that have arrived; `WouldBlock` says that none has.
///
/// Fewer than `count` means that the kernel itself has met the end of the queue, or an error, which it keeps for the next
/// call and announces.
#[inline]
pub(crate) fn receive(fd: FdRef<'_>, batch: &mut ReceiveBatch, count: usize) -> io::Result<usize> {
    batch.set_headers();
    batch.used = 0;
    simulated!(fd, receive_simulated(fd, batch, count));
    let room = count.min(batch.headers.len()) as c_uint;
    let headers = batch.headers.as_mut_ptr();
    let no_timeout = ptr::null_mut();
    // SAFETY: there are at least `room` headers, and each points to a slice, a name and control room of its own in vectors
    // of `batch`, which is borrowed for the call, with their true lengths.
    let received =
        retry(|| check(unsafe { libc::recvmmsg(fd.as_raw_fd(), headers, room, libc::MSG_TRUNC as _, no_timeout) }))?;
    batch.used = received.unsigned_abs() as usize;
    for (name, header) in batch.names.iter_mut().zip(&batch.headers[..batch.used]) {
        name.set_length(header.msg_hdr.msg_namelen);
    }
    Ok(batch.used)
}

/// A datagram to send.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where to; a connected socket knows.
    pub(crate) to: Option<&'a RawAddress>,
    /// Which address of ours it is to come from.
    pub(crate) from: Option<&'a Source>,
}

/// Room for the headers of one call.
#[derive(Default)]
pub(crate) struct SendBatch {
    /// One for each message.
    slices: Vec<libc::iovec>,
    /// One for each header.
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

/// Sends datagrams, at most [`MOST`] in one call, and says how many the kernel took. It stops at the first that it does not
/// take, and if that is the very first, its error is the answer.
pub(crate) fn send<'m>(
    fd: FdRef<'_>,
    batch: &mut SendBatch,
    messages: impl Iterator<Item = Message<'m>>,
) -> io::Result<usize> {
    simulated!(fd, send_simulated(fd, messages.take(MOST)));
    batch.fill(messages.take(MOST), false);
    send_batch(fd, batch)
}

/// [`send`], where those in a row to one peer and of one size pass through the kernel as one and are cut apart at its other
/// end: `UDP_SEGMENT` of udp(7). If the way there does not allow that, `cuts` is cleared.
pub(crate) fn send_cut<'m>(
    fd: FdRef<'_>,
    batch: &mut SendBatch,
    cuts: &mut bool,
    messages: impl Iterator<Item = Message<'m>> + Clone,
) -> io::Result<usize> {
    simulated!(fd, send_simulated(fd, messages.take(MOST)));
    batch.fill(messages.clone().take(MOST), *cuts);
    let is_cut = batch.headers.first().is_some_and(|header| header.msg_hdr.msg_iovlen > 1);
    match send_batch(fd, batch) {
        Err(error) if is_cut && !is_full(&error) => {
            const NOT_THERE: [c_int; 3] = [libc::EIO, libc::EINVAL, libc::EMSGSIZE];
            *cuts = !error.raw_os_error().is_some_and(|errno| NOT_THERE.contains(&errno));
            send(fd, batch, messages)
        }
        result => result,
    }
}

/// [`send`] of datagrams that the caller will look at again if not all are taken.
pub(crate) fn send_some(fd: FdRef<'_>, batch: &mut SendBatch, messages: &[Message<'_>]) -> usize {
    if messages.is_empty() { 0 } else { send(fd, batch, messages.iter().copied()).unwrap_or(0) }
}

/// Sends what the batch was filled with, which is still borrowed; answers how many messages were sent.
fn send_batch(fd: FdRef<'_>, batch: &mut SendBatch) -> io::Result<usize> {
    let count = batch.headers.len() as c_uint;
    let headers = batch.headers.as_mut_ptr();
    // SAFETY: there are `count` headers, and each points to slices and control data in vectors of `batch`, and to bytes and
    // an address that the messages borrow; the kernel writes to the headers alone.
    let sent = retry(|| check(unsafe { libc::sendmmsg(fd.as_raw_fd(), headers, count, libc::MSG_NOSIGNAL as _) }))?;
    Ok(batch.headers[..sent.unsigned_abs() as usize].iter().map(|header| header.msg_hdr.msg_iovlen).sum())
}

impl SendBatch {
    fn fill<'m>(&mut self, messages: impl Iterator<Item = Message<'m>>, cuts: bool) {
        self.slices.clear();
        self.controls.clear();
        self.headers.clear();
        let mut run = Run::default();
        for message in messages {
            let bytes = message.bytes;
            self.slices.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
            match self.headers.last_mut().filter(|_| cuts && run.takes(&message)) {
                Some(header) => header.msg_hdr.msg_iovlen += 1,
                None => {
                    self.push(&message);
                    run = Run::of(message);
                }
            }
        }
        self.point();
    }

    fn push(&mut self, message: &Message<'_>) {
        // SAFETY: `mmsghdr` is made of pointers and integers, for which all bits zero is a value: nothing anywhere.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_iovlen = 1;
        if let Some(to) = message.to {
            header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = to.length();
        }
        let mut control = Control::empty();
        if let Some(source) = message.from {
            header.msg_hdr.msg_controllen = control.send_from(source);
        }
        self.controls.push(control);
        self.headers.push(header);
    }

    /// Lets the headers point to what has its place now that the vectors have stopped growing.
    fn point(&mut self) {
        let mut slices = self.slices.as_mut_slice();
        for (header, control) in self.headers.iter_mut().zip(&mut self.controls) {
            let (own, others) = slices.split_at_mut(header.msg_hdr.msg_iovlen);
            if let [first, _, ..] = own {
                let size = u16::try_from(first.iov_len).expect("only short datagrams are sent as one");
                header.msg_hdr.msg_controllen = control.cut_into(header.msg_hdr.msg_controllen, size);
            }
            header.msg_hdr.msg_iov = own.as_mut_ptr();
            if header.msg_hdr.msg_controllen > 0 {
                header.msg_hdr.msg_control = control.place();
            }
            slices = others;
        }
    }
}

/// Messages in a row that can be sent as one: to one peer and of one size, of which the last may be shorter.
#[derive(Default)]
struct Run<'m> {
    first: Option<Message<'m>>,
    count: usize,
    /// A shorter one has come.
    ended: bool,
}

impl<'m> Run<'m> {
    fn of(first: Message<'m>) -> Self {
        Self { first: Some(first), count: 1, ended: false }
    }

    /// Takes the message in, if it can be sent with the others.
    fn takes(&mut self, message: &Message<'m>) -> bool {
        let Some(first) = &self.first else { return false };
        let (size, length) = (first.bytes.len(), message.bytes.len());
        let fits = !self.ended && self.count < LONGEST_RUN && size <= LARGEST_CUT && (1..=size).contains(&length);
        if !fits || first.to != message.to || first.from != message.from {
            return false;
        }
        self.count += 1;
        self.ended = length < size;
        true
    }
}

/// What is told of a datagram that was not delivered.
pub(crate) struct Undelivered {
    pub(crate) to: RawAddress,
    pub(crate) error: Option<ExtendedError>,
    /// Who says so.
    pub(crate) reporter: Option<IpAddr>,
}

/// Takes the oldest error that was told of a datagram sent on an Internet socket: where that was going, what is wrong, and
/// who says so. `WouldBlock`: there is none. See `MSG_ERRQUEUE` in recv(2).
pub(crate) fn receive_error(fd: FdRef<'_>) -> io::Result<Undelivered> {
    simulated!(fd, receive_error_simulated(fd));
    let (mut name, mut control) = (RawAddress::unset(), Control::empty());
    // SAFETY: `msghdr` is made of pointers and integers, for which all bits zero is a value: nothing anywhere.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = name.place();
    message.msg_control = control.place();
    retry(|| {
        message.msg_namelen = RawAddress::ROOM;
        message.msg_controllen = Control::room();
        // SAFETY: `message` points to `name` and `control`, with their true lengths, and to no other memory.
        check_count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) })
    })?;
    name.set_length(message.msg_namelen);
    let (error, reporter) = control.error(message.msg_controllen).unzip();
    Ok(Undelivered { to: name, error, reporter: reporter.flatten() })
}

/// [`receive`] in the simulated kernel.
#[cfg(feature = "sim")]
fn receive_simulated(fd: FdRef<'_>, batch: &mut ReceiveBatch, count: usize) -> io::Result<usize> {
    let stride = batch.bytes.len() / batch.headers.len();
    while batch.used < count.min(batch.headers.len()) {
        let datagram = match retry(|| crate::sim::calls::receive_datagram(fd.as_raw_fd())) {
            Ok(datagram) => datagram,
            // The kernel keeps an error for the next call.
            Err(error) if batch.used == 0 => return Err(error),
            Err(_) => break,
        };
        let index = batch.used;
        let taken = datagram.bytes.len().min(batch.layout.size);
        batch.bytes[index * stride..][..taken].copy_from_slice(&datagram.bytes[..taken]);
        batch.names[index] = RawAddress::encode(&datagram.from)?;
        let header = &mut batch.headers[index];
        header.msg_len = datagram.bytes.len() as c_uint;
        header.msg_hdr.msg_controllen = 0;
        if let (Some(control), Some(to)) = (batch.controls.get_mut(index), datagram.to.as_inet()) {
            header.msg_hdr.msg_controllen = control.send_from(&Source::of(to.ip()));
        }
        batch.used += 1;
    }
    Ok(batch.used)
}

/// [`send`] in the simulated kernel.
#[cfg(feature = "sim")]
fn send_simulated<'m>(fd: FdRef<'_>, messages: impl Iterator<Item = Message<'m>>) -> io::Result<usize> {
    let mut sent = 0;
    for message in messages {
        let to = message.to.map(RawAddress::decode).transpose()?;
        let source = message.from.map(Source::address);
        let send = || crate::sim::calls::send_datagram(fd.as_raw_fd(), to.as_ref(), source, message.bytes);
        match retry(send) {
            Ok(()) => sent += 1,
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(sent)
}

/// [`receive_error`] in the simulated kernel.
#[cfg(feature = "sim")]
fn receive_error_simulated(fd: FdRef<'_>) -> io::Result<Undelivered> {
    let (to, errno) = crate::sim::calls::receive_undelivered(fd.as_raw_fd())?;
    // As ICMP says that nobody is there: "port unreachable".
    let error = ExtendedError { errno, origin: libc::SO_EE_ORIGIN_ICMP, kind: 3, code: 3, info: 0 };
    let reporter = to.as_inet().map(|to| to.ip());
    Ok(Undelivered { to: RawAddress::encode(&to)?, error: Some(error), reporter })
}

/// Whether the kernel takes no datagrams for now, so that trying again may help: its buffer, or the queue of the device or of
/// the peer, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    const FULL: [c_int; 2] = [libc::EAGAIN, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|errno| FULL.contains(&errno))
}

/// The error of a datagram that is longer than the socket sends.
pub(crate) fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EMSGSIZE)
}

/// Any kernel cuts 64 (`UDP_MAX_SEGMENTS`); of the largest size so many are still within an IP packet.
const LONGEST_RUN: usize = 48;

/// A cut must fit the packets of the way; longer datagrams are few.
const LARGEST_CUT: usize = 1200;

/// The kernel looks at no more headers than this in one call (`UIO_MAXIOV`).
pub(crate) const MOST: usize = 1024;

const CACHE_LINE: usize = 64;
