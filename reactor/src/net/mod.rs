//! Addresses as people write them, and the sockets that listen on them or connect to them.

pub(crate) mod address;
pub(crate) mod address_error;
pub(crate) mod connect;
pub(crate) mod datagram_options;
pub(crate) mod datagram_socket;
pub(crate) mod host;
pub(crate) mod listener;
pub(crate) mod reconnect;
pub(crate) mod socket_options;
pub(crate) mod target;

pub use address::Address;
pub use address_error::AddressError;
pub use connect::ConnectOptions;
pub use datagram_options::{DatagramOptions, MulticastGroup};
pub use datagram_socket::{DatagramSocket, interface_index};
pub use host::Host;
pub use listener::{ListenOptions, Listener};
pub use reconnect::Reconnect;
pub use socket_options::{Keepalive, SocketOptions};
pub use target::Target;
