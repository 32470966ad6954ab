//! A writer of SVG that escapes all its input: four shapes need no crate.

use std::borrow::Cow;
use std::fmt::Write;

/// The text so far.
#[derive(Debug)]
pub(super) struct Markup(String);

impl Markup {
    pub(super) const fn new() -> Self {
        Self(String::new())
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, String)]) {
        self.0 += "<";
        self.0 += name;
        for (name, value) in attributes {
            let value = escape(value);
            self.put(format_args!(" {name}=\"{value}\""));
        }
        self.0 += ">\n";
    }

    pub(super) fn close(&mut self, name: &str) {
        self.put(format_args!("</{name}>\n"));
    }

    /// Adds the text that a pointer on the open element shows.
    pub(super) fn title(&mut self, text: &str) {
        let text = escape(text);
        self.put(format_args!("<title>{text}</title>"));
    }

    /// Draws a rectangle at left, top, width and height.
    pub(super) fn rect(&mut self, place: [f64; 4], fill: &str, title: Option<&str>) {
        let [x, y, width, height] = place;
        let (fill, title) = (escape(fill), title.map(titled).unwrap_or_default());
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\">{title}</rect>\n"
        ));
    }

    /// Draws a line, or the area inside it.
    pub(super) fn path(
        &mut self,
        path: &str,
        colour: &str,
        width: &str,
        filled: bool,
        title: &str,
    ) {
        let (path, colour, width) = (escape(path), escape(colour), escape(width));
        let fill = if filled { &colour } else { "none" };
        let title = titled(title);
        self.put(format_args!(
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"{fill}\">\
             {title}</path>\n"
        ));
    }

    /// Writes a text; `style` is attributes, as they are.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], text: &str, style: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>\n"
        ));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

fn titled(title: &str) -> String {
    match title.is_empty() {
        true => String::new(),
        false => format!("<title>{}</title>", escape(title)),
    }
}

/// Escapes for an attribute in double quotes and between elements. Characters that XML 1.0 cannot
/// hold become a replacement mark.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    let odd = |char: char| {
        matches!(char, '<' | '>' | '&' | '"' | '\'' | '\u{fffe}' | '\u{ffff}') || char.is_control()
    };
    if !text.contains(odd) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            char if odd(char) => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        let text = "a\"b'c<d>e&f\u{1b}\u{ffff}";
        assert_eq!(
            escape(text),
            "a&quot;b&#39;c&lt;d&gt;e&amp;f\u{fffd}\u{fffd}"
        );
        assert!(matches!(escape("plain ü"), Cow::Borrowed(_)));
    }
}
