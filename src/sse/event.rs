//! One event: its fields and its bytes.
//!
//! No data, kind or id can end its event or begin another. Knows no subscribers.

/// An event of a stream: a page gets it as a `MessageEvent`.
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
    /// Returns an event with this data, of any number of lines. Clients see every end of a line (LF,
    /// CR LF, CR) as LF: the format has no other.
    pub fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// Sets the kind, which pages listen for by name. Default: `message`. Characters that would end
    /// the line become spaces.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = one_line(kind.into());
        self
    }

    /// Sets the id, which clients send when they reconnect. Set it where several servers publish the
    /// same events. Default: a number that the topic gives. Characters that would end the line become
    /// spaces.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = one_line(id.into());
        self
    }

    /// Returns the id that the program set.
    pub(super) fn own_id(&self) -> Option<&str> {
        (!self.id.is_empty()).then_some(&self.id)
    }

    /// Returns the lines of the event with this id, and the empty line that ends the event.
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

/// Replaces the ends of lines, and NUL, with which clients ignore an id.
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

    /// Reads a stream as a client must: returns the kind, data and last id of each event (WHATWG
    /// HTML, "Interpreting an event stream").
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
