//! Addresses as people write them, and the sockets that listen on them or connect to them.

pub(crate) mod address;
pub(crate) mod address_error;
pub(crate) mod connect;
pub(crate) mod host;
pub(crate) mod listener;
pub(crate) mod reconnect;
pub(crate) mod target;

pub use address::Address;
pub use address_error::AddressError;
pub use connect::ConnectOptions;
pub use host::Host;
pub use listener::{ListenOptions, Listener};
pub use reconnect::Reconnect;
pub use target::Target;
