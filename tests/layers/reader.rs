//! Which paths a Rust file names: a small lexer, and a walk over its tokens.
//!
//! Knows comments, strings, `use` trees, `mod` blocks, and `#[cfg(test)]`, whose items it skips.
//! Does not know types, nor what a macro makes of its tokens.

use std::collections::BTreeMap;

use super::CLOCK;

/// Every path in the code of a module, with its line. Those that begin with `self`, `super`, a
/// child module or an imported name are given from the crate's root.
pub(crate) fn paths(text: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let root = matches!(module, [name] if name == "lib" || name == "main");
    let here = if root { &[] } else { module };
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        depth: 0,
        blocks: Vec::new(),
        here: here.to_vec(),
        names: BTreeMap::new(),
        paths: Vec::new(),
    };
    reader.read();
    reader.paths
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    line: usize,
    text: String,
}

/// Walks over tokens and notes paths.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// The inline modules that we are in: the depth of their braces.
    blocks: Vec<usize>,
    /// The module that we are in.
    here: Vec<String>,
    /// What names stand for, as `use` and `mod` say.
    names: BTreeMap<String, Vec<String>>,
    paths: Vec<(usize, Vec<String>)>,
}

impl Reader {
    fn read(&mut self) {
        // `mod x;` may stand below the code that names `x::y`.
        for window in self.tokens.clone().windows(3) {
            let [keyword, name, end] = window else {
                continue;
            };
            if keyword.text == "mod" && end.text == ";" {
                let child = ["self".to_owned(), name.text.clone()];
                self.names.insert(name.text.clone(), self.absolute(&child));
            }
        }
        while self.at < self.tokens.len() {
            self.step();
        }
        self.expand();
    }

    fn step(&mut self) {
        match self.text(0) {
            "#" if self.is_test_only() => self.skip_item(),
            "{" => {
                self.depth += 1;
                self.at += 1;
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.at += 1;
                if self.blocks.last() == Some(&self.depth) {
                    self.blocks.pop();
                    self.here.pop();
                }
            }
            "mod" if self.text(2) == "{" => {
                self.blocks.push(self.depth);
                self.here.push(self.text(1).to_owned());
                self.depth += 1;
                self.at += 3;
            }
            "use" => {
                self.at += 1;
                self.use_tree(Vec::new());
            }
            word if is_name(word) => self.path(),
            _ => self.at += 1,
        }
    }

    fn text(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| &token.text)
    }

    fn is_test_only(&self) -> bool {
        let attribute = ["#", "[", "cfg", "("];
        let is_cfg = attribute
            .iter()
            .enumerate()
            .all(|(n, text)| self.text(n) == *text);
        let all = usize::from(self.text(4) == "all") * 2;
        is_cfg && self.text(4 + all) == "test"
    }

    /// Skips attributes and the item after them, to its `;` or its closing brace.
    fn skip_item(&mut self) {
        let mut open = 0;
        while self.at < self.tokens.len() {
            match self.text(0) {
                "{" | "(" | "[" => open += 1,
                "}" | ")" | "]" => {
                    open -= 1;
                    if open == 0 && self.text(0) == "}" {
                        self.at += 1;
                        return;
                    }
                }
                ";" if open == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// A path in code. A name alone is no path, but the clock's, which may have been imported.
    fn path(&mut self) {
        let is_member = match self.at {
            0 => false,
            at => match self.tokens[at - 1].text.as_str() {
                "." => true,
                // After a type, as in `<T>::new`; else a crate follows, as in `::mio::Poll`.
                "::" => at > 1 && self.tokens[at - 2].text == ">",
                _ => false,
            },
        };
        let line = self.tokens[self.at].line;
        let mut path = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && is_name(self.text(1)) {
            path.push(self.text(1).to_owned());
            self.at += 2;
        }
        if !is_member && (path.len() > 1 || CLOCK.contains(&path[0].as_str())) {
            self.note(line, path);
        }
    }

    /// What follows `use`, or a brace or comma inside one; `prefix` is what stands before it.
    fn use_tree(&mut self, prefix: Vec<String>) {
        let mut path = prefix;
        loop {
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            match self.text(0).to_owned().as_str() {
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.use_tree(path.clone());
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                "*" => {
                    self.at += 1;
                    self.note(line, path);
                    return;
                }
                word if is_name(word) => {
                    let is_last = self.text(1) != "::";
                    if word != "self" || path.is_empty() {
                        path.push(word.to_owned());
                    }
                    self.at += 1;
                    if is_last {
                        let mut name = path.last().cloned().unwrap_or_default();
                        if self.text(0) == "as" {
                            name = self.text(1).to_owned();
                            self.at += 2;
                        }
                        let absolute = self.absolute(&path);
                        if self.blocks.is_empty() {
                            self.names.insert(name, absolute);
                        }
                        self.note(line, path);
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn note(&mut self, line: usize, path: Vec<String>) {
        let path = self.absolute(&path);
        self.paths.push((line, path));
    }

    /// The path from the crate's root, where it says `self` or `super`.
    fn absolute(&self, path: &[String]) -> Vec<String> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let is_relative = ups > 0 || path[0] == "self";
        if !is_relative {
            return path.to_vec();
        }
        let skip = ups.max(1);
        let above = self.here.len().saturating_sub(ups);
        let mut absolute = vec!["crate".to_owned()];
        absolute.extend(self.here[..above].iter().cloned());
        absolute.extend(path[skip..].iter().cloned());
        absolute
    }

    /// Puts what a name stands for in the place of the name, where a path begins with one.
    fn expand(&mut self) {
        for (_, path) in &mut self.paths {
            if let Some(meaning) = self.names.get(&path[0]) {
                let mut whole = meaning.clone();
                whole.extend(path.drain(1..));
                *path = whole;
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The tokens of Rust code that matter here: names, `::` and single marks. No comments, no strings.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |n: usize| chars.get(n).copied().unwrap_or('\0');
    let (mut n, mut line, mut tokens) = (0, 1, Vec::new());
    while n < chars.len() {
        let start = n;
        match at(n) {
            '/' if at(n + 1) == '/' => {
                while n < chars.len() && at(n) != '\n' {
                    n += 1;
                }
            }
            '/' if at(n + 1) == '*' => n = end_of_comment(&chars, n),
            '"' => n = end_of_string(&chars, n + 1),
            // A character, or a lifetime.
            '\'' if at(n + 1) == '\\' => n = end_of_quote(&chars, n + 3),
            '\'' if at(n + 2) == '\'' => n += 3,
            '\'' => n += 1,
            ':' if at(n + 1) == ':' => {
                n += 2;
                let text = "::".to_owned();
                tokens.push(Token { line, text });
            }
            first if first.is_alphabetic() || first == '_' => {
                while at(n).is_alphanumeric() || at(n) == '_' {
                    n += 1;
                }
                let text: String = chars[start..n].iter().collect();
                let is_prefix = ["r", "b", "br", "c", "cr"].contains(&text.as_str());
                let hashes = chars[n..].iter().take_while(|c| **c == '#').count();
                if is_prefix && at(n + hashes) == '"' {
                    n = if text.ends_with('r') {
                        end_of_raw_string(&chars, n + hashes + 1, hashes)
                    } else {
                        end_of_string(&chars, n + 1)
                    };
                } else if text == "b" && at(n) == '\'' {
                    // The character is the next token.
                } else if text == "r" && hashes == 1 {
                    n += 1; // `r#name`
                } else {
                    tokens.push(Token { line, text });
                }
            }
            digit if digit.is_ascii_digit() => {
                while at(n).is_alphanumeric() || at(n) == '_' {
                    n += 1;
                }
            }
            space if space.is_whitespace() => n += 1,
            mark => {
                n += 1;
                let text = mark.to_string();
                tokens.push(Token { line, text });
            }
        }
        n = n.min(chars.len());
        line += chars[start..n].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut n, mut open) = (start, 0);
    while n < chars.len() {
        match chars[n..] {
            ['/', '*', ..] => (n, open) = (n + 2, open + 1),
            ['*', '/', ..] => (n, open) = (n + 2, open - 1),
            _ => n += 1,
        }
        if open == 0 {
            break;
        }
    }
    n
}

fn end_of_string(chars: &[char], mut n: usize) -> usize {
    while n < chars.len() && chars[n] != '"' {
        n += if chars[n] == '\\' { 2 } else { 1 };
    }
    n + 1
}

fn end_of_quote(chars: &[char], mut n: usize) -> usize {
    while n < chars.len() && chars[n] != '\'' {
        n += 1;
    }
    n + 1
}

fn end_of_raw_string(chars: &[char], mut n: usize, hashes: usize) -> usize {
    let closes = |n: usize| {
        let after = chars[n + 1..].iter().take(hashes);
        chars[n] == '"' && after.filter(|c| **c == '#').count() == hashes
    };
    while n < chars.len() && !closes(n) {
        n += 1;
    }
    n + 1 + hashes
}
