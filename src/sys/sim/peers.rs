//! The acts of peers, and their consequences.

use super::row::StreamEnd;
use super::{Act, Bytes, Listening, Ours, Pace, PeerId, Sim, Source, Step, Theirs};

impl Sim {
    pub(super) fn peer_connects(&mut self, peer: PeerId) {
        if self.row(peer).ours == Ours::Planned {
            self.knock(peer, FIRST_PAUSE);
        }
    }

    /// Receives a SYN; if it is dropped, plans the next one after `pause`.
    pub(super) fn knock(&mut self, peer: PeerId, pause: u32) {
        let row = self.row(peer);
        if !matches!(row.ours, Ours::Planned | Ours::Held) {
            return;
        }
        let first = row.ours == Ours::Planned;
        let index = row.listener as usize;
        let full = self.listeners[index].backlog.len() >= self.setup.backlog;
        match self.listening {
            Listening::Closed => self.refuse(peer),
            Listening::Open if !full => {
                self.row_mut(peer).ours = Ours::Backlog;
                let listener = &mut self.listeners[index];
                listener.backlog.push_back(peer);
                if !listener.queued {
                    listener.queued = true;
                    self.ready.push_back(Source::Listener(index));
                }
            }
            Listening::Open | Listening::Filtered => {
                if first {
                    self.row_mut(peer).ours = Ours::Held;
                    self.held.push(peer);
                }
                let next = pause.saturating_mul(2);
                self.plan_in(pause, Step::Knock { peer, pause: next });
            }
        }
    }

    pub(super) fn refuse(&mut self, peer: PeerId) {
        let now = self.now;
        let row = self.row_mut(peer);
        (row.ours, row.theirs, row.cut) = (Ours::Never, Theirs::Cut, Some(now));
    }

    pub(super) fn peer_sends(&mut self, peer: PeerId, bytes: Bytes) {
        let limit = self.setup.faults.sends_before_reset(self.row(peer).sent);
        let row = self.row_mut(peer);
        if !row.can_send() {
            return;
        }
        let len = bytes.as_slice().len() as u64;
        if row.ours == Ours::Closed {
            if len > 0 {
                self.cut(peer);
            }
            return;
        }
        row.sent += len.min(limit);
        row.inbox.push(bytes, limit);
        self.wake(peer);
        if len >= limit {
            self.peer_resets(peer);
        }
    }

    pub(super) fn peer_finishes(&mut self, peer: PeerId) {
        let row = self.row_mut(peer);
        if row.can_send() {
            row.stream_end = StreamEnd::Fin;
            self.wake(peer);
        }
    }

    pub(super) fn peer_leaves(&mut self, peer: PeerId) {
        let row = self.row(peer);
        if row.theirs != Theirs::Up {
            return;
        }
        if row.written > row.taken || matches!(row.ours, Ours::Planned | Ours::Held) {
            self.peer_resets(peer);
            return;
        }
        self.peer_finishes(peer);
        self.row_mut(peer).theirs = Theirs::Left;
        self.offer(peer);
    }

    pub(super) fn peer_resets(&mut self, peer: PeerId) {
        let row = self.row_mut(peer);
        if row.theirs == Theirs::Cut {
            return;
        }
        row.theirs = Theirs::Cut;
        match row.ours {
            Ours::Planned | Ours::Held => row.ours = Ours::Never,
            _ => row.stream_end = StreamEnd::Reset,
        }
        self.wake(peer);
    }

    /// Takes bytes, up to `up_to` since the beginning, with our FIN as one.
    pub(super) fn peer_takes(&mut self, peer: PeerId, up_to: u64) {
        let now = self.now;
        let limit = self.setup.faults.takes_before_reset();
        let row = self.row_mut(peer);
        if row.theirs == Theirs::Cut {
            return;
        }
        row.taken = row.taken.max(row.written.min(up_to).min(limit));
        if row.taken == limit && row.written > 0 {
            self.peer_resets(peer);
            return;
        }
        let fin = row.finished && row.fin.is_none() && up_to > row.written;
        if fin {
            row.fin = Some(now);
        }
        if fin || (row.starved && row.room() > 0) {
            row.starved = false;
            self.wake(peer);
        }
        if fin {
            match self.row(peer).manner.answers {
                Pace::AtOnce => self.peer_finishes(peer),
                Pace::After(pause) => self.plan_in(pause, Step::Act(Act::Fin(peer))),
                Pace::Never => {}
            }
        }
    }

    /// Lets the peer take written bytes and our FIN at its pace.
    pub(super) fn offer(&mut self, peer: PeerId) {
        let row = self.row(peer);
        let up_to = row.taken + row.unacknowledged();
        match (row.theirs, row.manner.takes) {
            // The kernel of a closed application still acknowledges a FIN.
            (Theirs::Left, _) | (_, Pace::AtOnce) => self.peer_takes(peer, up_to),
            (_, Pace::After(pause)) => self.plan_in(pause, Step::Take { peer, up_to }),
            (_, Pace::Never) => {}
        }
    }

    /// Resets the peer. Bytes not taken are lost.
    pub(super) fn cut(&mut self, peer: PeerId) {
        let now = self.now;
        let row = self.row_mut(peer);
        if row.theirs == Theirs::Up {
            row.cut = Some(now);
        }
        row.theirs = Theirs::Cut;
    }
}

/// The time until a dropped SYN is sent again, in milliseconds; each pause is twice the last (RFC
/// 6298 §2 and §5).
const FIRST_PAUSE: u32 = 1000;
