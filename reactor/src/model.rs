//! Threads that meet, under the model checker: every order of steps that the memory model allows. See docs/testing.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use crate::mailbox::{Mailbox, PostError, Postbox};

/// Sleeps as a loop does in `epoll_wait`: until the waker's edge, which reading takes away. `idle` says that nobody is
/// left who could wake it.
#[track_caller]
fn sleep<M>(mailbox: &Mailbox<M>, idle: impl Fn() -> bool) {
    if mailbox.sleep() {
        while rustix::io::read(mailbox.waker(), &mut [0; 8]).is_err() {
            assert!(!idle(), "the loop sleeps, and nobody will wake it");
            thread::yield_now();
        }
        mailbox.awake();
    }
}

/// What a turn takes out of the mailbox.
fn read_mail<M>(mailbox: &Mailbox<M>) -> Vec<M> {
    if mailbox.has_mail() { std::iter::from_fn(|| mailbox.take()).collect() } else { Vec::new() }
}

/// Posts numbered messages from a thread for each of `counts`, and takes them as a loop does.
fn post_and_take(counts: &'static [u32]) {
    let (postbox, mailbox) = Mailbox::new(8).unwrap();
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
        for (thread, number) in read_mail(&mailbox) {
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
fn the_bound_is_passed_by_no_more_than_one_message_a_thread() {
    model(3, || {
        let (postbox, mailbox) = Mailbox::new(1).unwrap();
        let post = |postbox: Postbox<()>| thread::spawn(move || postbox.post(()) != Err((PostError::Full, ())));
        let posted = [post(postbox.clone()), post(postbox)].map(|thread| usize::from(thread.join().unwrap()));
        assert!(posted.iter().sum::<usize>() >= 1);
        assert_eq!(read_mail(&mailbox).len(), posted.iter().sum());
    });
}
