//! Content that is asked for again and again is put in pages of its own, which the kernel is lent in place of a copy.

use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use reactor::{Context, JobPanic, LoopContext, SharedBytes};

use crate::entry::{Content, Entry, Representation};
use crate::root::Attributes;
use crate::worker::Worker;

/// All of a form is sent once more. When that has happened often, a worker puts its content in pages.
pub(crate) fn note(cx: &mut Context<'_, Worker>, entry: &Rc<Entry>, form: &Representation) {
    let asked = form.asked.get().wrapping_add(1);
    form.asked.set(asked);
    if asked == HOT
        && form.suits_pages()
        && let Err(Refused) = put_in_pages(cx, entry, form)
    {
        // It may be possible later.
        form.asked.set(0);
    }
}

/// There is no room for pages, or nobody to make them.
struct Refused;

fn put_in_pages(cx: &mut LoopContext<'_, Worker>, entry: &Rc<Entry>, form: &Representation) -> Result<(), Refused> {
    let length = usize::try_from(form.len()).map_err(|_| Refused)?;
    let worker = cx.state();
    // Who is sent to slowly gets pieces of which a copy costs as little.
    let is_slow = worker.settings.bandwidth > 0;
    if is_slow || !entry.watched.get() || !worker.cache.has_room_for_pages(length) {
        return Err(Refused);
    }
    let number = entry.representations().position(|it| std::ptr::eq(it, form)).ok_or(Refused)?;
    let (content, attributes, entry) = (form.content.clone(), form.attributes, Rc::clone(entry));
    let made = move |cx: &mut LoopContext<'_, Worker>, pages: Result<io::Result<SharedBytes>, JobPanic>| match pages {
        Ok(Ok(pages)) => cx.state().keep_in_pages(&entry, number, &pages),
        Ok(Err(error)) => tracing::debug!("a file stays where it is: {error}"),
        Err(panic) => tracing::error!("a file was not put in pages: {panic}"),
    };
    cx.spawn_blocking(move || in_pages(&content, &attributes, length), made).map_err(|_| Refused)
}

/// The content in pages, all of the version that is known. Waits for the disk.
fn in_pages(content: &Content, attributes: &Attributes, length: usize) -> io::Result<SharedBytes> {
    let file = match content {
        Content::File(file) => file,
        Content::Bytes(bytes) => {
            return SharedBytes::in_pages(length, |pages| {
                pages.copy_from_slice(bytes);
                Ok(())
            });
        }
    };
    let pages = SharedBytes::in_pages(length, |pages| file.read_exact_at(pages, 0))?;
    let (_, now) = Attributes::of(&**file).map_err(|_| io::Error::other("its attributes cannot be read"))?;
    match now.is_same_content(attributes) {
        true => Ok(pages),
        false => Err(io::Error::other("it was written to")),
    }
}

impl Representation {
    /// Whether it is of a size for which pages pay, and is not in pages.
    fn suits_pages(&self) -> bool {
        let is_in_pages = matches!(&self.content, Content::Bytes(bytes) if bytes.is_in_pages());
        (LEAST..=MOST).contains(&self.len()) && !is_in_pages
    }
}

/// How often a form is asked for before it is put in pages. It takes as long as some fifty answers gain by it.
const HOT: u32 = 64;

/// Of less the kernel makes a copy anyway.
const LEAST: u64 = 32 << 10;

/// More would be much memory for few files. Of large ones, sendfile(2) takes a quarter more of the processor.
const MOST: u64 = 1 << 20;
