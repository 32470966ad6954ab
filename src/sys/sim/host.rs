//! The system that the engine sees, on the table of rows.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::faults::HELD_UP;
use super::row::StreamEnd;
use super::{Listening, Ours, PeerId, Row, Sim, Source, Theirs, UNIX_START};
use crate::peer::Peer;
use crate::sys::errno::EMFILE;
use crate::sys::{AcceptError, Ready, Sys, Who};
use crate::tick::Tick;
use crate::tracker::ConnId;

impl Sys for Sim {
    type Io = u32;

    const SHORT_READ_DRAINS: bool = true;

    fn now(&self) -> Tick {
        self.setup.start.after(self.looked)
    }

    fn update_clock(&mut self) -> Tick {
        self.looked = self.now;
        self.now()
    }

    fn unix_time(&self) -> u64 {
        UNIX_START + u64::from(self.now / 1000)
    }

    fn wait(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) -> io::Result<bool> {
        self.sleep(timeout, events);
        self.update_clock();
        Ok(self.ready.is_empty())
    }

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> Result<(u32, Peer), AcceptError> {
        if self.listening == Listening::Closed {
            return Err(AcceptError::Closed(ErrorKind::InvalidInput.into()));
        }
        let faults = &self.setup.faults;
        if faults.out_of_descriptors(self.now, self.totals.open()) {
            return Err(AcceptError::Exhausted(io::Error::from_raw_os_error(EMFILE)));
        }
        let Some(peer) = self.listeners[listener].backlog.pop_front() else {
            return Err(AcceptError::Empty);
        };
        if self.dice.one_in(self.setup.faults.failed_accepts) {
            let row = self.row_mut(peer);
            (row.ours, row.theirs) = (Ours::Closed, Theirs::Cut);
            return Err(AcceptError::Failed(ErrorKind::ConnectionAborted.into()));
        }
        self.row_mut(peer).ours = Ours::Accepted;
        self.totals.accepted += 1;
        Ok((peer.0, address(peer)))
    }

    fn register(&mut self, io: &mut u32, id: ConnId) -> io::Result<()> {
        if self.dice.one_in(self.setup.faults.failed_registrations) {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let row = self.opened(*io);
        assert_eq!(row.ours, Ours::Accepted, "registered twice: {io}");
        (row.ours, row.id) = (Ours::Registered, id);
        self.wake(PeerId(*io));
        Ok(())
    }

    fn read(&mut self, io: &mut u32, buf: &mut [u8]) -> io::Result<usize> {
        if self.dice.sometimes(self.setup.faults.interrupts) {
            return Err(ErrorKind::Interrupted.into());
        }
        let unread = self.opened(*io).inbox.len();
        let most = self.cut_short(
            self.setup.faults.short_reads,
            unread.min(buf.len() as u64),
            1,
        );
        let row = self.opened(*io);
        if unread > 0 {
            let n = row.inbox.read(&mut buf[..most as usize]);
            if n < buf.len() && row.inbox.len() > 0 {
                self.wake(PeerId(*io)); // as if the rest had just come
            }
            return Ok(n);
        }
        match row.stream_end {
            StreamEnd::Open => Err(ErrorKind::WouldBlock.into()),
            StreamEnd::Fin | StreamEnd::ResetReported => Ok(0),
            StreamEnd::Reset => Err(report(row)),
        }
    }

    fn write(&mut self, io: &mut u32, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.dice.one_in(self.setup.faults.held_up) {
            self.now += HELD_UP;
        }
        if self.dice.sometimes(self.setup.faults.interrupts) {
            return Err(ErrorKind::Interrupted.into());
        }
        let row = self.opened(*io);
        match (row.stream_end, row.finished) {
            (StreamEnd::Reset, _) => return Err(report(row)),
            (StreamEnd::ResetReported, _) | (_, true) => return Err(ErrorKind::BrokenPipe.into()),
            (StreamEnd::Open | StreamEnd::Fin, false) => {}
        }
        let total = bufs.iter().map(|buf| buf.len() as u64).sum::<u64>();
        let fits = row.room().min(total);
        let most = self.cut_short(self.setup.faults.short_writes, fits, 0);
        if most < total {
            self.opened(*io).starved = true;
        }
        self.put(PeerId(*io), bufs, most);
        if most < fits {
            self.wake(PeerId(*io)); // a short write leaves room, which needs an event
        }
        if most > 0 && self.opened(*io).theirs == Theirs::Left {
            self.peer_resets(PeerId(*io));
        }
        self.offer(PeerId(*io));
        if most == 0 && total > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(most as usize)
    }

    fn finish(&mut self, io: &mut u32) -> io::Result<()> {
        let row = self.opened(*io);
        if row.is_reset() {
            return Err(ErrorKind::NotConnected.into());
        }
        if !row.finished {
            row.finished = true;
            self.digest.deed(b'f', *io, self.now);
            self.wake(PeerId(*io));
            self.offer(PeerId(*io));
        }
        Ok(())
    }

    fn unacknowledged(&mut self, io: &u32) -> Option<u32> {
        let bytes = self.opened(*io).unacknowledged();
        Some(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    fn close(&mut self, io: u32) {
        self.digest.deed(b'c', io, self.now);
        self.totals.closed += 1;
        let row = self.opened(io);
        row.ours = Ours::Closed;
        // After both FINs, with ours acknowledged, no reset follows.
        let over = row.stream_end == StreamEnd::Fin && row.finished && row.unacknowledged() == 0;
        let unread = row.inbox.len() > 0 && !over;
        row.inbox = Default::default();
        if unread {
            self.cut(PeerId(io));
        } else if !row.finished {
            row.finished = true;
            self.offer(PeerId(io));
        }
    }

    fn abort(&mut self, io: u32) {
        self.digest.deed(b'a', io, self.now);
        self.totals.closed += 1;
        self.totals.aborted += 1;
        let row = self.opened(io);
        row.ours = Ours::Closed;
        row.inbox = Default::default();
        self.cut(PeerId(io));
    }

    fn stop_handshakes(&mut self) -> bool {
        if self.setup.filter && self.listening == Listening::Open {
            self.listening = Listening::Filtered;
        }
        self.setup.filter
    }

    fn stop_listening(&mut self) {
        self.listening = Listening::Closed;
        for index in 0..self.listeners.len() {
            while let Some(peer) = self.listeners[index].backlog.pop_front() {
                self.row_mut(peer).ours = Ours::Closed;
                self.cut(peer);
            }
        }
        while let Some(peer) = self.held.pop() {
            if self.row(peer).ours == Ours::Held {
                self.refuse(peer);
            }
        }
    }

    fn signals(&mut self, numbers: &mut Vec<i32>) {
        numbers.append(&mut self.signals);
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let inbox = Arc::clone(&self.inbox);
        Arc::new(move || inbox.store(true, Ordering::Release))
    }
}

impl Sim {
    /// Returns the row of an open handle. The use of a closed one is a bug of the engine.
    fn opened(&mut self, io: u32) -> &mut Row {
        let row = &mut self.rows[io as usize];
        assert!(row.is_open(), "handle {io} used while {:?}", row.ours);
        row
    }

    /// Plays the script until an event comes or the time is over.
    fn sleep(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) {
        self.resting = false;
        let deadline = timeout.map_or(u32::MAX, |timeout| self.now.saturating_add(timeout));
        let before = events.len();
        if self.dice.sometimes(self.setup.faults.early_returns) {
            return;
        }
        self.play();
        if self.dice.sometimes(self.setup.faults.spurious) {
            self.startle(events);
        }
        loop {
            if self.inbox.swap(false, Ordering::AcqRel) {
                events.push(readable(Who::Inbox));
            }
            self.harvest(events);
            if events.len() > before {
                return;
            }
            let stop = deadline.min(self.horizon);
            if self.now >= stop {
                self.resting = self.now < deadline;
                return;
            }
            let next = self.script.first_key_value().map(|(&(at, _), _)| at);
            self.now = next.map_or(stop, |next| next.min(stop));
            self.play();
        }
    }

    /// Takes events off the ready list, each with what is possible now.
    fn harvest(&mut self, events: &mut Vec<Ready>) {
        let most = events.len() + self.setup.batch;
        while events.len() < most {
            let Some(source) = self.ready.pop_front() else {
                break;
            };
            match source {
                Source::Peer(peer) => {
                    let row = self.row_mut(peer);
                    row.queued = false;
                    if row.ours == Ours::Registered {
                        events.extend(row.poll());
                    }
                }
                Source::Listener(index) => {
                    let listener = &mut self.listeners[index];
                    listener.queued = false;
                    if !listener.backlog.is_empty() {
                        events.push(readable(Who::Listener(index)));
                    }
                }
                Source::Signal => {
                    self.signalled = false;
                    if !self.signals.is_empty() {
                        events.push(readable(Who::Signal));
                    }
                }
            }
        }
    }

    /// Adds a spurious event for a row drawn by chance, if the row is registered.
    fn startle(&mut self, events: &mut Vec<Ready>) {
        if self.rows.is_empty() {
            return;
        }
        let drawn = self.dice.below(self.rows.len() as u32) as usize;
        let row = &self.rows[drawn];
        if row.ours == Ours::Registered && !row.queued {
            let who = Who::Conn(row.id);
            events.push(Ready {
                writable: true,
                ..readable(who)
            });
        }
    }

    /// Returns how many of `n` bytes a read or write moves, from `least` to all.
    fn cut_short(&mut self, chance: u32, n: u64, least: u64) -> u64 {
        if self.setup.faults.one_byte {
            n.min(1)
        } else if n > least && self.dice.sometimes(chance) {
            least + u64::from(self.dice.below((n - least) as u32))
        } else {
            n
        }
    }

    /// Writes the first `n` bytes to the wire.
    fn put(&mut self, peer: PeerId, bufs: &[IoSlice<'_>], n: u64) {
        let row = &mut self.rows[peer.index()];
        let mut left = n as usize;
        for buf in bufs {
            let bytes = &buf[..left.min(buf.len())];
            left -= bytes.len();
            self.digest.bytes(peer.0, bytes);
            if self.setup.record {
                row.wire.extend_from_slice(bytes);
            }
        }
        row.written += n;
    }
}

const fn readable(who: Who) -> Ready {
    Ready {
        who,
        readable: true,
        writable: false,
        read_closed: false,
        gone: false,
    }
}

/// Returns the error of a reset, and marks it as reported.
fn report(row: &mut Row) -> io::Error {
    row.stream_end = StreamEnd::ResetReported;
    ErrorKind::ConnectionReset.into()
}

/// Returns the address of a peer: in 10.0.0.0/8, with another port when that is used up.
fn address(peer: PeerId) -> Peer {
    let [high, a, b, c] = peer.0.to_be_bytes();
    let ip = Ipv4Addr::new(10, a, b, c);
    SocketAddr::from((ip, 40_000 + u16::from(high))).into()
}
