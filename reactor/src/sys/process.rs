//! Other processes by a descriptor, which names the same one even when its number is used again; see pidfd_open(2).

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::thread;

use libc::{c_int, c_uint, pid_t};

use super::fd::{Fd, FdRef};
use super::signal;
use super::{check, check_fd, retry};

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// A descriptor of it. It is readable when the child has ended.
    pub(crate) process: Fd,
    pub(crate) pid: u32,
    pub(crate) stdin: Option<Fd>,
    pub(crate) stdout: Option<Fd>,
    pub(crate) stderr: Option<Fd>,
}

/// Starts a process. No signal is blocked for it.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Started> {
    #[cfg(feature = "sim")]
    if let Some(begun) = crate::sim::spawning::spawn(command) {
        let begun = begun?;
        let made = |number| Some(Fd::made(number));
        let (stdin, stdout, stderr) = (made(begun.input), made(begun.output), made(begun.errors));
        return Ok(Started { process: Fd::made(begun.process), pid: begun.pid, stdin, stdout, stderr });
    }
    unblock_signals(command)?;
    let mut child = command.spawn()?;
    let process = open(child.id()).inspect_err(|_| {
        // It was not to be, and has hardly begun. Both can fail only if it is gone already.
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let owned = |stdin: Option<OwnedFd>| stdin.map(Fd::from);
    Ok(Started {
        process,
        pid: child.id(),
        stdin: owned(child.stdin.take().map(OwnedFd::from)),
        stdout: owned(child.stdout.take().map(OwnedFd::from)),
        stderr: owned(child.stderr.take().map(OwnedFd::from)),
    })
}

/// A descriptor of a child that was not waited for yet.
fn open(pid: u32) -> io::Result<Fd> {
    let (pid, flags): (pid_t, c_uint) = (pid.cast_signed(), 0);
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    check_fd(c_int::try_from(fd).unwrap_or(-1))
}

/// How the child ended, as wait(2) says it, which then is gone; `None`: it lives. See waitid(2).
pub(crate) fn wait(process: FdRef<'_>) -> io::Result<Option<c_int>> {
    simulated!(process, crate::sim::calls::wait_for_process(process.as_raw_fd()));
    wait_with(process, libc::WNOHANG)
}

/// Kills a child that has hardly begun, and waits for its end.
pub(crate) fn end(process: FdRef<'_>) {
    // Both can fail only if it is gone already.
    let _ = send_signal(process, libc::SIGKILL);
    simulated!(process, drop(crate::sim::calls::await_process(process.as_raw_fd())));
    let _ = wait_with(process, 0);
}

/// Waits for the end of a child, so that it does not become a zombie, on a thread of its own.
pub(crate) fn wait_elsewhere(process: FdRef<'_>) -> io::Result<()> {
    simulated!(process, crate::sim::calls::await_process(process.as_raw_fd()));
    let process = process.duplicate()?;
    let waiting = thread::Builder::new().name("reactor-child".to_owned()).stack_size(STACK);
    waiting.spawn(move || wait_with(process.as_fd(), 0).is_ok()).map(drop)
}

/// The thread makes one system call.
const STACK: usize = 64 << 10;

fn wait_with(process: FdRef<'_>, options: c_int) -> io::Result<Option<c_int>> {
    // SAFETY: `siginfo_t` is made of integers and pointers, for which all bits zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | options;
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
    simulated!(process, crate::sim::calls::signal_process(process.as_raw_fd(), number));
    let (no_info, flags): (*const libc::siginfo_t, c_uint) = (ptr::null(), 0);
    // SAFETY: the call takes integers, and no information to read.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, no_info, flags) };
    check(c_int::try_from(result).unwrap_or(-1))?;
    Ok(())
}

/// Lets the program get the signals that this thread has blocked: a blocked signal is inherited, and a program that is deaf to
/// SIGTERM is hard to end.
fn unblock_signals(command: &mut Command) -> io::Result<()> {
    if signal::blocks_none()? {
        // What is run between fork and exec makes starting a process slower.
        return Ok(());
    }
    // SAFETY: what runs there allocates nothing and takes no lock: it makes two system calls.
    unsafe { command.pre_exec(signal::unblock_all) };
    Ok(())
}
