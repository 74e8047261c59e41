//! What the connections of one loop share: the cache, what watches over it, and the loads under way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{ConnId, Context, JobPanic, LoopContext, Result, SharedBytes};

use crate::access_log::ledger::Unlogged;
use crate::cache::Cache;
use crate::connection::HttpConnection;
use crate::entry::{Entry, Representation};
use crate::http::date::{DateCache, HttpDate};
use crate::http::status::Status;
use crate::http::target::RelativePath;
use crate::jobs;
use crate::load::{self, Found, Loaded, Order};
use crate::memo::Memo;
use crate::root::Refusal;
use crate::settings::{Check, Settings};
use crate::shared::{Shared, Tally};
use crate::users::VerifiedUsers;
use crate::wall_clock;
use crate::watcher::{Changes, Watcher, Watches};

/// The state of one loop.
#[derive(Debug)]
pub struct Worker {
    /// What the operator has decided.
    pub settings: Arc<Settings>,
    /// What all loops share.
    pub shared: Arc<Shared>,
    /// What this loop has counted.
    pub tally: Arc<Tally>,
    /// Whether the server is about to end: every answer is the last of its connection.
    pub draining: bool,
    /// Who has shown the password lately.
    pub verified: VerifiedUsers,
    /// Bytes of pages that clients have yet to take, each written for one of them.
    pub pages: usize,
    /// Room for a head that is written now.
    pub room: Vec<u8>,
    /// Whose answers are not logged yet.
    pub(crate) unlogged: Unlogged,
    pub(crate) cache: Cache,
    memo: Memo,
    /// Whether a head alone decides on the answer: nothing is to be logged, and nobody to be known.
    memoizes: bool,
    /// None: every request asks.
    watcher: Option<Watcher>,
    /// Loads that others may join, by name, and who has joined.
    loads: HashMap<Rc<[u8]>, Vec<ConnId>>,
    dates: DateCache,
    turn: Option<Instant>,
    /// The connection that was served last.
    served: Option<ConnId>,
    /// A look at what has changed is due, whether anybody asks or not.
    looks: bool,
}

/// What came of a load, for who waited for it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The file.
    File(Rc<Entry>),
    /// A directory that was asked for as a file.
    Directory,
    /// A directory without an index.
    Listable,
    /// Something happened to the file after the load began, and the one who joined it may have known. To be asked again, alone.
    Changed,
    /// The status that says why it is not served.
    Refused(Status),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The path below the root, with a slash at the end if it was asked for as a directory.
    pub name: Rc<[u8]>,
    /// Not to be joined to a load that began before.
    pub alone: bool,
}

impl Worker {
    /// The state of a loop that has served nothing yet.
    #[must_use]
    pub fn new(settings: &Arc<Settings>, shared: &Arc<Shared>) -> Self {
        Self {
            settings: Arc::clone(settings),
            shared: Arc::clone(shared),
            tally: shared.new_tally(),
            draining: false,
            verified: VerifiedUsers::new(shared.key()),
            pages: 0,
            room: Vec::new(),
            unlogged: Unlogged::default(),
            cache: Cache::new(settings.caching),
            memo: Memo::new(),
            memoizes: settings.users.is_none() && settings.answers.cors.is_none() && settings.bandwidth == 0,
            watcher: watcher(settings.caching.check),
            loads: HashMap::new(),
            dates: DateCache::new(),
            turn: None,
            served: None,
            looks: false,
        }
    }

    /// The present second, as answers tell it.
    #[must_use]
    #[inline]
    pub fn date(&mut self) -> HttpDate {
        *self.dates.present()
    }

    /// To be called before a request is answered: what has changed by the turn in which it came is forgotten first.
    #[inline]
    pub fn begin_turn(&mut self, now: Instant) {
        if self.turn != Some(now) {
            self.turn = Some(now);
            self.dates.at(wall_clock::seconds());
            self.forget_changed();
        }
    }

    /// To be called before what came on a connection is looked at. The kernel told of all connections at once and they are read
    /// one after the other, so what one sends behind its first request may have come after the look at what has changed.
    #[inline]
    pub fn begin_reading(&mut self, id: ConnId) {
        if self.served.replace(id) == Some(id) {
            self.look_again();
        }
    }

    /// What has changed is looked at anew before the next request is answered.
    #[inline]
    pub fn look_again(&mut self) {
        self.turn = None;
    }

    /// What is kept of a name and needs no asking.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &[u8], now: Instant) -> Option<Rc<Entry>> {
        self.cache.find(name, now).filter(|entry| entry.watched.get()).cloned()
    }

    /// Whether the common answer of a file can be sent as it is: it depends on the file alone.
    #[inline]
    #[must_use]
    pub fn answers_are_ready(&self) -> bool {
        self.settings.answers.cors.is_none() && self.settings.bandwidth == 0
    }

    /// What answered the request at the start of `bytes` before, if it still does.
    #[inline]
    #[must_use]
    pub fn known(&self, bytes: &[u8], now: Instant) -> Option<(Rc<Entry>, usize, usize)> {
        if !self.memoizes || self.draining {
            return None;
        }
        let known = self.memo.find(bytes, self.cache.changes(), now)?;
        Some((Rc::clone(known.entry()), known.form(), known.head_len()))
    }

    /// A head was answered by a form of a file that is kept, and will be again.
    pub fn note(&mut self, head: &[u8], name: &[u8], entry: &Rc<Entry>, form: &Representation) {
        if self.memoizes
            && entry.watched.get()
            && self.shared.access_log().is_none()
            && let Some(until) = self.cache.kept_until(name)
        {
            self.memo.note(head, entry, form, until, self.cache.changes());
        }
    }

    fn forget_changed(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let changes = watcher.drain();
        if changes == Changes::default() {
            return;
        }
        if changes.lost {
            self.cache.clear();
        }
        for name in &changes.names {
            self.cache.remove(name);
        }
        self.memo.tidy(self.cache.changes());
        self.tally.cached(&self.cache);
    }

    /// What a worker needs to find a name, and the number of the load for the watcher.
    fn order(&mut self, name: &[u8]) -> (Order, Option<u64>) {
        let known = self.cache.get(name).map(|entry| entry.representations().map(|form| form.attributes).collect());
        let directory = name.ends_with(b"/");
        let path = Path::new(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)));
        let names = || load::names_of(&self.settings, path, directory);
        let load = self.watcher.as_mut().map(|watcher| watcher.begin(names()));
        let order = Order {
            settings: Arc::clone(&self.settings),
            spotter: self.watcher.as_ref().map(Watcher::spotter),
            name: path.to_owned(),
            directory,
            known: known.unwrap_or_default(),
        };
        (order, load)
    }

    /// A load has ended. `true`: what it brought is what the file still was at its end.
    fn settle(&mut self, name: &Rc<[u8]>, load: Option<u64>, found: Found, now: Instant) -> (Answer, bool) {
        // Before anything is kept: what happened after the file was opened is still in the queue.
        self.forget_changed();
        let ended = |watcher: &mut Watcher| load.is_some_and(|load| watcher.end(load));
        let clean = self.watcher.as_mut().is_some_and(ended);
        match found {
            Found::File(loaded) => {
                let entry = self.keep(name, *loaded, clean, now);
                let watched = entry.watched.get();
                (Answer::File(entry), watched)
            }
            Found::Same(watches) => self.keep_on(name, watches, clean, now),
            Found::Directory => (Answer::Directory, false),
            Found::Listable => (Answer::Listable, false),
            Found::Refused(refusal) => (Answer::Refused(status_of(&refusal, name)), false),
        }
    }

    /// Keeps what was loaded, if a change will be noticed: by the kernel's word, or by its attributes when it is asked for.
    fn keep(&mut self, name: &Rc<[u8]>, loaded: Loaded, clean: bool, now: Instant) -> Rc<Entry> {
        let Loaded { entry, watches } = loaded;
        let watchable = watches.are_complete();
        entry.watched.set(clean && watchable);
        let entry = Rc::new(entry);
        self.depend(name, watches, clean);
        if entry.watched.get() || (entry.settled && !watchable) {
            let gone = self.cache.insert(name, Rc::clone(&entry), now);
            gone.iter().for_each(|name| self.forget(name));
            self.memo.tidy(self.cache.changes());
        } else {
            self.cache.remove(name);
        }
        self.tally.cached(&self.cache);
        entry
    }

    /// Keeps a form of an entry in pages, if nothing has happened to the file meanwhile.
    pub(crate) fn keep_in_pages(&mut self, entry: &Rc<Entry>, form: usize, pages: &SharedBytes) {
        self.forget_changed();
        let gone = self.cache.replace(entry, Rc::new(entry.with_pages(form, pages)));
        gone.iter().flatten().for_each(|name| self.forget(name));
        self.memo.tidy(self.cache.changes());
        self.tally.cached(&self.cache);
    }

    /// What is kept is what was found.
    fn keep_on(&mut self, name: &Rc<[u8]>, watches: Watches, clean: bool, now: Instant) -> (Answer, bool) {
        let Some(entry) = self.cache.renew(name, now) else {
            self.depend(name, watches, false);
            return (Answer::Changed, false);
        };
        let watched = entry.watched.get();
        // What is watched already stays so, whatever else has happened.
        if clean || !watched {
            self.depend(name, watches, watched);
        }
        (Answer::File(entry), watched && clean)
    }

    fn depend(&mut self, name: &Rc<[u8]>, watches: Watches, clean: bool) {
        let Some(watcher) = &mut self.watcher else { return };
        if clean && watches.are_complete() {
            return watcher.depend(name, watches);
        }
        watcher.forget(name);
        watcher.release(&watches);
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(watcher) = &mut self.watcher {
            watcher.forget(name);
        }
    }
}

fn watcher(check: Check) -> Option<Watcher> {
    if check == Check::Stat {
        return None;
    }
    Watcher::new()
        .inspect_err(|error| tracing::warn!("files are looked at for every request: no inotify: {error}"))
        .ok()
}

/// Has a worker find a name; [`HttpConnection::found`] is called with what comes of it.
///
/// # Errors
/// As many jobs wait as the worker pool takes.
pub fn ask(cx: &mut Context<'_, Worker>, question: &Question) -> Result {
    let id = cx.id();
    let name = Rc::clone(&question.name);
    let worker = cx.state();
    if !question.alone
        && let Some(joined) = worker.loads.get_mut(&name)
    {
        joined.push(id);
        return Ok(());
    }
    // Without a watcher nobody can tell whether what began before is still true.
    let may_be_joined = !question.alone && worker.watcher.is_some();
    let (order, load) = worker.order(&name);
    let on_loop: &mut LoopContext<'_, Worker> = cx;
    let settled = {
        let name = Rc::clone(&name);
        move |cx: &mut LoopContext<'_, Worker>, found: std::result::Result<Found, JobPanic>| {
            let found = found.unwrap_or_else(|panic| Found::Refused(Refusal::Failed(panic.into())));
            let now = cx.now();
            let (answer, holds_for_all) = cx.state().settle(&name, load, found, now);
            let joined = if may_be_joined { cx.state().loads.remove(&name).unwrap_or_default() } else { Vec::new() };
            tell(cx, id, answer.clone());
            let answer = if holds_for_all { answer } else { Answer::Changed };
            joined.into_iter().for_each(|id| tell(cx, id, answer.clone()));
            close_retired(cx);
            look_later(cx);
        }
    };
    if let Err(error) = on_loop.spawn_blocking(move || load::load(&order), settled) {
        if let (Some(watcher), Some(load)) = (&mut cx.state().watcher, load) {
            watcher.end(load);
        }
        return Err(error);
    }
    if may_be_joined {
        cx.state().loads.insert(name, Vec::new());
    }
    Ok(())
}

/// Sees to it that files which are removed while nobody asks are closed, for they take room on the disk until then.
fn look_later(cx: &mut LoopContext<'_, Worker>) {
    let worker = cx.state();
    if worker.looks || (worker.cache.is_empty() && !worker.cache.has_retired()) {
        return;
    }
    let look = |cx: &mut LoopContext<'_, Worker>| {
        cx.state().looks = false;
        cx.state().forget_changed();
        close_retired(cx);
        look_later(cx);
    };
    // Without a timer it is done with the next request.
    cx.state().looks = cx.run_after(LOOK, look).is_ok();
}

/// Closes the files that nobody uses any more, where that may wait for a disk.
fn close_retired(cx: &mut LoopContext<'_, Worker>) {
    let retired = cx.state().cache.take_retired();
    if !retired.is_empty() {
        jobs::discard(cx, retired);
    }
}

/// Hands a connection what it waited for, if it is still there.
fn tell(cx: &mut LoopContext<'_, Worker>, id: ConnId, answer: Answer) {
    let told = cx.with(id, |connection: &mut HttpConnection, cx| connection.found(cx, answer));
    if let Some(Err(error)) = told
        && let Some(mut peer) = cx.peer(id)
    {
        tracing::debug!("a connection ends: {error}");
        peer.close();
    }
}

/// What a client is told of a refusal.
pub(crate) fn status_of(refusal: &Refusal, name: &[u8]) -> Status {
    match refusal {
        Refusal::Missing => Status::NOT_FOUND,
        Refusal::Forbidden => Status::FORBIDDEN,
        Refusal::Busy => Status::SERVICE_UNAVAILABLE,
        Refusal::Failed(error) => {
            tracing::error!("cannot serve {:?}: {error}", String::from_utf8_lossy(name));
            Status::INTERNAL_SERVER_ERROR
        }
    }
}

/// The name by which the cache knows a path: with a slash at the end if it was asked for as a directory.
#[must_use]
pub fn name_of<'a>(path: &'a RelativePath<'a>) -> Cow<'a, [u8]> {
    match path.is_directory() {
        true => Cow::Owned([path.as_bytes(), b"/"].concat()),
        false => Cow::Borrowed(path.as_bytes()),
    }
}

/// How often what has changed is looked at when nobody asks.
const LOOK: Duration = Duration::from_secs(2);
