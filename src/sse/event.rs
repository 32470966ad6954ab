//! One event, and how it is written.
//!
//! Nothing that is in an event can end it, or begin another. Knows no subscribers.

/// An event of a stream: what a page gets as `MessageEvent`.
///
/// ```
/// use ebbtide::sse::Event;
///
/// let event = Event::new("first line\nsecond line").kind("news");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    kind: String,
    id: String,
}

impl Event {
    /// An event with this data, of any number of lines. However its lines end (LF, CR LF, CR), a
    /// client sees LF: the format has no other.
    pub fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// The kind, which pages listen for by name; without it is `message`. Characters that would end
    /// the line become blanks, in the id as well.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = one_line(kind.into());
        self
    }

    /// An id of your own, that clients come back with: for events that other servers publish with
    /// the same ids. By default a topic numbers its events.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = one_line(id.into());
        self
    }

    /// Its own id, if it was given one.
    pub(super) fn own_id(&self) -> Option<&str> {
        (!self.id.is_empty()).then_some(&self.id)
    }

    /// The lines of it, with that id and with the empty one that ends it.
    pub(super) fn write(&self, id: &str) -> String {
        let mut out = String::with_capacity(self.data.len() + self.kind.len() + id.len() + 40);
        let mut line = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push('\n');
        };
        line("id", id);
        if !self.kind.is_empty() {
            line("event", &self.kind);
        }
        let mut rest = &self.data[..];
        while let Some(end) = rest.find(['\r', '\n']) {
            line("data", &rest[..end]);
            let length = if rest[end..].starts_with("\r\n") {
                2
            } else {
                1
            };
            rest = &rest[end + length..];
        }
        line("data", rest);
        out.push('\n');
        out
    }
}

/// A text without what ends a line, and without NUL, which makes clients ignore an id.
fn one_line(text: String) -> String {
    if text.contains(BREAKS) {
        text.replace(BREAKS, " ")
    } else {
        text
    }
}

const BREAKS: [char; 3] = ['\r', '\n', '\0'];

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client makes of a stream: the kind, data and last id of each event. By the letter of
    /// the standard, "Interpreting an event stream".
    fn read(stream: &str) -> Vec<(String, String, String)> {
        let mut events = Vec::new();
        let (mut data, mut kind, mut last_id) = (String::new(), String::new(), String::new());
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").lines() {
            if line.is_empty() {
                if let Some(data) = data.strip_suffix('\n') {
                    let kind = if kind.is_empty() { "message" } else { &kind };
                    events.push((kind.to_owned(), data.to_owned(), last_id.clone()));
                }
                (data, kind) = (String::new(), String::new());
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => data = data + value + "\n",
                "event" => kind = value.to_owned(),
                "id" if !value.contains('\0') => last_id = value.to_owned(),
                _ => {}
            }
        }
        events
    }

    #[test]
    fn an_event_is_written_as_the_standard_says() {
        let event = Event::new("a\nb").kind("k");
        assert_eq!(event.write("7"), "id: 7\nevent: k\ndata: a\ndata: b\n\n");
        assert_eq!(Event::new("").write("7"), "id: 7\ndata: \n\n");
    }

    #[test]
    fn nothing_in_an_event_splits_it() {
        const PARTS: &[&str] = &[
            "",
            "a",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "\r\r",
            "\n\r",
            "\0",
            ":",
            " ",
            "é\u{2028}b",
            "x\n\ndata: y",
            "x\r\rid: 9\r\r",
            "x\r\n\r\nevent: z\r\n\r\n",
            "retry: 1\n",
        ];
        let blank = |text: &str| text.replace(['\r', '\n', '\0'], " ");
        for data in PARTS {
            for kind in PARTS {
                for id in PARTS {
                    let event = Event::new(*data).kind(*kind).id(*id);
                    let stream =
                        event.write(event.own_id().unwrap_or("7")) + "id: 8\ndata: next\n\n";
                    let seen = read(&stream);
                    assert_eq!(seen.len(), 2, "{stream:?}");
                    let (seen_kind, seen_data, seen_id) = &seen[0];
                    let lines = data.replace("\r\n", "\n").replace('\r', "\n");
                    assert_eq!(*seen_data, lines, "{stream:?}");
                    let kind = if kind.is_empty() { "message" } else { kind };
                    assert_eq!(*seen_kind, blank(kind), "{stream:?}");
                    let id = if id.is_empty() { "7" } else { id };
                    assert_eq!(*seen_id, blank(id), "{stream:?}");
                    assert_eq!(seen[1].1, "next");
                }
            }
        }
    }
}
