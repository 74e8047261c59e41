//! Answers to requests, written from what is known of the file.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use reactor::{Context, Result};

use crate::access_log::ledger::{Size, Subject};
use crate::connection::HttpConnection;
use crate::entry::{Content, Entry, Representation};
use crate::feed::{Feed, Part};
use crate::hot;
use crate::http::authorization::challenge;
use crate::http::conditional::{self, Outcome, Validators};
use crate::http::cors;
use crate::http::field::Field;
use crate::http::head::{Message, ResponseHead};
use crate::http::method::Method;
use crate::http::negotiation::Coding;
use crate::http::range::{self, ByteRange, MOST_RANGES, Multipart, Selection, unsatisfied_range};
use crate::http::request::Request;
use crate::http::status::Status;
use crate::http::target::RelativePath;
use crate::http::version::Version;
use crate::listing::{CONTENT_SECURITY_POLICY, Format};
use crate::wall_clock;
use crate::worker::Worker;

type Cx<'a> = Context<'a, Worker>;

/// Answers with a file, or what of it is asked for. `kept` is the head of the request and the name under which the file is kept,
/// if it is: the next such request is answered sooner.
#[inline]
pub(crate) fn file(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    entry: &Rc<Entry>,
    kept: Option<(&[u8], &[u8])>,
) -> Result {
    let Some(form) = entry.form_for(request.field(Field::AcceptEncoding)) else {
        return message(to, cx, request, Status::NOT_ACCEPTABLE, entry.plain.choice());
    };
    let goes_on = HttpConnection::goes_on(cx, request);
    let is_common = request.method == Method::Get && request.version == Version::Http11 && goes_on;
    let is_common = is_common && cx.state().answers_are_ready();
    if is_common && !request.is_conditional() && request.field(Field::Range).is_none() {
        let head_len = ready(to, cx, entry, form)?;
        // A head that is known is not looked at, so nothing may follow it.
        if let Some((head, name)) = kept.filter(|_| request.body.is_empty()) {
            cx.state().note(head, name, entry, form);
        }
        note(to, cx, request, Status::OK, Size { head: head_len, content: form.len() });
        return to.answered(cx, true);
    }
    selected(to, cx, request, Chosen { entry, form }, goes_on)
}

/// Sends all of a form with the head that is ready; answers how long that is.
#[inline]
pub(crate) fn ready(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    entry: &Rc<Entry>,
    form: &Representation,
) -> Result<usize> {
    let date = cx.state().date();
    let sent = form.with_ready(&date, |bytes| cx.send(bytes).map(|()| bytes.len()))?;
    match form.whole_when_ready() {
        Some(content) => Ok(sent - content.len()),
        None => send_content(to, cx, Chosen { entry, form }, 0..form.len()).map(|()| sent),
    }
}

/// A file, and the form of it that is sent.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    entry: &'a Rc<Entry>,
    form: &'a Representation,
}

/// Answers by conditions and ranges.
fn selected(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    chosen: Chosen<'_>,
    goes_on: bool,
) -> Result {
    let form = chosen.form;
    let current = Validators { etag: form.etag.as_bytes(), modified: form.attributes.modified };
    match conditional::evaluate(request, Some(current)) {
        Outcome::Proceed => {}
        Outcome::NotModified => return not_modified(to, cx, request, chosen, goes_on),
        Outcome::PreconditionFailed => return message(to, cx, request, Status::PRECONDITION_FAILED, form.choice()),
    }
    let ranged = request.field(Field::Range).filter(|_| {
        request.method == Method::Get
            && conditional::range_counts(request.field(Field::IfRange), current, wall_clock::seconds())
    });
    match ranged.map_or(Selection::Whole, |ranges| range::select(ranges, form.len(), MOST_RANGES)) {
        Selection::Whole => whole(to, cx, request, chosen, goes_on),
        Selection::One(range) => one_range(to, cx, request, (chosen, range), goes_on),
        // Content-Encoding would be that of the parts together, and none of them by itself can be decoded.
        Selection::Several(_) if form.coding != Coding::Identity => whole(to, cx, request, chosen, goes_on),
        Selection::Several(ranges) => several_ranges(to, cx, request, (chosen, &ranges), goes_on),
        Selection::Unsatisfiable => {
            let value = unsatisfied_range(form.len());
            let fields = [form.choice(), &[("Content-Range", value.as_bytes())]].concat();
            message(to, cx, request, Status::RANGE_NOT_SATISFIABLE, &fields)
        }
    }
}

fn whole(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>, chosen: Chosen<'_>, goes_on: bool) -> Result {
    let form = chosen.form;
    let head = send_head(cx, request, (Status::OK, goes_on), |head| {
        head.raw(&form.validators).raw(&form.description).number("Content-Length", form.len());
    })?;
    let sent = if request.method == Method::Head { 0 } else { form.len() };
    send_content(to, cx, chosen, 0..sent)?;
    note(to, cx, request, Status::OK, Size { head, content: sent });
    to.answered(cx, goes_on)
}

fn not_modified(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    chosen: Chosen<'_>,
    goes_on: bool,
) -> Result {
    let form = chosen.form;
    let head = send_head(cx, request, (Status::NOT_MODIFIED, goes_on), |head| {
        head.raw(&form.validators);
    })?;
    note(to, cx, request, Status::NOT_MODIFIED, Size { head, content: 0 });
    to.answered(cx, goes_on)
}

fn one_range(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    (chosen, range): (Chosen<'_>, ByteRange),
    goes_on: bool,
) -> Result {
    let form = chosen.form;
    let head = send_head(cx, request, (Status::PARTIAL_CONTENT, goes_on), |head| {
        head.raw(&form.validators).raw(&form.description).number("Content-Length", range.len());
        head.field("Content-Range", range.content_range(form.len()).as_bytes());
    })?;
    send_content(to, cx, chosen, range.first..range.last + 1)?;
    note(to, cx, request, Status::PARTIAL_CONTENT, Size { head, content: range.len() });
    to.answered(cx, goes_on)
}

fn several_ranges(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    (chosen, ranges): (Chosen<'_>, &[ByteRange]),
    goes_on: bool,
) -> Result {
    let form = chosen.form;
    let boundary = boundary_of(form);
    let multipart = Multipart { boundary: &boundary, part_type: &form.media_type, length: form.len() };
    let length = multipart.content_length(ranges);
    let head = send_head(cx, request, (Status::PARTIAL_CONTENT, goes_on), |head| {
        head.raw(&form.validators).number("Content-Length", length);
        head.field("Content-Type", multipart.content_type().as_bytes());
        head.raw(b"X-Content-Type-Options: nosniff\r\n");
    })?;
    let part = |&range: &ByteRange| {
        let mut framing = Vec::new();
        multipart.write_part(&mut framing, range);
        Part { framing, range: range.first..range.last + 1 }
    };
    let mut parts: Vec<Part> = ranges.iter().map(part).collect();
    let mut end = Vec::new();
    multipart.write_end(&mut end);
    parts.push(Part { framing: end, range: 0..0 });
    send_parts(to, cx, chosen, parts)?;
    note(to, cx, request, Status::PARTIAL_CONTENT, Size { head, content: length });
    to.answered(cx, goes_on)
}

/// What separates parts: the tag of the version, which no file can hold of itself but by chance of one to 2^128.
fn boundary_of(form: &Representation) -> String {
    form.etag.as_str().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Sends a part of the content, or begins to.
#[inline]
fn send_content(to: &mut HttpConnection, cx: &mut Cx<'_>, chosen: Chosen<'_>, range: Range<u64>) -> Result {
    if range == (0..chosen.form.len()) {
        hot::note(cx, chosen.entry, chosen.form);
    }
    match &chosen.form.content {
        _ if range.is_empty() => Ok(()),
        Content::Bytes(bytes) if !Feed::suits(&chosen.form.content, cx.state().settings.bandwidth) => {
            // What is in memory can be counted in it.
            let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            cx.send_shared(bytes.slice(index(range.start)..index(range.end)))
        }
        _ => send_parts(to, cx, chosen, vec![Part { framing: Vec::new(), range }]),
    }
}

/// Begins to send parts of the content, as fast as is allowed.
fn send_parts(to: &mut HttpConnection, cx: &mut Cx<'_>, chosen: Chosen<'_>, parts: Vec<Part>) -> Result {
    let is_chosen = |form: &Representation| std::ptr::eq(form, chosen.form);
    let number = chosen.entry.representations().position(is_chosen).unwrap_or(0);
    to.begin_feed(cx, Feed::new(chosen.entry, number, parts))
}

/// Sends the redirect to the name of a directory, which ends with a slash.
pub(crate) fn redirect(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>) -> Result {
    let Ok(path) = RelativePath::decode(request.path) else {
        return status(to, cx, request, Status::BAD_REQUEST);
    };
    let mut location = path.to_location(true).into_bytes();
    if let Some(query) = request.query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    message(to, cx, request, Status::MOVED_PERMANENTLY, &[("Location", &location)])
}

/// Tells what may be done.
pub(crate) fn options(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>) -> Result {
    let allowed = allowed(cx);
    let settings = Arc::clone(&cx.state().settings);
    let goes_on = HttpConnection::goes_on(cx, request);
    let head = send_head(cx, request, (Status::NO_CONTENT, goes_on), |head| {
        head.field("Allow", allowed.as_bytes());
        if let Some(origins) = settings.answers.cors.as_ref().filter(|_| cors::is_preflight(request)) {
            origins.write_preflight(request, &allowed, head);
        }
    })?;
    note(to, cx, request, Status::NO_CONTENT, Size { head, content: 0 });
    to.answered(cx, goes_on)
}

/// Asks who it is.
pub(crate) fn unauthorized(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>) -> Result {
    message(to, cx, request, Status::UNAUTHORIZED, &[("WWW-Authenticate", challenge("files").as_bytes())])
}

/// Answers with the listing of a directory.
pub(crate) fn listing(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    (format, page): (Format, &[u8]),
) -> Result {
    let goes_on = HttpConnection::goes_on(cx, request);
    let bytes = page.len() as u64;
    if cx.state().pages + page.len() > cx.state().settings.answers.listing_memory {
        return status(to, cx, request, Status::SERVICE_UNAVAILABLE);
    }
    let head = send_head(cx, request, (Status::OK, goes_on), |head| {
        head.field("Content-Type", format.content_type().as_bytes()).number("Content-Length", bytes);
        head.field("Content-Security-Policy", CONTENT_SECURITY_POLICY.as_bytes());
        head.raw(b"Vary: Accept\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n");
    })?;
    let sent = if request.method == Method::Head { 0 } else { bytes };
    if sent > 0 {
        to.page = page.len();
        cx.state().pages += page.len();
        cx.send(page)?;
    }
    note(to, cx, request, Status::OK, Size { head, content: sent });
    to.answered(cx, goes_on)
}

/// Says that the method is known and not allowed, and which are.
pub(crate) fn not_allowed(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>) -> Result {
    let allowed = allowed(cx);
    message(to, cx, request, Status::METHOD_NOT_ALLOWED, &[("Allow", allowed.as_bytes())])
}

fn allowed(cx: &mut Cx<'_>) -> String {
    let uploads = &cx.state().settings.uploads;
    let put = if uploads.allow_upload { ", PUT" } else { "" };
    let delete = if uploads.allow_delete { ", DELETE" } else { "" };
    format!("GET, HEAD, OPTIONS{put}{delete}")
}

/// Answers with a status and no more.
pub(crate) fn status(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>, status: Status) -> Result {
    message(to, cx, request, status, &[])
}

/// Answers with a status and fields.
pub(crate) fn message(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    status: Status,
    fields: &[(&str, &[u8])],
) -> Result {
    let goes_on = to.goes_on_after(cx, request);
    let mut lines = Vec::new();
    if let Some(origins) = &cx.state().settings.answers.cors {
        origins.write(request, &mut ResponseHead::fields_only(&mut lines));
    }
    if goes_on && request.version == Version::Http10 {
        lines.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    let message = Message { status, fields, lines: &lines, head_only: request.method == Method::Head, close: !goes_on };
    let mut content = 0;
    let sent = send_written(cx, |out, date| content = message.write(out, date))?;
    note(to, cx, request, status, Size { head: sent - content, content: content as u64 });
    to.answered(cx, goes_on)
}

/// Answers what is no request: `bytes`, as far as they have come.
pub(crate) fn bare_status(to: &mut HttpConnection, cx: &mut Cx<'_>, status: Status, bytes: &[u8]) -> Result {
    let mut content = 0;
    let sent = send_written(cx, |out, date| content = Message::new(status).write(out, date))?;
    let size = Size { head: sent - content, content: content as u64 };
    cx.state().tally.answered(status, size.content);
    if cx.state().shared.access_log().is_some() {
        to.note_given(cx, Subject::Bytes(bytes), status, size);
    }
    Ok(())
}

/// Writes a head into the room of the loop and sends it; answers how long it is.
fn send_head(
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    (status, goes_on): (Status, bool),
    fields: impl FnOnce(&mut ResponseHead<'_>),
) -> Result<usize> {
    let settings = Arc::clone(&cx.state().settings);
    let origins = settings.answers.cors.as_ref();
    send_written(cx, |out, date| {
        let mut head = ResponseHead::begin(out, status);
        fields(head.date(date));
        if let Some(origins) = origins.filter(|_| !cors::is_preflight(request)) {
            origins.write(request, &mut head);
        }
        match (goes_on, request.version) {
            (false, _) => drop(head.raw(b"Connection: close\r\n")),
            (true, Version::Http10) => drop(head.raw(b"Connection: keep-alive\r\n")),
            (true, Version::Http11) => {}
        }
        head.end();
    })
}

fn send_written(cx: &mut Cx<'_>, write: impl FnOnce(&mut Vec<u8>, &crate::http::date::HttpDate)) -> Result<usize> {
    let date = cx.state().date();
    let mut room = std::mem::take(&mut cx.state().room);
    room.clear();
    write(&mut room, &date);
    let sent = cx.send(&room).map(|()| room.len());
    cx.state().room = room;
    sent
}

/// Counts an answer, and sees to it that it is logged once it is known how it ends.
#[inline]
fn note(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>, status: Status, size: Size) {
    let worker = cx.state();
    worker.tally.answered(status, size.content);
    if worker.shared.access_log().is_some() {
        to.note_given(cx, Subject::Request(request), status, size);
    }
}
