//! Who is at the other end of a Unix socket; see `SO_PEERCRED` in unix(7).

/// The process at the other end of a Unix socket, as it was when it connected, listened or made the pair. The kernel tells it, so
/// it cannot be forged.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use reactor::{Context, EventLoop, Handler, Input, Result};
///
/// struct Answers;
///
/// impl Handler for Answers {
///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
///         let who = cx.peer_credentials()?;
///         assert_eq!(who.pid, std::process::id());
///         cx.send(format!("hello, user {}\n", who.uid))
///     }
///
///     fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         input.take();
///         Ok(())
///     }
/// }
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.context().adopt(ours, Answers)?;
/// event_loop.turn(None)?;
/// # use std::io::Read;
/// # let mut hello = [0; 11];
/// # (&theirs).read_exact(&mut hello)?;
/// # assert_eq!(&hello, b"hello, user");
/// # Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The number of the process, as this process sees it; 0 if it sees none, for it is in a namespace beyond. It may have ended
    /// since, and its number be used again.
    pub pid: u32,
    /// The user that it acted for.
    pub uid: u32,
    /// The group that it acted for.
    pub gid: u32,
}
