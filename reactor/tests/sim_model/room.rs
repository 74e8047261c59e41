//! Groups in the model: one room, of which each member gets the same stream from the place on at which it joins.

use std::cell::RefCell;
use std::rc::Rc;

use reactor::{Group, LoopContext};

use crate::ledger::Ledger;
use crate::pattern::Pattern;
use crate::subject::Shared;

pub(crate) const ROOM: Group = Group(7);
pub(crate) const STREAM: Pattern = Pattern(5000);

/// Broadcasts so many bytes of the room's stream.
pub(crate) fn broadcast(cx: &mut LoopContext<'_, Shared>, count: usize) {
    let ledger: Rc<RefCell<Ledger>> = Rc::clone(&cx.state().ledger);
    let place = ledger.borrow().room;
    ledger.borrow_mut().room += count;
    let room = ledger.borrow().room;
    for account in &mut ledger.borrow_mut().accounts {
        if let Some(since) = account.member_since.filter(|_| account.closed.is_none()) {
            account.offered = room - since;
        }
    }
    cx.broadcast(ROOM, STREAM.bytes(place, count)).expect("there are no other loops");
}
