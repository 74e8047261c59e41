//! Ways to wake a loop from another thread, and what is asked of it there.

mod calloop;
mod desk;
mod mio;
mod reactor;
mod tokio;

use std::sync::Arc;

pub use calloop::CalloopPost;
pub use desk::{Desk, Letter};
pub use mio::MioPost;
pub use reactor::ReactorPost;
pub use tokio::TokioPost;

/// The way to a loop that runs on a thread of its own, on the server's processor; dropped, it ends that loop.
pub trait Post {
    /// Posts a letter, which the loop hands to its [`Desk`].
    fn post(&self, letter: Letter);

    /// The desk of that loop.
    fn desk(&self) -> &Arc<Desk>;

    /// Posts `count` letters and one that asks for an answer, and waits for it.
    fn burst(&self, count: u64) {
        for _ in 0..count {
            self.post(Letter::Note);
        }
        self.post(Letter::Answer);
        self.desk().wait_for_answer();
    }

    /// Has the loop busy until [`release`](Desk::release) is called on its desk.
    fn hold(&self) {
        self.post(Letter::Hold);
        self.desk().wait_until_held();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_letter_arrives(post: &impl Post) {
        post.burst(100);
        post.burst(0);
        post.hold();
        (0..50).for_each(|_| post.post(Letter::Note));
        post.desk().release();
        post.burst(0);
        assert_eq!(post.desk().notes(), 150);
    }

    #[test]
    fn every_letter_arrives_by_every_post() {
        every_letter_arrives(&ReactorPost::start().unwrap());
        every_letter_arrives(&TokioPost::start().unwrap());
        every_letter_arrives(&MioPost::start().unwrap());
        every_letter_arrives(&CalloopPost::start().unwrap());
    }
}
