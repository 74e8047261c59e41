//! Names of groups of connections, and who is in which, on one loop.

use std::collections::HashMap;

use crate::token::Token;

/// The name of a group of connections: a room, a topic. The application gives the numbers, and they mean the same on all
/// loops of a server.
///
/// A group is there while it has members: a connection joins by [`Peer::join`](crate::Peer::join) and leaves by
/// [`Peer::leave`](crate::Peer::leave), at the latest when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u64);

/// A connection's place in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) group: Group,
    /// The index in the group's list of members.
    pub(crate) place: usize,
}

/// The members of each group that has any.
pub(crate) type Groups = HashMap<Group, Vec<Token>>;
