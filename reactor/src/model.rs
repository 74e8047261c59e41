//! Threads that meet, under the model checker: every order of steps that the memory model allows. See docs/testing.md.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use crate::address::{SocketAddress, UnixName};
use crate::handle::{Errand, LoopHandle, Mail};
use crate::mailbox::{Mailbox, PostError, Postbox};
use crate::metrics::Counters;
use crate::placement::{Balance, Handover, Placement, VacancyBell, awaits_sockets};
use crate::sys::eventfd;

/// Sleeps as a loop does in `epoll_wait`: until the waker's edge, which reading takes away. `idle` says that nobody is
/// left who could wake it.
#[track_caller]
fn sleep<M>(mailbox: &Mailbox<M>, idle: impl Fn() -> bool) {
    if mailbox.sleep() {
        while eventfd::take(mailbox.waker()).is_err() {
            assert!(!idle(), "the loop sleeps, and nobody will wake it");
            thread::yield_now();
        }
        mailbox.awake();
    }
}

/// What a turn takes out of the mailbox.
fn read_mail<M>(mailbox: &mut Mailbox<M>) -> Vec<M> {
    if mailbox.has_mail() { std::iter::from_fn(|| mailbox.take()).collect() } else { Vec::new() }
}

/// Posts numbered messages from a thread for each of `counts`, and takes them as a loop does.
fn post_and_take(counts: &'static [u32]) {
    let (postbox, mut mailbox) = Mailbox::new(8).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for (thread, count) in counts.iter().enumerate() {
        let (postbox, done) = (postbox.clone(), Arc::clone(&done));
        thread::spawn(move || {
            (0..*count).for_each(|number| postbox.post((thread, number)).unwrap());
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    let mut next = vec![0; counts.len()];
    while next != counts {
        sleep(&mailbox, || done.load(Ordering::SeqCst) == counts.len());
        for (thread, number) in read_mail(&mut mailbox) {
            assert_eq!(std::mem::replace(&mut next[thread], number + 1), number);
        }
    }
    // What was counted comes out even.
    assert!(!mailbox.has_mail() && mailbox.sleep());
}

/// Runs `program` in every order in which no more than `preemptions` times a thread that could go on must wait.
fn model(preemptions: usize, program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(program);
}

#[test]
fn no_message_waits_for_a_loop_that_sleeps() {
    model(5, || post_and_take(&[2]));
    model(3, || post_and_take(&[1, 1]));
}

#[test]
fn the_bound_holds_whoever_posts() {
    model(3, || {
        let (postbox, mut mailbox) = Mailbox::new(1).unwrap();
        let post = |postbox: Postbox<()>| thread::spawn(move || postbox.post(()) != Err((PostError::Full, ())));
        let posted = [post(postbox.clone()), post(postbox)].map(|thread| usize::from(thread.join().unwrap()));
        assert_eq!(posted.iter().sum::<usize>(), 1);
        assert_eq!(read_mail(&mut mailbox).len(), 1);
    });
}

/// A loop that connections are handed to, in a server of two loops.
struct Worker {
    mailbox: Mailbox<Mail<()>>,
    counters: Arc<Counters>,
    bell: VacancyBell<()>,
    places: u64,
    /// Connections that have ended, for whoever sleeps to look at.
    ended: Arc<AtomicUsize>,
}

impl Worker {
    /// Lives until nobody hands anything over any more; each connection ends as soon as it may, and lingers.
    fn run(mut self, accepting: &AtomicUsize) {
        let bells = [self.bell];
        while awaits_sockets(&bells, &self.mailbox) {
            sleep(&self.mailbox, || accepting.load(Ordering::SeqCst) == 0);
            for mail in read_mail(&mut self.mailbox) {
                if let Mail::Errand(errand) = mail
                    && let Errand::Adopt { .. } = *errand
                {
                    self.counters.open.add(1);
                    self.counters.handed_over.add_released(1);
                }
            }
            let open = self.counters.open.get();
            assert!(open <= self.places, "{open} connections in {} places", self.places);
            for _ in 0..open {
                self.counters.lingering.add(1);
                self.counters.open.subtract_released(1);
                self.counters.lingering.subtract(1);
                bells[0].ring();
                self.ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn a_loop() -> (LoopHandle<()>, Mailbox<Mail<()>>, Arc<Counters>) {
    let (postbox, mailbox) = Mailbox::new(8).unwrap();
    let counters = Arc::<Counters>::default();
    (LoopHandle::new(postbox, Arc::clone(&counters)), mailbox, counters)
}

/// Accepts `backlog` clients for a loop with one place, as accepting.rs does: while there is no room it rests, and is
/// told when to look again.
fn hand_over(backlog: usize) {
    let (acceptor, mut own_mailbox, _) = a_loop();
    let (worker, mailbox, counters) = a_loop();
    let handover = Arc::<Handover>::default();
    let loops = [(acceptor.clone(), (0, usize::MAX)), (worker, (1, usize::MAX))];
    let mut placement = Placement::new(Balance::RoundRobin, loops, Arc::clone(&handover));
    let (ended, accepting) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let bell = VacancyBell::new(acceptor, handover);
    let worker = Worker { mailbox, counters, bell, places: 1, ended: Arc::clone(&ended) };
    let thread = thread::spawn({
        let accepting = Arc::clone(&accepting);
        move || worker.run(&accepting)
    });
    let mut accepted = 0;
    while accepted < backlog {
        if placement.has_room() {
            assert!(placement.place(a_socket().into(), &SocketAddress::Unix(UnixName::Unnamed), 0).is_none());
            accepted += 1;
        } else {
            sleep(&own_mailbox, || ended.load(Ordering::SeqCst) == accepted);
            read_mail(&mut own_mailbox);
        }
    }
    placement.end();
    accepting.store(0, Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), backlog, "a connection was lost on its way");
}

fn a_socket() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn a_place_that_becomes_free_is_filled_and_none_is_filled_twice() {
    model(3, || hand_over(2));
}
