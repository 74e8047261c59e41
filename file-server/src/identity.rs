//! Who sends a request: a password is looked at by a worker, for that takes long, and then remembered.

use std::io::Error;
use std::sync::Arc;

use reactor::{Context, Result};

use crate::answer;
use crate::connection::{HttpConnection, LIMITS, Phase};
use crate::http::authorization::Credentials;
use crate::http::field::Field;
use crate::http::request::{self, Request};
use crate::http::status::Status;
use crate::jobs;
use crate::users::Users;
use crate::worker::Worker;

impl HttpConnection {
    /// Whether the request is of a known user. If not, the answer is given; if nobody knows yet, a worker finds out.
    pub(crate) fn admits(
        &mut self,
        cx: &mut Context<'_, Worker>,
        users: &Arc<Users>,
        request: &Request<'_>,
        head: &[u8],
    ) -> std::result::Result<bool, Error> {
        let Some(credentials) = request.field(Field::Authorization).and_then(Credentials::parse) else {
            return answer::unauthorized(self, cx, request).map(|()| false);
        };
        if cx.state().verified.contains(&credentials) {
            return Ok(true);
        }
        let head = head.to_vec();
        let job = |(users, credentials): (Arc<Users>, Credentials)| users.verify(&credentials).then_some(credentials);
        let done = move |it: &mut Self, cx: &mut Context<'_, Worker>, shown| it.verified(cx, &head, shown);
        match jobs::run_for(cx, (Arc::clone(users), credentials), job, done) {
            Ok(()) => self.wait(cx),
            Err(_) => answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE)?,
        }
        Ok(false)
    }

    /// A worker has looked at a password.
    fn verified(&mut self, cx: &mut Context<'_, Worker>, head: &[u8], shown: Option<Credentials>) -> Result {
        let Ok(Some(request)) = request::parse(head, &LIMITS) else { return Ok(()) };
        self.phase = Phase::Reading;
        match shown {
            Some(credentials) => {
                cx.state().verified.insert(&credentials);
                self.serve(cx, &request, head)?;
            }
            None => answer::unauthorized(self, cx, &request)?,
        }
        self.read_on(cx)
    }
}
