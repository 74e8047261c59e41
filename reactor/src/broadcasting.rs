//! Groups in the engine: joining, leaving, and telling all members the same.

use std::io;
use std::mem;

use crate::engine::{Engine, gone};
use crate::group::{Group, Membership};
use crate::output::Piece;
use crate::shared_bytes::SharedBytes;
use crate::token::Token;

impl Engine {
    /// Enters a connection into a group; a second time changes nothing.
    pub(crate) fn join(&mut self, token: Token, group: Group) -> io::Result<()> {
        let most = self.limits.groups_per_connection;
        let Some(connection) = self.connection_mut(token) else { return Err(gone()) };
        if connection.memberships().iter().any(|membership| membership.group == group) {
            return Ok(());
        }
        if connection.memberships().len() >= most {
            let message =
                format!("the connection is in {most} groups, as many as Limits::groups_per_connection allows");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        let members = self.groups.entry(group).or_default();
        let membership = Membership { group, place: members.len() };
        members.push(token);
        if let Some(connection) = self.connection_mut(token) {
            connection.change_memberships(|memberships| memberships.push(membership));
        }
        Ok(())
    }

    /// Takes a connection out of a group; `false` if it was not in.
    pub(crate) fn leave(&mut self, token: Token, group: Group) -> bool {
        let Some(connection) = self.connection_mut(token) else { return false };
        let Some(index) = connection.memberships().iter().position(|membership| membership.group == group) else {
            return false;
        };
        let membership = connection.change_memberships(|memberships| memberships.swap_remove(index));
        self.give_up(membership);
        true
    }

    /// Takes a connection that has ended out of its groups.
    pub(crate) fn leave_all(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.memberships().is_empty() {
            return;
        }
        let memberships = connection.change_memberships(mem::take);
        memberships.into_iter().for_each(|membership| self.give_up(membership));
    }

    /// Fills the place in a group with its last member.
    fn give_up(&mut self, Membership { group, place }: Membership) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        members.swap_remove(place);
        let moved = members.get(place).copied();
        if members.is_empty() {
            self.groups.remove(&group);
        }
        if let Some(connection) = moved.and_then(|token| self.connection_mut(token)) {
            connection.change_memberships(|memberships| {
                if let Some(membership) = memberships.iter_mut().find(|membership| membership.group == group) {
                    membership.place = place;
                }
            });
        }
    }

    /// Sends to all members of a group on this loop but one; the bytes are not copied.
    pub(crate) fn broadcast(&mut self, group: Group, bytes: &SharedBytes, except: Option<Token>) {
        // Nobody leaves meanwhile: what ends by this is taken out at the end of the turn.
        let Some(members) = self.groups.get_mut(&group).map(mem::take) else { return };
        for &token in members.iter().filter(|&&token| Some(token) != except) {
            // A member that cannot take it is closing, or is closed for it and hears of that.
            let _ = self.send_piece(token, Piece::Shared(bytes.clone()));
        }
        self.groups.insert(group, members);
    }
}
