//! What operators and load balancers ask: figures for Prometheus at /metrics, and whether all is well at /health.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use program::proxy_refusals::ProxyRefusals;
use reactor::{Context, Handler, Input, Result};

use crate::connection::LIMITS;
use crate::http::head::{Message, ResponseHead};
use crate::http::method::Method;
use crate::http::request::{self, Request};
use crate::http::status::Status;
use crate::shared::{Totals, UploadCounts};
use crate::worker::Worker;

/// A connection of one who asks. It is closed after the answer, so that it holds nobody up in a drain.
#[derive(Debug)]
pub struct MetricsConnection;

impl Handler<Worker> for MetricsConnection {
    fn on_data(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        let mut out = Vec::new();
        let now = cx.now();
        // Nobody else may have asked this loop lately, and then it does not know the time.
        cx.state().begin_turn(now);
        let date = cx.state().date();
        match request::parse(input.as_slice(), &LIMITS) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => answer(cx, &request, &mut out),
            Err(status) => drop(Message::new(status).write(&mut out, &date)),
        }
        input.take();
        cx.send(&out)?;
        cx.close_after_flush()
    }
}

fn answer(cx: &mut Context<'_, Worker>, request: &Request<'_>, out: &mut Vec<u8>) {
    let date = cx.state().date();
    let head_only = request.method == Method::Head;
    let (status, page) = match request.path {
        _ if !request.method.is_retrieval() => (Status::METHOD_NOT_ALLOWED, String::new()),
        b"/metrics" => (Status::OK, figures(cx.state())),
        b"/health" if cx.state().draining => (Status::SERVICE_UNAVAILABLE, String::new()),
        b"/health" => (Status::OK, "ok\n".to_owned()),
        _ => (Status::NOT_FOUND, String::new()),
    };
    if status != Status::OK {
        Message { head_only, fields: &[("Allow", b"GET, HEAD")], ..Message::new(status) }.write(out, &date);
        return;
    }
    let mut head = ResponseHead::begin(out, status);
    head.date(&date).number("Content-Length", page.len() as u64);
    head.raw(
        b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\nConnection: close\r\n",
    );
    head.end();
    if !head_only {
        out.extend_from_slice(page.as_bytes());
    }
}

/// All figures in the text format of Prometheus: those of the files, and the library's of each loop.
fn figures(worker: &Worker) -> String {
    let mut text = String::new();
    write_requests(&mut text, &worker.shared.totals());
    write_uploads(&mut text, &worker.shared.struct_uploads);
    write_proxy_refusals(&mut text, &worker.shared.proxy_refusals);
    describe(&mut text, "build_info", "gauge", "The version that runs.");
    write_figure(&mut text, concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    if let Some(server) = worker.shared.server() {
        text.push_str(&server.prometheus_text("file_server"));
    }
    text
}

fn write_requests(text: &mut String, totals: &Totals) {
    describe(text, "http_requests_total", "counter", "Requests answered, by class of status.");
    for (class, count) in totals.by_status.iter().enumerate() {
        write_figure(text, &format!("http_requests_total{{status=\"{}xx\"}}", class + 1), *count);
    }
    figure(text, "http_body_bytes_total", "counter", "Bytes of content sent or being sent.", totals.body_bytes);
    describe(text, "cache_lookups_total", "counter", "Requests for files, by whether the cache answered.");
    write_figure(text, "cache_lookups_total{result=\"hit\"}", totals.cache_hits);
    write_figure(text, "cache_lookups_total{result=\"miss\"}", totals.cache_misses);
    figure(text, "cache_files", "gauge", "Files that are kept.", totals.cached_files);
    figure(text, "cache_bytes", "gauge", "Bytes that are kept.", totals.cached_bytes);
}

fn write_uploads(text: &mut String, counts: &UploadCounts) {
    describe(text, "struct_uploads_total", "counter", "Uploads by the struct protocol, by how they ended.");
    for (result, count) in [("stored", &counts.stored), ("failed", &counts.failed)] {
        write_figure(text, &format!("struct_uploads_total{{result=\"{result}\"}}"), count.load(Ordering::Relaxed));
    }
}

fn write_proxy_refusals(text: &mut String, refusals: &ProxyRefusals) {
    describe(text, "proxy_headers_refused_total", "counter", "Connections closed for want of a PROXY header, by why.");
    for (why, count) in refusals.counts() {
        write_figure(text, &format!("proxy_headers_refused_total{{reason=\"{}\"}}", why.name()), count);
    }
}

fn figure(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    describe(text, name, kind, help);
    write_figure(text, name, value);
}

fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    // A string takes all that is written to it.
    let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
}

fn write_figure(text: &mut String, name: &str, value: u64) {
    // A string takes all that is written to it.
    let _ = writeln!(text, "{PREFIX}{name} {value}");
}

const PREFIX: &str = "file_server_";
