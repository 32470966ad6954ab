//! Text of others on its way to a terminal: peers, servers and files choose it.
//!
//! A control character commands a terminal, a bidirectional one turns the rest of a line around, and
//! an invisible one makes two names look alike. Every text that the command writes passes through
//! this module, which writes each such character as an escape.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns a text that stays on one line, with Rust's escapes: `\n`, `\u{1b}`.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false, escape_rust)
}

/// Returns a text of several lines, with Rust's escapes within each line.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |char| char == '\n', escape_rust)
}

/// Returns a valid JSON text with JSON's escapes (RFC 8259 §7): the same value, fit for a terminal.
/// Only strings have characters beyond ASCII, and between tokens any blank is as good as another.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    escape(
        text,
        |char| char == '\n',
        |line, char| {
            match char {
                '\t' | '\r' => line.push(' '),
                _ => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(line, "\\u{unit:04x}");
                    }
                }
            }
        },
    )
}

fn escape(text: &str, stays: fn(char) -> bool, write: fn(&mut String, char)) -> Cow<'_, str> {
    let odd = |char: char| is_odd(char) && !stays(char);
    if !text.contains(odd) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match odd(char) {
            true => write(&mut escaped, char),
            false => escaped.push(char),
        }
    }
    escaped.into()
}

fn escape_rust(line: &mut String, char: char) {
    line.extend(char.escape_default());
}

/// Returns whether a character does something else than show itself.
fn is_odd(char: char) -> bool {
    !matches!(char, ' '..='~')
        && ODD
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&char))
}

/// The controls, the formats, the separators of lines and of paragraphs, and what is ignorable by
/// default (Unicode: Cc, Cf, Zl, Zp, `Default_Ignorable_Code_Point`).
const ODD: &[(char, char)] = &[
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'), // DEL and C1, which has a CSI of one character
    ('\u{ad}', '\u{ad}'), // soft hyphen
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'), // Arabic letter mark
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'), // Hangul fillers
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'), // of no width, marks of direction
    ('\u{2028}', '\u{202e}'), // separators, embeddings and overrides of direction
    ('\u{2060}', '\u{206f}'), // word joiner, isolates of direction
    ('\u{3164}', '\u{3164}'), // Hangul filler
    ('\u{fe00}', '\u{fe0f}'), // selectors of variants
    ('\u{feff}', '\u{feff}'), // byte order mark
    ('\u{ffa0}', '\u{ffa0}'), // Hangul filler
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'), // tags
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_itself_stays() {
        for text in [
            "",
            "GET /a?b=\\c \"d\"",
            "é ü 日本語 ไทย हिन्दी עברית العربية 😀 e\u{301}",
        ] {
            for shown in [one_line(text), lines(text), json(text)] {
                assert!(
                    matches!(shown, Cow::Borrowed(same) if same == text),
                    "{text}"
                );
            }
        }
        assert_eq!(lines("a\nb\n"), "a\nb\n");
        assert_eq!(one_line("a\nb\r\n"), "a\\nb\\r\\n");
    }

    #[test]
    fn nothing_commands_a_terminal_or_hides() {
        let controls = (0..=0x1f).chain(0x7f..=0x9f);
        let turning = [0x61c, 0x200e, 0x200f].into_iter().chain(0x202a..=0x202e);
        let turning = turning.chain(0x2066..=0x2069);
        let hidden = [
            0xad, 0x200b, 0x200c, 0x200d, 0x2028, 0x2029, 0x2060, 0x3164, 0xfe0f, 0xfeff,
        ];
        let hidden = hidden.into_iter().chain([0xe0001, 0xe007f]);
        for code in controls.chain(turning).chain(hidden) {
            let char = char::from_u32(code).unwrap();
            let text = format!("a{char}b");
            let escaped = one_line(&text);
            assert!(
                escaped.is_ascii() && escaped.contains('\\'),
                "{code:x}: {escaped}"
            );
            if char != '\n' {
                assert_eq!(lines(&text), escaped, "{code:x}");
            }
        }
        assert_eq!(one_line("\u{9b}2J\u{202e}"), "\\u{9b}2J\\u{202e}");
    }

    #[test]
    fn json_keeps_its_value() {
        for odd in [
            "\u{7f}",
            "\u{9b}31m",
            "a\u{202e}b",
            "\u{feff}",
            "\u{e0041}",
            "é 😀",
        ] {
            let value = serde_json::json!({ odd: [odd, 1.5, null] });
            let text = value.to_string().replace(',', ",\r\n\t");
            let shown = json(&text);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
                value
            );
            assert!(
                !shown.contains(|char| is_odd(char) && char != '\n'),
                "{shown}"
            );
            assert_eq!(lines(&shown), shown, "{shown}");
        }
    }
}
