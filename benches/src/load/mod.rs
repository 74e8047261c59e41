//! The load that all servers get: one thread, nonblocking sockets, an epoll loop of its own.

mod churn;
mod closed_loop;
mod connect;
mod watcher;

pub use churn::Churn;
pub use closed_loop::{ClosedLoop, Shape};
pub use connect::connect;
