//! Which processors a thread may run on; see sched_setaffinity(2).

use std::io;
use std::mem;

use super::check;

/// Binds the calling thread to the processor at `index` among those that it may run on now, counted round.
pub(crate) fn pin_to_nth(index: usize) -> io::Result<usize> {
    // Threads of a simulation take turns on any.
    #[cfg(feature = "sim")]
    if crate::sim::world::is_current() {
        return Ok(index);
    }
    let allowed = allowed()?;
    let processor = allowed[index % allowed.len()];
    let mut set = empty_set();
    // SAFETY: `processor` was found set in a `cpu_set_t`, so it is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(processor, &mut set) };
    Processors(set).run_there()?;
    Ok(processor)
}

/// Processors that a thread may run on.
#[derive(Clone, Copy)]
pub(crate) struct Processors(libc::cpu_set_t);

impl Processors {
    /// Those of the calling thread.
    pub(crate) fn current() -> io::Result<Self> {
        let mut set = empty_set();
        // SAFETY: the kernel writes at most the size given, which is the size of `set`.
        check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
        Ok(Self(set))
    }

    /// Lets the calling thread run on them, and on no others.
    pub(crate) fn run_there(&self) -> io::Result<()> {
        // SAFETY: the set is a live cpu_set_t and the size given is its size; 0 names the calling thread.
        check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.0) })?;
        Ok(())
    }
}

/// The processors the calling thread may run on, at least one.
fn allowed() -> io::Result<Vec<usize>> {
    let Processors(set) = Processors::current()?;
    let bits = libc::CPU_SETSIZE.unsigned_abs() as usize;
    // SAFETY: `processor` is below CPU_SETSIZE, so the bit it names lies inside `set`.
    let allowed: Vec<usize> = (0..bits).filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) }).collect();
    if allowed.is_empty() { Err(io::Error::other("this thread may run on no processor")) } else { Ok(allowed) }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: `cpu_set_t` is an array of integers, for which all bits zero is a value: the empty set.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pinned_may_run_again_where_it_could() {
        std::thread::spawn(|| {
            let (before, processors) = (allowed().unwrap(), Processors::current().unwrap());
            pin_to_nth(1).unwrap();
            processors.run_there().unwrap();
            assert_eq!(allowed().unwrap(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_pinned_thread_may_run_on_one_processor() {
        std::thread::spawn(|| {
            let processor = pin_to_nth(0).unwrap();
            assert_eq!(allowed().unwrap(), [processor]);
        })
        .join()
        .unwrap();
    }
}
