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
//! No HTTP, no sockets, no clock.

use std::fmt;
use std::mem;

use slab::Slab;

use crate::tick::Tick;

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
    prev: u32,
    next: u32,
    since: Tick,
    serial: u32,
    phase: Phase,
    value: T,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
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
            lists: [EMPTY; Phase::COUNT],
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

    /// Adds a connection and names it.
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
            prev: NIL,
            next: NIL,
            since: now,
            serial,
            phase,
            value,
        });
        self.link(key, phase);
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
    pub fn enter(&mut self, id: ConnId, phase: Phase, now: Tick) -> bool {
        let key = id.key();
        let Some(entry) = self.slab.get_mut(key as usize) else {
            return false;
        };
        if entry.serial != id.serial() {
            return false;
        }
        entry.since = now;
        if entry.phase == phase && entry.next == NIL {
            return true; // the youngest already
        }
        self.unlink(key);
        self.slab[key as usize].phase = phase;
        self.link(key, phase);
        true
    }

    /// Forgets a connection and gives its value back.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        self.entry(id)?;
        self.unlink(id.key());
        Some(self.slab.remove(id.key() as usize).value)
    }

    /// How many connections are in a phase.
    pub const fn count(&self, phase: Phase) -> u32 {
        self.lists[phase as usize].len
    }

    /// How many connections are in each phase.
    pub fn counts(&self) -> Counts {
        self.lists.map(|list| list.len)
    }

    /// The connection that is in a phase for longest, and since when.
    pub fn oldest(&self, phase: Phase) -> Option<(ConnId, Tick)> {
        let key = self.lists[phase as usize].head;
        let entry = self.slab.get(key as usize)?;
        Some((ConnId::new(entry.serial, key), entry.since))
    }

    /// The connections of a phase, oldest first.
    pub fn iter(&self, phase: Phase) -> impl Iterator<Item = (ConnId, Tick, &T)> {
        let mut key = self.lists[phase as usize].head;
        std::iter::from_fn(move || {
            let entry = self.slab.get(key as usize)?;
            let id = ConnId::new(entry.serial, key);
            key = entry.next;
            Some((id, entry.since, &entry.value))
        })
    }

    /// The next connection of a phase after `id`, which must be in that phase: for walks that
    /// change what they walk over.
    pub fn next(&self, id: ConnId) -> Option<ConnId> {
        let key = self.entry(id)?.next;
        let entry = self.slab.get(key as usize)?;
        Some(ConnId::new(entry.serial, key))
    }

    /// The connection that is in a phase for longest, if that is `limit` milliseconds or more.
    pub fn expired(&self, phase: Phase, limit: u32, now: Tick) -> Option<ConnId> {
        let (id, since) = self.oldest(phase)?;
        (now.since(since) >= limit).then_some(id)
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
            let (mut key, mut prev, mut len) = (list.head, NIL, 0);
            let mut last: Option<Tick> = None;
            while key != NIL {
                let entry = &self.slab[key as usize];
                assert_eq!(entry.phase, phase, "an entry in another phase's list");
                assert_eq!(entry.prev, prev, "a broken back link");
                assert!(
                    last.is_none_or(|last| entry.since.reached(last)),
                    "a list out of order"
                );
                (last, prev, key) = (Some(entry.since), key, entry.next);
                len += 1;
                assert!(len <= list.len, "a list longer than its count");
            }
            assert_eq!(
                (list.tail, list.len),
                (prev, len),
                "a list that ends elsewhere"
            );
            total += len as usize;
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

    fn link(&mut self, key: u32, phase: Phase) {
        let list = &mut self.lists[phase as usize];
        let tail = mem::replace(&mut list.tail, key);
        list.len += 1;
        if tail == NIL {
            list.head = key;
        } else {
            self.slab[tail as usize].next = key;
        }
        let entry = &mut self.slab[key as usize];
        (entry.prev, entry.next) = (tail, NIL);
    }

    fn unlink(&mut self, key: u32) {
        let Entry {
            prev, next, phase, ..
        } = self.slab[key as usize];
        if prev != NIL {
            self.slab[prev as usize].next = next;
        }
        if next != NIL {
            self.slab[next as usize].prev = prev;
        }
        let list = &mut self.lists[phase as usize];
        list.len -= 1;
        if prev == NIL {
            list.head = next;
        }
        if next == NIL {
            list.tail = prev;
        }
    }
}

/// No entry. Also a key that the slab never gives, so that looking it up finds nobody.
const NIL: u32 = u32::MAX;

const EMPTY: List = List {
    head: NIL,
    tail: NIL,
    len: 0,
};
