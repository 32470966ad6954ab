//! Which connections there are, what each waits for, and since when.
//!
//! One slab. Each entry carries two 32-bit links, and each [`Phase`] is a list through the slab,
//! oldest first, with a count. All connections of a phase have the same limit, so "sorted by
//! deadline" is "in order of arrival", and arrival is always at the tail. To enter, to leave and
//! to count cost the same whatever the number; to expire costs what expires; to drain the idle
//! costs the idle; the oldest blockers of a drain are the list heads. No timer heap, no sweep.
//!
//! Keys of the slab are reused at once, last in first out. A [`ConnId`] therefore carries the
//! number of the accept as well: a stale event or a late answer names a connection that is gone,
//! and finds nobody.
//!
//! Some phases have no limit, and moments compare only within 24 days: [`Tracker::cap_ages`],
//! called now and then, keeps whoever waits for longer in order.
//!
//! No HTTP, no sockets, no clock.

use std::fmt;
use std::mem;

use slab::Slab;

use crate::list::{Linked, Links, List, NIL};
use crate::tick::{MAX_LIMIT, MAX_MILLIS, Tick};

/// Names one connection for ever: the slab key, and the number of the accept. Also its mio token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId(u64);

impl ConnId {
    const fn new(serial: u32, key: u32) -> Self {
        Self((serial as u64) << 32 | key as u64)
    }

    /// The id as one number, for a token.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The id of a token. A number that was never an id names nobody.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number of the accept, modulo 2³².
    pub const fn serial(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn key(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}@{}", self.serial(), self.key())
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Its first byte: nothing was received yet.
    Fresh,
    /// Its next request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// The application's answer, or the next piece of one.
    Handler,
    /// The peer, to take the bytes it is owed.
    Reply,
    /// The peer's FIN, after ours: it is being read out.
    Linger,
    /// Either side of an upgraded connection.
    Tunnel,
}

impl Phase {
    /// How many phases there are.
    pub const COUNT: usize = 8;

    /// Every phase, in the order of a connection's life.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Fresh,
        Self::Idle,
        Self::Head,
        Self::Body,
        Self::Handler,
        Self::Reply,
        Self::Linger,
        Self::Tunnel,
    ];

    /// The phase's name in lines and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Body => "body",
            Self::Handler => "handler",
            Self::Reply => "reply",
            Self::Linger => "linger",
            Self::Tunnel => "tunnel",
        }
    }
}

/// How many connections are in each phase, indexed by `phase as usize`.
pub type Counts = [u32; Phase::COUNT];

#[derive(Debug)]
struct Entry<T> {
    links: Links,
    since: Tick,
    serial: u32,
    phase: Phase,
    value: T,
}

impl<T> Linked for Entry<T> {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The connections, in a list per phase, oldest first.
#[derive(Debug)]
pub struct Tracker<T> {
    slab: Slab<Entry<T>>,
    lists: [List; Phase::COUNT],
    serial: u32,
}

impl<T> Default for Tracker<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Tracker<T> {
    /// What one connection costs, in bytes.
    pub const ENTRY_SIZE: usize = size_of::<Entry<T>>();

    /// An empty tracker that has allocated nothing.
    pub const fn new() -> Self {
        Self {
            slab: Slab::new(),
            lists: [List::EMPTY; Phase::COUNT],
            serial: 0,
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Adds a connection at the young end of a phase and names it.
    ///
    /// `now` must not be earlier than at the last call, as for [`Tracker::enter`].
    ///
    /// # Panics
    ///
    /// At 2³² - 1 connections, which no process can hold.
    pub fn insert(&mut self, phase: Phase, now: Tick, value: T) -> ConnId {
        let vacant = self.slab.vacant_entry();
        let key = u32::try_from(vacant.key()).unwrap_or(NIL);
        assert!(key < NIL, "more connections than a key can name");
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        vacant.insert(Entry {
            links: Links::NONE,
            since: now,
            serial,
            phase,
            value,
        });
        self.lists[phase as usize].append(&mut self.slab, key);
        ConnId::new(serial, key)
    }

    /// The value of a connection, if it is still here.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        self.entry(id).map(|entry| &entry.value)
    }

    /// The value of a connection, if it is still here.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.slab.get_mut(id.key() as usize) {
            Some(entry) if entry.serial == id.serial() => Some(&mut entry.value),
            _ => None,
        }
    }

    /// What a connection waits for and its value, if it is still here.
    #[inline]
    pub fn get_with_phase(&mut self, id: ConnId) -> Option<(Phase, &mut T)> {
        match self.slab.get_mut(id.key() as usize) {
            Some(entry) if entry.serial == id.serial() => Some((entry.phase, &mut entry.value)),
            _ => None,
        }
    }

    /// What a connection waits for, if it is still here.
    pub fn phase(&self, id: ConnId) -> Option<Phase> {
        self.entry(id).map(|entry| entry.phase)
    }

    /// Since when it waits for that.
    pub fn since(&self, id: ConnId) -> Option<Tick> {
        self.entry(id).map(|entry| entry.since)
    }

    /// Moves a connection to the young end of a phase and restarts its clock, also when it is in
    /// that phase already. Returns whether it is still here.
    ///
    /// `now` must not be earlier than at the last call: the lists are in order because time is.
    #[inline]
    pub fn enter(&mut self, id: ConnId, phase: Phase, now: Tick) -> bool {
        let key = id.key();
        let Some(entry) = self.slab.get_mut(key as usize) else {
            return false;
        };
        if entry.serial != id.serial() {
            return false;
        }
        entry.since = now;
        let left = entry.phase;
        if left == phase && entry.links.next == NIL {
            return true; // the youngest already
        }
        // The target's tail is never this entry, so that one look at the entry is enough.
        let links = self.lists[phase as usize].push(key);
        let gap = mem::replace(&mut entry.links, links);
        entry.phase = phase;
        if links.prev != NIL {
            self.slab[links.prev as usize].links.next = key;
        }
        self.lists[left as usize].close_gap(&mut self.slab, gap);
        true
    }

    /// Forgets a connection and gives its value back.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let phase = self.entry(id)?.phase;
        self.lists[phase as usize].unlink(&mut self.slab, id.key());
        Some(self.slab.remove(id.key() as usize).value)
    }

    /// How many connections are in a phase.
    pub const fn count(&self, phase: Phase) -> u32 {
        self.lists[phase as usize].len()
    }

    /// How many connections are in each phase.
    pub fn counts(&self) -> Counts {
        self.lists.map(|list| list.len())
    }

    /// The connection that is in a phase for longest, and since when.
    pub fn oldest(&self, phase: Phase) -> Option<(ConnId, Tick)> {
        let key = self.lists[phase as usize].head();
        let entry = self.slab.get(key as usize)?;
        Some((ConnId::new(entry.serial, key), entry.since))
    }

    /// The connections of a phase, oldest first.
    pub fn iter(&self, phase: Phase) -> impl Iterator<Item = (ConnId, Tick, &T)> {
        let list = self.lists[phase as usize].iter(&self.slab);
        list.map(|(key, entry)| (ConnId::new(entry.serial, key), entry.since, &entry.value))
    }

    /// The next connection of a phase after `id`, which must be in that phase: for walks that
    /// change what they walk over.
    pub fn next(&self, id: ConnId) -> Option<ConnId> {
        let key = self.entry(id)?.links.next;
        let entry = self.slab.get(key as usize)?;
        Some(ConnId::new(entry.serial, key))
    }

    /// The connection that is in a phase for longest, if that is `limit` milliseconds or more.
    pub fn expired(&self, phase: Phase, limit: u32, now: Tick) -> Option<ConnId> {
        let (id, since) = self.oldest(phase)?;
        (now.since(since) >= limit).then_some(id)
    }

    /// Makes whoever waits for twelve days look as if it were six, so that moments stay comparable
    /// where a phase has no limit (a tunnel, a handler): an age beyond [`MAX_MILLIS`] would read as
    /// 0, and whoever waits longest would be taken for the youngest.
    ///
    /// To be called at least every twelve days, with a `now` that is not earlier than at the last
    /// call. Costs a look at each list's head; each connection is moved at most once in six days.
    pub fn cap_ages(&mut self, now: Tick) {
        for phase in Phase::ALL {
            if self.expired(phase, OLD, now).is_none() {
                continue;
            }
            let mut key = self.lists[phase as usize].head();
            while let Some(entry) = self.slab.get_mut(key as usize) {
                if now.since(entry.since) <= CAP {
                    break;
                }
                entry.since = Tick::from_millis(now.as_millis().wrapping_sub(CAP));
                key = entry.links.next;
            }
        }
    }

    /// Starts the clocks of a phase anew for those that entered it at `from` or later: as many as
    /// did are looked at. `now` is not earlier than any of their moments.
    pub fn restart(&mut self, phase: Phase, from: Tick, now: Tick) {
        let mut key = self.lists[phase as usize].tail();
        while let Some(entry) = self.slab.get_mut(key as usize) {
            if !entry.since.reached(from) {
                break;
            }
            entry.since = now;
            key = entry.links.prev;
        }
    }

    /// Asserts that the lists and the slab agree and that each list is in order. O(n): for tests,
    /// the simulator and fuzzers.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub fn check(&self) {
        let mut total = 0;
        for phase in Phase::ALL {
            let list = self.lists[phase as usize];
            list.check(&self.slab);
            let mut last: Option<Tick> = None;
            for (_, entry) in list.iter(&self.slab) {
                assert_eq!(entry.phase, phase, "an entry in another phase's list");
                assert!(
                    last.is_none_or(|last| entry.since.reached(last)),
                    "a list out of order"
                );
                last = Some(entry.since);
            }
            total += list.len() as usize;
        }
        assert_eq!(
            total,
            self.slab.len(),
            "the counts do not sum to the slab's length"
        );
    }

    fn entry(&self, id: ConnId) -> Option<&Entry<T>> {
        self.slab
            .get(id.key() as usize)
            .filter(|entry| entry.serial == id.serial())
    }
}

/// The age at which [`Tracker::cap_ages`] steps in: half of what ticks can tell apart.
const OLD: u32 = MAX_MILLIS / 2;

/// The age that it leaves: so far below [`OLD`] that each connection's turn comes rarely.
const CAP: u32 = OLD / 2;

const _: () = assert!(CAP > MAX_LIMIT);

#[cfg(test)]
mod tests;
