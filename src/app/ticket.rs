//! A response that another thread sends.
//!
//! A response names the connection *and* the request on it, so a response that comes after a
//! timeout, or after the connection moved on, is dropped.

use std::fmt;

use crate::app::handle::{Handle, Message};
use crate::app::response::Response;
use crate::tracker::ConnId;

/// Says that the response comes later. [`Request::later`](crate::Request::later) makes it, with the
/// [`Ticket`] that sends the response.
#[derive(Debug)]
#[must_use = "return it from the handler, or the request is answered 500"]
pub struct Pending {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
}

/// The right to answer one request, from any thread.
///
/// Dropping the ticket answers 500. A response to a request that is gone (its client left, or a
/// deadline cut it) is dropped.
#[doc(alias = "async")]
#[doc(alias = "defer")]
#[must_use = "a dropped ticket answers 500"]
pub struct Ticket {
    id: ConnId,
    nth: u32,
    handle: Handle,
    used: bool,
}

impl Ticket {
    pub(crate) fn pair(id: ConnId, nth: u32, handle: &Handle) -> (Pending, Self) {
        let ticket = Self {
            id,
            nth,
            handle: handle.clone(),
            used: false,
        };
        (Pending { id, nth }, ticket)
    }

    /// Sends the response.
    pub fn send(mut self, response: Response) {
        self.used = true;
        self.post(Some(Box::new(response)));
    }

    /// Returns whether the server has been told to stop: a good moment to answer with what there is.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }

    fn post(&self, response: Option<Box<Response>>) {
        self.handle.post(Message::Respond {
            id: self.id,
            nth: self.nth,
            response,
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.post(None);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.id)
            .field("nth", &self.nth)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::app::inbox::Inbox;

    #[test]
    fn a_dropped_ticket_answers_and_a_used_one_only_once() {
        let inbox = Inbox::new(Arc::new(|| {}));
        let id = ConnId::from_bits(7);
        let (_, dropped) = Ticket::pair(id, 1, inbox.handle());
        drop(dropped);
        let (_, used) = Ticket::pair(id, 2, inbox.handle());
        used.send(Response::new(204));
        let messages: Vec<_> = std::iter::from_fn(|| inbox.next()).collect();
        assert!(matches!(
            messages[..],
            [
                Message::Respond {
                    nth: 1,
                    response: None,
                    ..
                },
                Message::Respond {
                    nth: 2,
                    response: Some(_),
                    ..
                },
            ]
        ));
    }
}
