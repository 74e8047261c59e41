//! Other processes by a descriptor, which names the same one even when its number is used again; see pidfd_open(2).

use std::io;
use std::mem;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use libc::{c_int, c_uint, pid_t};

use super::fd::{Fd, FdRef};
use super::signal;
use super::{check, check_fd, retry};

/// A descriptor of a child that was not waited for yet. It is readable when the child has ended.
pub(crate) fn open(pid: u32) -> io::Result<Fd> {
    let (pid, flags): (pid_t, c_uint) = (pid.cast_signed(), 0);
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    check_fd(c_int::try_from(fd).unwrap_or(-1))
}

/// How the child ended, as wait(2) says it, which then is gone; `None`: it lives. See waitid(2).
pub(crate) fn wait(process: FdRef<'_>, waits: bool) -> io::Result<Option<c_int>> {
    // SAFETY: `siginfo_t` is made of integers and pointers, for which all bits zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | if waits { 0 } else { libc::WNOHANG };
    let id = process.as_raw_fd().cast_unsigned();
    // SAFETY: the kernel writes one `siginfo_t`, which `info` is.
    retry(|| check(unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, options) }))?;
    // SAFETY: `info` is as the kernel has filled it in for a child, or all zero if none has ended.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as before.
    let status = unsafe { info.si_status() };
    let word = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    Ok((pid != 0).then_some(word))
}

/// Sends a signal; see pidfd_send_signal(2).
pub(crate) fn send_signal(process: FdRef<'_>, number: c_int) -> io::Result<()> {
    let (no_info, flags): (*const libc::siginfo_t, c_uint) = (ptr::null(), 0);
    // SAFETY: the call takes integers, and no information to read.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, no_info, flags) };
    check(c_int::try_from(result).unwrap_or(-1))?;
    Ok(())
}

/// Lets the program get the signals that this thread has blocked: a blocked signal is inherited, and a program that is deaf to
/// SIGTERM is hard to end.
pub(crate) fn unblock_signals(command: &mut Command) -> io::Result<()> {
    if signal::blocks_none()? {
        // What is run between fork and exec makes starting a process slower.
        return Ok(());
    }
    // SAFETY: what runs there allocates nothing and takes no lock: it makes two system calls.
    unsafe { command.pre_exec(signal::unblock_all) };
    Ok(())
}
