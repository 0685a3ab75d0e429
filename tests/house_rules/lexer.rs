//! Tells Rust's code from its comments and literals.

/// A text without the insides of comments and literals, line by line as it was, and the string literals with the line
/// each begins on.
pub(crate) fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings, mut line, mut at) = (String::new(), Vec::new(), 1, 0);
    while at < chars.len() {
        let piece = piece(&chars, at);
        let whole = &chars[at..piece.end.clamp(at + 1, chars.len())];
        match piece.kind {
            Kind::Code => code.extend(whole),
            Kind::Comment => code.extend(whole.iter().copied().map(blanked)),
            Kind::Literal { from, to } => {
                code.push('"');
                code.extend(whole[1..].iter().copied().map(blanked));
                strings.push((line, chars[from.min(chars.len())..to.min(chars.len())].iter().collect()));
            }
        }
        line += whole.iter().filter(|c| **c == '\n').count();
        at += whole.len();
    }
    (code, strings)
}

/// Whether a character may be part of a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Piece {
    kind: Kind,
    end: usize,
}

enum Kind {
    Code,
    Comment,
    /// A string or character literal, and where its text is.
    Literal {
        from: usize,
        to: usize,
    },
}

fn piece(chars: &[char], at: usize) -> Piece {
    let next = |i: usize| chars.get(at + i).copied().unwrap_or('\0');
    match (next(0), next(1)) {
        ('/', '/') => Piece { kind: Kind::Comment, end: find(chars, at, &['\n']) },
        ('/', '*') => Piece { kind: Kind::Comment, end: block_comment_end(chars, at) },
        ('"', _) => literal(chars, at, '"'),
        ('\'', '\\') => literal(chars, at, '\''),
        // Any other quote begins a lifetime.
        ('\'', _) if next(2) == '\'' => literal(chars, at, '\''),
        ('r', '"' | '#') => raw_literal(chars, at),
        // `b` and `c` may stand before a literal: the rest of it is a piece of its own.
        ('b' | 'c', '"' | '\'' | 'r') => Piece {
            kind: Kind::Code,
            end: if next(1) == 'r' && !"\"#".contains(next(2)) { word_end(chars, at) } else { at + 1 },
        },
        (c, _) if is_word(c) => Piece { kind: Kind::Code, end: word_end(chars, at) },
        _ => Piece { kind: Kind::Code, end: at + 1 },
    }
}

fn literal(chars: &[char], at: usize, quote: char) -> Piece {
    let mut to = at + 1;
    while to < chars.len() && chars[to] != quote {
        to += if chars[to] == '\\' { 2 } else { 1 };
    }
    Piece { kind: Kind::Literal { from: at + 1, to }, end: to + 1 }
}

fn raw_literal(chars: &[char], at: usize) -> Piece {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let from = at + hashes + 2;
    if chars.get(from - 1) != Some(&'"') {
        return Piece { kind: Kind::Code, end: from - 1 };
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let to = find(chars, from, &closing);
    Piece { kind: Kind::Literal { from, to }, end: to + closing.len() }
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            break;
        }
    }
    end
}

fn word_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| !is_word(*c)).map_or(chars.len(), |length| at + length)
}

/// Where `what` begins at or after `at`; the end when it does not.
fn find(chars: &[char], at: usize, what: &[char]) -> usize {
    let rest = chars.get(at..).unwrap_or_default();
    rest.windows(what.len()).position(|window| window == what).map_or(chars.len(), |n| at + n)
}

fn blanked(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}
