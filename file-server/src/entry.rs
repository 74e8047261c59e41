//! A file as it is kept: open or in memory, with all that its answers say of it written down.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::sync::Arc;

use reactor::SharedBytes;

use crate::http::date::HttpDate;
use crate::http::etag::{ETag, FileState};
use crate::http::head::ResponseHead;
use crate::http::negotiation::{AcceptedCodings, Coding};
use crate::http::status::Status;
use crate::root::Attributes;
use crate::settings::Answers;
use crate::wall_clock;

/// A file and its precompressed siblings, as they were when they were opened.
#[derive(Debug)]
pub struct Entry {
    /// The file as it is.
    pub plain: Representation,
    /// The same content, compressed.
    pub compressed: Vec<Representation>,
    /// Whether a change is certain to show in its attributes, for it was last changed long before it was opened.
    pub settled: bool,
    /// Whether the kernel tells of changes and has told of none, so that it needs no asking. It is unset when the file is no
    /// longer kept.
    pub watched: Cell<bool>,
}

/// One form of a file's content.
#[derive(Clone, Debug)]
pub struct Representation {
    /// How it is compressed.
    pub coding: Coding,
    /// What it was when it was opened.
    pub attributes: Attributes,
    /// What tells this version from others.
    pub etag: ETag,
    /// Its media type.
    pub media_type: Arc<str>,
    /// Its bytes, or where they are.
    pub content: Content,
    /// The lines that go with every answer about it, 304 too.
    pub validators: Vec<u8>,
    /// The lines that go with its content.
    pub description: Vec<u8>,
    /// How often all of it was asked for since it is kept.
    pub asked: Cell<u32>,
    /// Whether another form is sent to who asks in another way.
    varies: bool,
    /// The answer to the common request, and the second whose Date it tells.
    ready: RefCell<Ready>,
}

/// The bytes of a file, or where they are.
#[derive(Clone, Debug)]
pub enum Content {
    /// A small file, in memory.
    Bytes(SharedBytes),
    /// A large one, open.
    File(Arc<File>),
}

/// A whole answer, or its head if the content is not small.
#[derive(Clone, Debug, Default)]
struct Ready {
    answer: Vec<u8>,
    date: Option<HttpDate>,
}

impl Entry {
    /// What it takes of the bounds of the cache.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.compressed.iter().map(Representation::cost).sum::<usize>() + self.plain.cost()
    }

    /// Whether any form of it is an open file, whose room on the disk may be given back when it is closed, or many pages.
    #[must_use]
    pub fn is_slow_to_drop(&self) -> bool {
        self.representations().any(|form| matches!(form.content, Content::File(_)) || form.pages().is_some())
    }

    /// The same file with the content of a form, by its number, in pages of their own.
    #[must_use]
    pub fn with_pages(&self, form: usize, pages: &SharedBytes) -> Self {
        let copy = |(number, it): (usize, &Representation)| match number == form {
            true => it.in_pages(pages.clone()),
            false => it.clone(),
        };
        let mut forms = self.representations().enumerate().map(copy);
        let plain = forms.next().unwrap_or_else(|| self.plain.clone());
        Self { plain, compressed: forms.collect(), settled: self.settled, watched: self.watched.clone() }
    }

    /// Whether pages of it wait on any connection.
    #[must_use]
    pub fn is_being_sent(&self) -> bool {
        self.representations().filter_map(Representation::pages).any(|pages| pages.owners() > 1)
    }

    /// The forms of its content, the plain one first.
    pub fn representations(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.plain).chain(&self.compressed)
    }

    /// The form of this number, in the order of [`representations`](Self::representations).
    #[inline]
    #[must_use]
    pub fn form(&self, number: usize) -> Option<&Representation> {
        match number {
            0 => Some(&self.plain),
            number => self.compressed.get(number - 1),
        }
    }

    /// The form that the client likes best of those there are; none if it takes none of them.
    #[inline]
    #[must_use]
    pub fn form_for(&self, accept_encoding: Option<&[u8]>) -> Option<&Representation> {
        if self.compressed.is_empty() {
            // It is sent as it is whatever was asked for: better than a refusal (RFC 9110, section 12.5.3).
            return Some(&self.plain);
        }
        let accepted = AcceptedCodings::of(accept_encoding);
        let find = |coding: &Coding| self.representations().find(|form| form.coding == *coding);
        accepted.as_slice().iter().find_map(find)
    }

    /// A file of these bytes, for tests.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        let attributes = Attributes {
            device: 1,
            inode: 1,
            size: bytes.len() as u64,
            modified: 0,
            modified_ns: 0,
            changed: 0,
            changed_ns: 0,
            links: 1,
        };
        let content = Content::Bytes(bytes.into());
        let style = Style { answers: &Answers::default(), varies: false };
        let plain = Representation::new(Coding::Identity, attributes, "text/plain".into(), content, &style);
        Self { plain, compressed: Vec::new(), settled: true, watched: Cell::new(true) }
    }
}

/// What the lines of a head depend on besides the file.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// How answers are made.
    pub answers: &'a Answers,
    /// Whether there is another form of the content, so that the answer depends on Accept-Encoding.
    pub varies: bool,
}

impl Representation {
    /// A form of a file's content, with the lines about it written down.
    #[must_use]
    pub fn new(
        coding: Coding,
        attributes: Attributes,
        media_type: Arc<str>,
        content: Content,
        style: &Style<'_>,
    ) -> Self {
        let etag = ETag::of(&state_of(&attributes), coding);
        let (mut validators, mut description) = (Vec::new(), Vec::new());
        write_validators(&mut validators, &attributes, &etag, style);
        write_description(&mut description, coding, &media_type);
        let ready = RefCell::new(Ready { answer: Vec::new(), date: None });
        let varies = style.varies;
        let asked = Cell::new(0);
        Self { coding, attributes, etag, media_type, content, validators, description, asked, varies, ready }
    }

    /// The same form with its content in pages of their own.
    fn in_pages(&self, pages: SharedBytes) -> Self {
        Self { content: Content::Bytes(pages), ready: RefCell::default(), ..self.clone() }
    }

    /// The field that says on what the choice of this form depends, if there is a choice. A refusal that is for this form alone
    /// has it too, and no `Cache-Control`: nobody is to keep it.
    #[must_use]
    pub fn choice(&self) -> &'static [(&'static str, &'static [u8])] {
        if self.varies { &[("Vary", b"Accept-Encoding")] } else { &[] }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.attributes.size
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `send` with the answer to a GET that wants all of it and goes on after: whole if the content is small, else the
    /// head alone. It is written once; from then on only its Date changes.
    #[inline]
    pub fn with_ready<T>(&self, date: &HttpDate, send: impl FnOnce(&[u8]) -> T) -> T {
        let mut ready = self.ready.borrow_mut();
        if ready.date != Some(*date) {
            self.renew(&mut ready, date);
        }
        send(&ready.answer)
    }

    #[cold]
    fn renew(&self, ready: &mut Ready, date: &HttpDate) {
        ready.date = Some(*date);
        if let Some(place) = ready.answer.get_mut(DATE_AT..DATE_AT + date.as_bytes().len()) {
            return place.copy_from_slice(date.as_bytes());
        }
        let mut head = ResponseHead::begin(&mut ready.answer, Status::OK);
        head.date(date).raw(&self.validators).raw(&self.description).number("Content-Length", self.len());
        head.end();
        if let Some(bytes) = self.whole_when_ready() {
            ready.answer.extend_from_slice(bytes);
        }
        ready.answer.shrink_to_fit();
    }

    /// The content, if the ready answer holds it.
    #[inline]
    #[must_use]
    pub fn whole_when_ready(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Bytes(bytes) if bytes.len() <= READY => Some(bytes),
            _ => None,
        }
    }

    /// The content, if it is in pages of its own.
    fn pages(&self) -> Option<&SharedBytes> {
        match &self.content {
            Content::Bytes(bytes) if bytes.is_in_pages() => Some(bytes),
            _ => None,
        }
    }

    fn cost(&self) -> usize {
        let content = match &self.content {
            Content::Bytes(bytes) => bytes.len() + self.whole_when_ready().map_or(0, <[u8]>::len),
            Content::File(_) => 0,
        };
        content + OVERHEAD
    }
}

/// What tells this state of a file from others.
pub(crate) fn state_of(attributes: &Attributes) -> FileState {
    let Attributes { device, inode, size, modified, modified_ns, changed, changed_ns, links: _ } = *attributes;
    FileState { device, inode, size, modified: (modified, modified_ns), changed: (changed, changed_ns) }
}

fn write_validators(out: &mut Vec<u8>, attributes: &Attributes, etag: &ETag, style: &Style<'_>) {
    write_line(out, "ETag", etag.as_bytes());
    // A time that is yet to come must not be told (RFC 9110, section 8.8.2.1), and the present one would be a guess.
    let modified = Some(attributes.modified).filter(|&modified| modified <= wall_clock::seconds());
    if let Some(modified) = modified.and_then(HttpDate::at) {
        write_line(out, "Last-Modified", modified.as_bytes());
    }
    if style.varies {
        write_line(out, "Vary", b"Accept-Encoding");
    }
    if let Some(value) = &style.answers.cache_control {
        write_line(out, "Cache-Control", value.as_bytes());
    }
}

fn write_description(out: &mut Vec<u8>, coding: Coding, media_type: &str) {
    write_line(out, "Content-Type", media_type.as_bytes());
    if let Some(name) = coding.name() {
        write_line(out, "Content-Encoding", name.as_bytes());
    }
    out.extend_from_slice(b"Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
}

/// Where the date is in an answer that begins with it: `HTTP/1.1 200 OK`, and the name of the field.
const DATE_AT: usize = "HTTP/1.1 200 OK\r\nDate: ".len();

/// Content of at most so many bytes is kept behind its head too, to be sent as one piece. Of more, the copy into the outbox of
/// the loop would cost more than a second slice in the system call.
const READY: usize = 7 << 10;

/// What a form takes besides its content: lines, the place in the maps, a descriptor.
const OVERHEAD: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_answer_tells_the_present_date() {
        let entry = Entry::of_bytes(b"hello".to_vec());
        for seconds in [784_111_777, 784_111_778] {
            let date = HttpDate::at(seconds).unwrap();
            let answer = entry.plain.with_ready(&date, |bytes| String::from_utf8(bytes.to_vec()).unwrap());
            assert!(answer.starts_with(&format!("HTTP/1.1 200 OK\r\nDate: {}\r\n", date.as_str())), "{answer}");
            assert!(answer.contains("\r\nContent-Length: 5\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        }
    }

    #[test]
    fn a_copy_in_pages_is_the_same_but_for_where_its_bytes_are() {
        let entry = Entry::of_bytes(vec![b'x'; 50_000]);
        let pages = SharedBytes::in_pages(50_000, |bytes| {
            bytes.fill(b'x');
            Ok(())
        });
        let pages = pages.unwrap();
        let copy = entry.with_pages(0, &pages);
        assert!(copy.is_slow_to_drop() && copy.is_being_sent() && !entry.is_slow_to_drop());
        drop(pages);
        assert!(!copy.is_being_sent());
        assert_eq!((copy.cost(), copy.plain.etag.as_bytes()), (entry.cost(), entry.plain.etag.as_bytes()));
    }

    #[test]
    fn the_ready_answer_of_what_is_not_small_is_its_head() {
        let entry = Entry::of_bytes(vec![b'x'; READY + 1]);
        let date = HttpDate::at(0).unwrap();
        assert!(entry.plain.with_ready(&date, |bytes| bytes.ends_with(b"\r\n\r\n")));
        assert!(entry.cost() > READY);
    }
}
