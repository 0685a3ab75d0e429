//! A Rust file, taken apart as far as the rules need it.

use crate::lexer::{blank, is_word};

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text without comments and the insides of literals, line by line as it was.
    pub(crate) code: String,
    /// As `code`, without what only tests compile.
    live: String,
    /// String literals outside tests, each with the line it begins on.
    pub(crate) strings: Vec<(usize, String)>,
}

/// A path such as `std::fs::read`, every group of a `use` spelt out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub(crate) line: usize,
    pub(crate) path: String,
    /// Whether it is called without an argument, type arguments aside.
    pub(crate) called_with_nothing: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, mut strings) = blank(text);
        let is_test = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let live = if is_test { String::new() } else { without_tests(&code) };
        let lines: Vec<&str> = live.lines().collect();
        strings.retain(|(line, _)| lines.get(line - 1).is_some_and(|code| !code.trim().is_empty()));
        Self { path: path.to_owned(), text: text.to_owned(), code, live, strings }
    }

    /// The file's module, as the names from the crate's root on; nothing for files outside `src/`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(inside.strip_suffix("/mod").unwrap_or(inside).split('/').collect())
    }

    /// Every path outside tests.
    pub(crate) fn live_paths(&self) -> Vec<PathUse> {
        let tokens = tokens(&self.live);
        let (mut found, mut at) = (Vec::new(), 0);
        while at < tokens.len() {
            let in_use = tokens[at].text == "use";
            at += usize::from(in_use);
            let start = at;
            path(&tokens, &mut at, "", in_use, &mut found);
            at = at.max(start + 1);
        }
        found
    }
}

/// Lines of `text` that hold `word` as a word of its own.
pub(crate) fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let stands_alone =
        |line: &str, at: usize| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word);
    let found = |line: &str| line.match_indices(word).any(|(at, _)| stands_alone(line, at));
    (1..).zip(text.lines()).filter(|(_, line)| found(line)).map(|(number, _)| number).collect()
}

/// Blanks each item that has the attribute `cfg(test)`, alone or in an `all`.
fn without_tests(code: &str) -> String {
    let mut live = code.to_owned();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(start) = live.find(attribute) {
            let end = start + item_length(&live[start..]);
            let blanks: String = live[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            live.replace_range(start..end, &blanks);
        }
    }
    live
}

/// How far an item goes: to the `;` or the closing `}` that is not inside a group.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    item.len()
}

struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// Words, `::`, and every other character alone.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let (mut found, mut rest, mut line) = (Vec::new(), code, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        line += usize::from(first == '\n');
        if !first.is_whitespace() {
            found.push(Token { line, text });
        }
        rest = after;
    }
    found
}

/// Reads the path at `at`, below `prefix`; in a `use`, groups are spelt out and an alias is passed over.
fn path(tokens: &[Token], at: &mut usize, prefix: &str, in_use: bool, found: &mut Vec<PathUse>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut path = prefix.to_owned();
    while text(*at).starts_with(is_word) || (in_use && text(*at) == "*") {
        path.push_str(text(*at));
        *at += 1;
        if text(*at) != "::" || text(*at + 1) == "<" {
            let line = tokens[*at - 1].line;
            found.push(PathUse { line, path, called_with_nothing: called_with_nothing(tokens, *at) });
            if in_use && text(*at) == "as" {
                *at += 2;
            }
            return;
        }
        path.push_str("::");
        *at += 1;
    }
    if in_use && text(*at) == "{" {
        while *at < tokens.len() && text(*at) != "}" {
            *at += 1;
            self::path(tokens, at, &path, in_use, found);
        }
        *at += 1;
    }
}

fn called_with_nothing(tokens: &[Token], mut at: usize) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    if text(at) == "::" {
        let end = tokens[at..].iter().position(|token| token.text == "(");
        at += end.unwrap_or(0);
    }
    text(at) == "(" && text(at + 1) == ")"
}
