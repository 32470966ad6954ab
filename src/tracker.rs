//! The connections of a loop, what each waits for, and since when.
//!
//! Connections lie in one slab, and each [`Phase`] is a list through it, oldest first, with a
//! count. All connections of a phase have the same limit, so the order of arrival is the order of
//! deadlines, and arrivals go to the tail. Entering, leaving and counting cost the same whatever
//! the number; expiring costs what expires. The oldest blockers of a drain are the list heads. No
//! timer heap, no sweep.
//!
//! The slab reuses keys at once, last in first out. A [`ConnId`] therefore carries the number of
//! the accept as well, so a stale event or a late response finds no connection.
//!
//! Some phases have no limit, and moments compare only within 24 days: [`Tracker::cap_ages`]
//! keeps longer waits in order.
//!
//! No HTTP, no sockets, no clock.

use std::fmt;
use std::mem;

use slab::Slab;

use crate::list::{Linked, Links, List, NIL};
use crate::tick::{MAX_LIMIT, MAX_MILLIS, Tick};

/// The name of one connection: the slab key and the number of the accept. Also its mio token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId(u64);

impl ConnId {
    const fn new(serial: u32, key: u32) -> Self {
        Self((serial as u64) << 32 | key as u64)
    }

    /// Returns the id as one number, for a token.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns the id of a token. A number that was never an id names no connection.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number of the accept, modulo 2³².
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
    /// The application: its response, the next piece of one, or a sink that has paused.
    Handler,
    /// Room in the socket for bytes of a response, or of a tunnel.
    Reply,
    /// The peer's FIN, after ours. What arrives until then is discarded.
    Linger,
    /// Either side of an upgraded connection.
    Tunnel,
}

impl Phase {
    /// The number of phases.
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

    /// Returns the phase's name in lines and reports.
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

/// The number of connections in each phase, indexed by `phase as usize`.
pub type Counts = [u32; Phase::COUNT];

/// An entry as the slab stores it, for its size: the slab aligns entries to eight bytes.
#[expect(dead_code, reason = "only its size counts")]
enum SlabEntry<T> {
    Vacant(usize),
    Occupied(Entry<T>),
}

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

/// The connections of a loop, in a list for each phase, oldest first.
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
    /// The memory of one connection, in bytes.
    pub const ENTRY_SIZE: usize = size_of::<SlabEntry<T>>();

    /// Returns an empty tracker, which owns no memory yet.
    pub const fn new() -> Self {
        Self {
            slab: Slab::new(),
            lists: [List::EMPTY; Phase::COUNT],
            serial: 0,
        }
    }

    /// Returns the number of connections.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Adds a connection at the tail of a phase's list. Returns its id.
    ///
    /// `now` must not be earlier than at the last call, as for [`Tracker::enter`].
    ///
    /// # Panics
    ///
    /// At 2³² - 1 connections, which exceed the memory of any process.
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

    /// Returns the value of a connection, if the tracker still has it.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        self.entry(id).map(|entry| &entry.value)
    }

    /// Returns the value of a connection, if the tracker still has it.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.slab.get_mut(id.key() as usize) {
            Some(entry) if entry.serial == id.serial() => Some(&mut entry.value),
            _ => None,
        }
    }

    /// Returns the phase and the value of a connection, if the tracker still has it.
    #[inline]
    pub fn get_with_phase(&mut self, id: ConnId) -> Option<(Phase, &mut T)> {
        match self.slab.get_mut(id.key() as usize) {
            Some(entry) if entry.serial == id.serial() => Some((entry.phase, &mut entry.value)),
            _ => None,
        }
    }

    /// Returns the phase of a connection, if the tracker still has it.
    pub fn phase(&self, id: ConnId) -> Option<Phase> {
        self.entry(id).map(|entry| entry.phase)
    }

    /// Returns when a connection entered its phase.
    pub fn since(&self, id: ConnId) -> Option<Tick> {
        self.entry(id).map(|entry| entry.since)
    }

    /// Moves a connection to the tail of a phase's list and restarts its clock, also when the
    /// phase is the same. Returns whether the tracker still has the connection.
    ///
    /// `now` must not be earlier than at the last call: the order of the lists depends on it.
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
            return true; // already at the tail
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

    /// Removes a connection. Returns its value.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let phase = self.entry(id)?.phase;
        self.lists[phase as usize].unlink(&mut self.slab, id.key());
        Some(self.slab.remove(id.key() as usize).value)
    }

    /// Returns the number of connections in a phase.
    pub const fn count(&self, phase: Phase) -> u32 {
        self.lists[phase as usize].len()
    }

    /// Returns the number of connections in each phase.
    pub fn counts(&self) -> Counts {
        self.lists.map(|list| list.len())
    }

    /// Returns the oldest connection of a phase, and when it entered the phase.
    pub fn oldest(&self, phase: Phase) -> Option<(ConnId, Tick)> {
        let key = self.lists[phase as usize].head();
        let entry = self.slab.get(key as usize)?;
        Some((ConnId::new(entry.serial, key), entry.since))
    }

    /// Iterates over the connections of a phase, oldest first.
    pub fn iter(&self, phase: Phase) -> impl Iterator<Item = (ConnId, Tick, &T)> {
        let list = self.lists[phase as usize].iter(&self.slab);
        list.map(|(key, entry)| (ConnId::new(entry.serial, key), entry.since, &entry.value))
    }

    /// Returns the next younger connection in the phase of `id`, for walks that remove or move
    /// connections.
    pub fn next(&self, id: ConnId) -> Option<ConnId> {
        let key = self.entry(id)?.links.next;
        let entry = self.slab.get(key as usize)?;
        Some(ConnId::new(entry.serial, key))
    }

    /// Returns the oldest connection of a phase, if its age is at least `limit` milliseconds.
    pub fn expired(&self, phase: Phase, limit: u32, now: Tick) -> Option<ConnId> {
        let (id, since) = self.oldest(phase)?;
        (now.since(since) >= limit).then_some(id)
    }

    /// Sets ages beyond twelve days to six. Phases without a limit (a tunnel, a handler) need this:
    /// an age beyond [`MAX_MILLIS`] would read as 0, and the oldest connection as the youngest.
    ///
    /// Call this at least every twelve days, with a `now` not earlier than at the last call. A call
    /// looks at each list's head, and changes each connection at most once in six days.
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

    /// Restarts the clocks of connections that entered a phase at `from` or later. Costs what is
    /// restarted. `now` must not be earlier than any moment in the list.
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
    /// When an assertion fails.
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

/// The age from which [`Tracker::cap_ages`] acts: half of what ticks can compare.
const OLD: u32 = MAX_MILLIS / 2;

/// The age that [`Tracker::cap_ages`] sets: far below [`OLD`], so each connection changes rarely.
const CAP: u32 = OLD / 2;

const _: () = assert!(CAP > MAX_LIMIT);

#[cfg(test)]
mod tests;
