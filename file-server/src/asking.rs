//! A request for what is kept, or for what a worker has to look for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use reactor::{Context, Result};

use crate::answer;
use crate::connection::{HttpConnection, LIMITS, Phase};
use crate::http::field::Field;
use crate::http::request::{self, Request};
use crate::http::status::Status;
use crate::http::target::{RelativePath, query_value};
use crate::jobs;
use crate::listing::sorting::Sorting;
use crate::listing::{Format, Listing};
use crate::load;
use crate::settings::Settings;
use crate::worker::{self, Answer, Question, Worker};

/// A request that waits for a worker.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its head, to be read again when the answer is there.
    head: Vec<u8>,
    question: Question,
    /// The name was not found, and the index of the root is to answer.
    falls_back: bool,
}

impl HttpConnection {
    #[inline]
    pub(crate) fn retrieve(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: &[u8]) -> Result {
        let Ok(path) = RelativePath::decode(request.path) else {
            return answer::status(self, cx, request, Status::BAD_REQUEST);
        };
        if request.query.is_some_and(asks_for_listing) && path.is_directory() && cx.state().settings.answers.listing {
            return self.list(cx, request, head.to_vec());
        }
        let name = worker::name_of(&path);
        let now = cx.now();
        let worker = cx.state();
        if let Some(entry) = worker.find(&name, now) {
            worker.tally.looked_up(true);
            return answer::file(self, cx, request, &entry, Some((head, &name)));
        }
        worker.tally.looked_up(false);
        let question = Question { name: name.as_ref().into(), alone: false };
        self.ask(cx, request, Asked { head: head.to_vec(), question, falls_back: false })
    }

    /// Has a worker look for what is asked, and waits.
    fn ask(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, asked: Asked) -> Result {
        if let Err(error) = worker::ask(cx, &asked.question) {
            tracing::warn!("a request is refused: {error}");
            return answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE);
        }
        self.asked = Some(Box::new(asked));
        self.wait(cx);
        Ok(())
    }

    /// A worker has found what this connection waits for.
    ///
    /// # Errors
    /// As of every callback.
    pub fn found(&mut self, cx: &mut Context<'_, Worker>, found: Answer) -> Result {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let Asked { head, mut question, falls_back } = *asked;
        // It was read once, and is read the same way again.
        let Ok(Some(request)) = request::parse(&head, &LIMITS) else { return Ok(()) };
        self.phase = Phase::Reading;
        let now = cx.now();
        cx.state().begin_turn(now);
        match found {
            Answer::Changed => {
                question.alone = true;
                self.ask(cx, &request, Asked { head: head.clone(), question, falls_back })?;
            }
            Answer::Refused(Status::NOT_FOUND) if !falls_back && self.may_fall_back(cx, &question) => {
                let question = Question { name: Rc::from(&b"/"[..]), alone: false };
                self.ask(cx, &request, Asked { head: head.clone(), question, falls_back: true })?;
            }
            Answer::File(entry) => answer::file(self, cx, &request, &entry, None)?,
            Answer::Directory => answer::redirect(self, cx, &request)?,
            Answer::Listable if cx.state().settings.answers.listing => self.list(cx, &request, head.clone())?,
            Answer::Listable => answer::status(self, cx, &request, Status::FORBIDDEN)?,
            Answer::Refused(status) => answer::status(self, cx, &request, status)?,
        }
        self.read_on(cx)
    }

    /// Whether a name that does not exist may be a route of the application: names of files, which have a dot, are not.
    fn may_fall_back(&self, cx: &mut Context<'_, Worker>, question: &Question) -> bool {
        let last = question.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        cx.state().settings.answers.spa && !last.contains(&b'.')
    }

    /// Has a worker list a directory.
    fn list(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: Vec<u8>) -> Result {
        let (settings, path) = (Arc::clone(&cx.state().settings), request.path.to_vec());
        let sorting = Sorting::of(request.query);
        let format = Format::of(request.query, request.field(Field::Accept));
        let job = move |()| write_listing(&settings, &path, sorting, format);
        let done = move |it: &mut Self, cx: &mut Context<'_, Worker>, page: std::result::Result<Vec<u8>, Status>| {
            let Ok(Some(request)) = request::parse(&head, &LIMITS) else { return Ok(()) };
            it.phase = Phase::Reading;
            match page {
                Ok(page) => answer::listing(it, cx, &request, (format, &page))?,
                Err(status) => answer::status(it, cx, &request, status)?,
            }
            it.read_on(cx)
        };
        match jobs::run_for(cx, (), job, done) {
            Ok(()) => self.wait(cx),
            Err(()) => answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE)?,
        }
        Ok(())
    }
}

/// Whether a listing is wanted by name: programs want it of directories that have an index, too.
fn asks_for_listing(query: &[u8]) -> bool {
    matches!(query_value(query, "format").as_deref(), Some(b"json" | b"html"))
}

/// The listing of a directory, written. Waits for the disk.
fn write_listing(
    settings: &Settings,
    path: &[u8],
    sorting: Sorting,
    format: Format,
) -> std::result::Result<Vec<u8>, Status> {
    let path = RelativePath::decode(path).map_err(|_| Status::BAD_REQUEST)?;
    let name = Path::new(OsStr::from_bytes(path.as_bytes()));
    let found = load::list(&settings.root, name);
    let (entries, is_truncated) = found.map_err(|refusal| worker::status_of(&refusal, path.as_bytes()))?;
    let mut listing = Listing::new(&path, entries, sorting);
    listing.is_truncated = is_truncated;
    Ok(listing.to_bytes(format))
}
