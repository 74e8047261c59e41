//! Bytes that many connections send and nobody copies.

use std::fmt;
use std::io;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use crate::sys::fd::FdRef;
use crate::sys::pages::Pages;

/// Bytes with one allocation and any number of owners, on any thread: a clone is a reference, and so is a part.
///
/// What is sent from it by [`Context::send_shared`](crate::Context::send_shared) is not copied, however many connections send it
/// and however slowly their peers read. The kernel makes a copy as it takes the bytes, unless they are
/// [in pages](Self::in_pages).
///
/// ```
/// use reactor::SharedBytes;
///
/// let page = SharedBytes::from(b"hello world".to_vec());
/// let world = page.slice(6..);
/// assert_eq!(&*world, b"world");
/// ```
#[derive(Clone)]
pub struct SharedBytes {
    bytes: Allocation,
    start: usize,
    end: usize,
}

/// Where the bytes are.
#[derive(Clone)]
enum Allocation {
    Heap(Arc<[u8]>),
    Pages(Arc<Pages>),
}

impl SharedBytes {
    /// So many bytes in memory pages of their own, written by `fill`, to which they are shown as zeros.
    ///
    /// Of 32 KiB and more that are sent at once the kernel then takes references to the pages in place of a copy (vmsplice(2),
    /// splice(2)): for what is sent often, some hundred KiB cost half of the processor time. The bytes never change, so a peer gets what
    /// they were when they were sent, whenever that leaves. The loop makes a pipe for it; if none can be had, and on kernels that
    /// refuse, bytes in pages are sent as any others.
    ///
    /// They take whole pages, and some microseconds and system calls to make and to drop, so it pays for what is sent several times.
    /// What waits of them on a connection counts as a part of a file does, not as memory of the connection: whoever makes them
    /// bounds them, and learns from [`owners`](Self::owners) whether they still wait anywhere.
    ///
    /// # Errors
    /// What `fill` answers; `OutOfMemory`.
    ///
    /// ```
    /// use reactor::SharedBytes;
    ///
    /// let poster = SharedBytes::in_pages(100_000, |bytes| {
    ///     bytes.fill(b'x');
    ///     Ok(())
    /// })?;
    /// assert_eq!((poster.len(), poster.owners()), (100_000, 1));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn in_pages(len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Self> {
        if len == 0 {
            // There is no mapping of no pages.
            fill(&mut [])?;
            return Ok(Self::from(Vec::new()));
        }
        let pages = Pages::filled(len, fill)?;
        Ok(Self { bytes: Allocation::Pages(Arc::new(pages)), start: 0, end: len })
    }

    /// How many share the allocation now: clones and parts of it, and connections on which some of it waits. What the kernel has taken
    /// and not yet delivered does not count.
    #[must_use]
    pub fn owners(&self) -> usize {
        match &self.bytes {
            Allocation::Heap(bytes) => Arc::strong_count(bytes),
            Allocation::Pages(pages) => Arc::strong_count(pages),
        }
    }

    /// Whether they are in pages of their own.
    #[must_use]
    pub fn is_in_pages(&self) -> bool {
        matches!(self.bytes, Allocation::Pages(_))
    }

    /// Whether the kernel is to be lent the pages: of few bytes a copy costs less.
    pub(crate) fn is_to_be_lent(&self) -> bool {
        self.len() >= LENT && self.is_in_pages()
    }

    /// Puts references to the first bytes, `most` at most, into a pipe, and says to how many.
    pub(crate) fn lend(&self, most: usize, pipe: FdRef<'_>) -> io::Result<usize> {
        match &self.bytes {
            Allocation::Pages(pages) => pages.lend(self.start..self.start + self.len().min(most), pipe),
            Allocation::Heap(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// A part of the bytes, with the same allocation behind it.
    ///
    /// # Panics
    /// When the range begins behind its end or ends behind the bytes.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(from <= to && to <= self.len(), "bytes {from} to {to} of {}", self.len());
        Self { bytes: self.bytes.clone(), start: self.start + from, end: self.start + to }
    }

    /// Takes bytes away from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "the kernel took more than it was given");
        self.start += count;
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Allocation::Heap(bytes) => bytes,
            Allocation::Pages(pages) => pages.as_slice(),
        };
        &bytes[self.start..self.end]
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Arc<[u8]>> for SharedBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        let end = bytes.len();
        Self { bytes: Allocation::Heap(bytes), start: 0, end }
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(bytes: &[u8]) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<String> for SharedBytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for SharedBytes {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

/// Of fewer bytes a copy costs less than the calls that lend their pages.
const LENT: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_pages_are_bytes_and_only_many_are_lent() {
        let fill = |bytes: &mut [u8]| {
            bytes.iter_mut().zip((0..251).cycle()).for_each(|(byte, value)| *byte = value);
            Ok(())
        };
        let all = SharedBytes::in_pages(LENT + 1, fill).unwrap();
        let part = all.slice(2..5);
        assert_eq!((&*part, all.owners()), (&[2, 3, 4][..], 2));
        assert!(all.is_to_be_lent() && all.slice(1..).is_to_be_lent());
        assert!(!all.slice(2..).is_to_be_lent() && !SharedBytes::from(vec![0; LENT]).is_to_be_lent());
        drop(all);
        assert_eq!((part[0], part.owners()), (2, 1));
    }

    #[test]
    fn what_cannot_be_filled_is_not_made() {
        let error = SharedBytes::in_pages(10, |_| Err(io::ErrorKind::UnexpectedEof.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(SharedBytes::in_pages(0, |_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn a_part_of_a_part_has_the_same_allocation() {
        let all = SharedBytes::from("hello world");
        let part = all.slice(2..=8).slice(1..);
        assert_eq!(&*part, b"lo wor");
        assert_eq!(all.owners(), 2);
        assert!(all.slice(11..).is_empty());
    }

    #[test]
    fn every_form_of_range_and_of_bytes_is_taken() {
        let all = SharedBytes::from("hello world".to_owned());
        assert_eq!(all.slice(..5).as_ref(), b"hello");
        assert_eq!(&*all.slice((Bound::Excluded(5), Bound::Unbounded)), b"world");
        assert_eq!(all.slice(..).len(), 11);
        assert_eq!(format!("{all:?}"), "SharedBytes(11 bytes)");
    }

    #[test]
    #[should_panic(expected = "bytes 3 to 12 of 11")]
    fn a_part_beyond_the_end_is_refused() {
        let _ = SharedBytes::from("hello world").slice(3..12);
    }
}
