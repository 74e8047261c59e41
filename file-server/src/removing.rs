//! DELETE: a file is removed, if the conditions of the request hold for it (RFC 9110, section 9.3.5).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reactor::{Context, Result};

use crate::answer;
use crate::connection::HttpConnection;
use crate::http::request::Request;
use crate::http::status::Status;
use crate::http::target::RelativePath;
use crate::jobs;
use crate::receiving::{may_proceed, name_of, read_again, status_of_error};
use crate::root::Refusal;
use crate::settings::Settings;
use crate::storage::Removed;
use crate::worker::Worker;

/// What is to be removed.
struct Order {
    settings: Arc<Settings>,
    /// To be read again when the answer is due.
    head: Arc<[u8]>,
    name: PathBuf,
}

/// Has a worker remove what is asked for.
pub(crate) fn begin(
    to: &mut HttpConnection,
    cx: &mut Context<'_, Worker>,
    request: &Request<'_>,
    head: &[u8],
) -> Result {
    let Ok(path) = RelativePath::decode(request.path) else {
        return answer::status(to, cx, request, Status::BAD_REQUEST);
    };
    if path.is_directory() {
        return answer::status(to, cx, request, Status::CONFLICT);
    }
    let settings = Arc::clone(&cx.state().settings);
    let order = Order { settings, head: head.into(), name: PathBuf::from(Path::new(name_of(&path))) };
    if jobs::run_for(cx, order, remove, removed).is_err() {
        return answer::status(to, cx, request, Status::SERVICE_UNAVAILABLE);
    }
    to.wait(cx);
    Ok(())
}

fn remove(order: Order) -> (Arc<[u8]>, Status) {
    let Order { settings, head, name } = order;
    let status = match settings.root.parent(&name) {
        Err(Refusal::Missing) => Status::NOT_FOUND,
        Err(Refusal::Forbidden) => Status::FORBIDDEN,
        Err(Refusal::Busy) => Status::SERVICE_UNAVAILABLE,
        Err(Refusal::Failed(error)) => status_of_error(&error, &name),
        Ok((directory, last)) => {
            match settings.storage.remove(&directory, last, |present| may_proceed(&head, present)) {
                Ok(Removed::Gone) => Status::NO_CONTENT,
                Ok(Removed::Missing) => Status::NOT_FOUND,
                Ok(Removed::Refused) => Status::PRECONDITION_FAILED,
                Err(error) => status_of_error(&error, &name),
            }
        }
    };
    (head, status)
}

fn removed(to: &mut HttpConnection, cx: &mut Context<'_, Worker>, (head, status): (Arc<[u8]>, Status)) -> Result {
    let now = cx.now();
    cx.state().begin_turn(now);
    let Some(request) = read_again(&head) else { return Ok(()) };
    answer::status(to, cx, &request, status)?;
    to.go_on(cx);
    Ok(())
}
