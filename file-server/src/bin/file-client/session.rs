//! All that is to be done: a queue of tasks, of which some are under way at once, each on a connection of its own. A connection
//! whose task is done serves the next one of the same server.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reactor::net::Target;
use reactor::{CloseReason, ConnectOptions, Handler, LoopContext};

use crate::download::{Part, content_digest, is_stdout};
use crate::exchange::{Exchange, Order};
use crate::failure::Failure;
use crate::listing::Listing;
use crate::location::Location;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::Report;
use crate::server::Server;
use crate::struct_put::StructPut;
use crate::task::{self, Task, What};

type Cx<'a> = LoopContext<'a, Session>;

/// The state of the loop.
pub(crate) struct Session {
    pub(crate) options: Arc<Options>,
    queue: VecDeque<Task>,
    /// Under way, or waiting to be tried again.
    active: usize,
    /// Tasks are being started: one that fails at once is followed by the next one in turn, and not from within.
    starting: bool,
    /// The user does not wait for the end.
    interrupted: bool,
    pub(crate) progress: Progress,
    report: Report,
}

/// What has come of a task.
pub(crate) enum Outcome {
    /// So many bytes were moved.
    Moved(u64),
    /// A directory was listed.
    Listed(Listing),
    /// It is elsewhere.
    Redirected(Location),
    /// What is here of the file is of no use.
    Useless,
}

impl Session {
    pub(crate) fn new(options: Options) -> Self {
        let shown = !options.quiet && !options.json;
        let report = Report::new(&options);
        let progress = Progress::new(shown);
        let (options, queue) = (Arc::new(options), VecDeque::new());
        Self { options, queue, active: 0, starting: false, interrupted: false, progress, report }
    }

    /// Tells the sums; answers whether all was done.
    pub(crate) fn finish(&mut self) -> bool {
        self.progress.clear();
        self.report.finish()
    }

    /// Begins with these tasks.
    pub(crate) fn begin(cx: &mut Cx<'_>, mut tasks: Vec<Task>) {
        let session = cx.state();
        for task in &mut tasks {
            if let What::Put { file, .. } | What::PutStruct { file, .. } = &task.what {
                task.announced = fs::metadata(file).map_or(0, |metadata| metadata.len());
                session.progress.expect(task.announced);
            }
        }
        session.progress.expect_files(tasks.iter().filter(|task| !matches!(task.what, What::Mirror { .. })).count());
        session.queue.extend(tasks);
        Self::start_more(cx);
    }

    /// Starts as many tasks as may be under way; ends the loop when there are no more.
    fn start_more(cx: &mut Cx<'_>) {
        if cx.state().interrupted || std::mem::replace(&mut cx.state().starting, true) {
            return;
        }
        while cx.state().active < cx.state().options.jobs
            && let Some(task) = cx.state().queue.pop_front()
        {
            cx.state().active += 1;
            Self::start(cx, task);
        }
        cx.state().starting = false;
        if cx.state().active == 0 {
            cx.stop();
        }
    }

    /// A task is over, and the connection on which it was done may serve the next one, if that is for the same server.
    pub(crate) fn end_and_next(
        cx: &mut Cx<'_>,
        task: Task,
        outcome: Result<(Outcome, Duration), Failure>,
        server: Option<&Server>,
    ) -> Option<(Task, Order)> {
        // What is next is taken by this connection before others are made.
        let starting = std::mem::replace(&mut cx.state().starting, true);
        Self::end(cx, task, outcome);
        let next = Self::take_next(cx, server);
        cx.state().starting = starting;
        Self::start_more(cx);
        next
    }

    fn take_next(cx: &mut Cx<'_>, server: Option<&Server>) -> Option<(Task, Order)> {
        let session = cx.state();
        // A digest has to be made first, and what must not be done twice is asked for once.
        let goes_alone = session.options.put().is_some_and(|put| put.checksum || put.no_replace);
        if goes_alone || session.interrupted || session.active >= session.options.jobs {
            return None;
        }
        while server.is_some() && cx.state().queue.front()?.server() == server {
            let task = cx.state().queue.pop_front()?;
            cx.state().active += 1;
            cx.state().progress.name(task.name());
            match Self::order(cx, &task, None) {
                Ok((_, Some(order))) => return Some((task, order)),
                Ok((_, None)) => return None,
                Err(failure) => Self::end(cx, task, Err(failure)),
            }
        }
        None
    }

    /// A task is to be done on another connection.
    pub(crate) fn again(cx: &mut Cx<'_>, task: Task) {
        cx.state().queue.push_front(task);
        Self::leave(cx);
    }

    /// The user does not wait for the end: what is under way stays where it is.
    pub(crate) fn interrupt(cx: &mut Cx<'_>) {
        let session = cx.state();
        session.interrupted = true;
        session.report.interrupted(session.queue.len() + session.active, &session.progress);
        cx.stop();
    }

    /// The terminal may have another width now.
    pub(crate) fn resize(cx: &mut Cx<'_>) {
        cx.state().progress.resize();
    }

    fn start(cx: &mut Cx<'_>, task: Task) {
        cx.state().progress.name(task.name());
        let needs_digest = cx.state().options.put().is_some_and(|put| put.checksum);
        let What::Put { file, .. } = &task.what else { return Self::connect(cx, task, None) };
        if !needs_digest {
            return Self::connect(cx, task, None);
        }
        let file = file.clone();
        let failed = task.clone();
        let begun = cx.spawn_blocking(
            move || content_digest(&file),
            move |cx, digest| match digest.map_err(Into::into).and_then(|digest| digest) {
                Ok(digest) => Self::connect(cx, task, Some(digest)),
                Err(error) => Self::end(cx, task, Err(error.into())),
            },
        );
        if let Err(error) = begun {
            Self::end(cx, failed, Err(error.into()));
        }
    }

    /// Connects to where the task is to be done.
    fn connect(cx: &mut Cx<'_>, task: Task, digest: Option<String>) {
        let connected = Self::order(cx, &task, digest).and_then(|(target, order)| {
            let options = Arc::clone(&cx.state().options);
            match order {
                Some(order) => connect(cx, target, &options, Exchange::new(task.clone(), order)),
                None => connect(cx, target, &options, StructPut::new(task.clone())?),
            }
        });
        if let Err(failure) = connected {
            Self::end(cx, task, Err(failure));
        }
    }

    /// Where to connect to, and what to ask for if it is HTTP.
    fn order(cx: &mut Cx<'_>, task: &Task, digest: Option<String>) -> Result<(Target, Option<Order>), Failure> {
        let options = Arc::clone(&cx.state().options);
        let (location, order) = match &task.what {
            What::PutStruct { to, .. } => return Ok((to.target().map_err(Failure::lasting)?, None)),
            What::Put { file, to } => {
                let file = task::open(file)?;
                let no_replace = options.put().is_some_and(|put| put.no_replace);
                (to, Order::put(to, file, digest, no_replace))
            }
            What::Get { from, to } => {
                let resumes = !task.afresh && !is_stdout(to) && options.get().is_some_and(|get| !get.no_resume);
                let part = resumes.then(|| Part::find(to, &from.to_string())).flatten();
                (from, Order::get(from, part))
            }
            What::Mirror { from, .. } | What::List { from } => (from, Order::list(from)),
        };
        Ok((location.target().map_err(Failure::lasting)?, Some(order)))
    }

    /// A task is over, for now or for good. How long it took and what it moved for nothing is told with it.
    pub(crate) fn end(cx: &mut Cx<'_>, task: Task, outcome: Result<(Outcome, Duration), Failure>) {
        if cx.state().interrupted {
            return;
        }
        match outcome {
            Ok((Outcome::Moved(bytes), took)) => {
                let session = cx.state();
                session.progress.file_done();
                session.report.transferred(&task, bytes, took, &session.progress);
            }
            Ok((Outcome::Listed(listing), _)) => return Self::listed(cx, &task, &listing),
            Ok((Outcome::Redirected(to), _)) => return Self::redirect(cx, task, to),
            Ok((Outcome::Useless, _)) => {
                cx.state().queue.push_front(Task { afresh: true, ..task });
            }
            Err(failure) if failure.passes && task.tries < cx.state().options.retries => {
                return Self::retry(cx, task, &failure);
            }
            Err(failure) => {
                let session = cx.state();
                session.progress.take_back(task.announced, 0);
                session.progress.file_done();
                session.report.failed(&task, &failure, &session.progress);
            }
        }
        Self::leave(cx);
    }

    fn leave(cx: &mut Cx<'_>) {
        cx.state().active -= 1;
        Self::start_more(cx);
    }

    /// Tries again a little later.
    fn retry(cx: &mut Cx<'_>, mut task: Task, failure: &Failure) {
        let session = cx.state();
        let delay = session.options.retry_delay.saturating_mul(1 << task.tries.min(16)).min(LONGEST_DELAY);
        session.report.retried(&task, failure, delay, &session.progress);
        task.tries += 1;
        let failed = task.clone();
        if let Err(error) = cx.run_after(delay, move |cx| Self::start(cx, task)) {
            let failed = Task { tries: u32::MAX, ..failed };
            Self::end(cx, failed, Err(error.into()));
        }
    }

    /// Asks where the server says that it is.
    fn redirect(cx: &mut Cx<'_>, mut task: Task, to: Location) {
        task.redirects += 1;
        let place = match &mut task.what {
            What::Get { from, .. } | What::Mirror { from, .. } | What::List { from } => from,
            What::Put { .. } | What::PutStruct { .. } => {
                return Self::end(cx, task, Err(Failure::lasting(format!("the server has moved it to {to}"))));
            }
        };
        if task.redirects > MOST_REDIRECTS {
            return Self::end(cx, task, Err(Failure::lasting("there are too many redirects")));
        }
        *place = to;
        cx.state().queue.push_front(task);
        Self::leave(cx);
    }

    /// A directory is shown, or all that is in it is to be fetched.
    fn listed(cx: &mut Cx<'_>, task: &Task, listing: &Listing) {
        let session = cx.state();
        let entered = match &task.what {
            What::Mirror { from, to } => session.enter(listing, from, to),
            _ => {
                listing.show(&task.source(), session.options.json);
                session.progress.file_done();
                session.report.listed();
                Ok(())
            }
        };
        let entered = match listing.truncated {
            true => entered.and(Err(Failure::lasting("the directory is too large: the server lists a part of it"))),
            false => entered,
        };
        if let Err(failure) = entered {
            session.report.failed(task, &failure, &session.progress);
        }
        Self::leave(cx);
    }

    fn enter(&mut self, listing: &Listing, from: &Location, to: &Path) -> Result<(), Failure> {
        let found = listing.found(from).map_err(Failure::lasting)?;
        fs::create_dir_all(to).map_err(|error| Failure::lasting(format!("cannot make {}: {error}", to.display())))?;
        self.progress.expect_files(found.iter().filter(|entry| !entry.is_directory).count());
        for entry in found {
            let to = to.join(entry.name);
            let task = match entry.is_directory {
                true => Task::new(What::Mirror { from: entry.from, to }),
                false => Task { announced: entry.size, ..Task::new(What::Get { from: entry.from, to }) },
            };
            self.progress.expect(task.announced);
            self.queue.push_back(task);
        }
        Ok(())
    }
}

fn connect(cx: &mut Cx<'_>, target: Target, options: &Options, handler: impl Handler<Session>) -> Result<(), Failure> {
    let connect = ConnectOptions::default().deadline(options.connect_timeout).idle_timeout(options.timeout);
    cx.connect(target, &connect, handler).map(drop).map_err(Failure::passing)
}

/// What the end of a connection means for a task that was not done by then.
pub(crate) fn failure_of(reason: &CloseReason) -> Failure {
    match reason {
        CloseReason::ConnectFailed(error) => Failure::passing(format!("cannot connect: {error}")),
        CloseReason::Eof => Failure::passing("the server closed the connection too early"),
        CloseReason::Timeout(_) => Failure::passing("the server was silent for too long"),
        reason => Failure::passing(format!("the connection broke: {reason}")),
    }
}

/// Waiting longer between two tries is no use to who waits for the end.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// More than any server needs.
const MOST_REDIRECTS: u32 = 10;
