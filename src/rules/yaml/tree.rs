//! Parser events -> nodes, with aliases and merge keys resolved.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::input::Lenient;
use super::repair::Repair;
use super::scalar::{Tag, Value};
use super::{Document, Fault, Kind, Node, Pair, Repeated, Scalar};

/// The nesting depth of lists and maps. Reading and freeing the tree recurse, so this bounds the stack. One level of
/// descriptors takes two, so rules may be 31 levels deep, far beyond any descriptor seen in practice.
const MAX_DEPTH: usize = 64;

/// The number of nodes of a file with its aliases written out. A rule takes 6 to 20, so one file can contain 50,000 rules and
/// more; it stops a short file of aliases of aliases from filling the memory.
const MAX_NODES: usize = 1_000_000;

/// Builds the tree of the first document. `in_file` maps a line of the text to its number in the file.
///
/// # Errors
/// The first error found.
pub(super) fn build(text: &str, in_file: &dyn Fn(usize) -> usize) -> Result<Document, Fault> {
    let error = match attempt(text, in_file) {
        Err(TreeError::Syntax(error)) => error,
        Err(TreeError::Content(fault)) => return Err(fault),
        Ok(document) => return Ok(document),
    };
    let mut repair = Repair::new(text);
    let mut last = error.clone();
    while repair.mend(&last) {
        match attempt(repair.text(), in_file) {
            Err(TreeError::Syntax(error)) => last = error,
            Err(TreeError::Content(fault)) => return Err(fault),
            Ok(document) => return Ok(document),
        }
    }
    Err(syntax(&last))
}

/// Why a text cannot be read.
enum TreeError {
    /// The parser rejects it.
    Syntax(ScanError),
    /// The parser accepts it, but the content cannot be used.
    Content(Fault),
}

impl From<ScanError> for TreeError {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

impl From<Fault> for TreeError {
    fn from(fault: Fault) -> Self {
        Self::Content(fault)
    }
}

fn attempt(text: &str, in_file: &dyn Fn(usize) -> usize) -> Result<Document, TreeError> {
    let mut parser = Parser::new(Lenient::new(text));
    let mut tree = Tree::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        tree.process(event, in_file(span.start.line().max(1)))?;
    }
    let root = tree.root.unwrap_or_else(|| Node { line: 1, kind: Kind::Scalar(Scalar::null()) });
    Ok(Document { root, repeated: tree.repeated, more: text_behind(&mut parser).map(in_file) })
}

/// The line of text after the document that has just ended; comments do not count, but text that cannot be parsed does.
fn text_behind(parser: &mut Parser<'_, Lenient<'_>>) -> Option<usize> {
    let mut begin = None;
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => return None,
            Ok((Event::DocumentStart(_), span)) => begin = Some(span.start.line()),
            Ok((Event::Scalar(text, ScalarStyle::Plain, ..), _)) if text == "~" || text.is_empty() => {}
            Ok((Event::DocumentEnd, _)) => begin = None,
            Ok((_, span)) => return Some(begin.unwrap_or(span.start.line()).max(1)),
            Err(error) => return Some(begin.unwrap_or(error.marker().line()).max(1)),
        }
    }
    None
}

/// The tree that is being built.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchors: HashMap<usize, Finished>,
    nodes: usize,
    root: Option<Node>,
    repeated: Vec<Repeated>,
}

/// A list or map that has not ended yet.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Node>,
    nodes: usize,
    depth: usize,
}

/// A complete node.
#[derive(Clone)]
struct Finished {
    node: Node,
    /// The number of nodes that it consists of.
    nodes: usize,
    /// Its nesting depth: 0 for a scalar.
    depth: usize,
}

impl Tree {
    fn process(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, line)?;
                let scalar = Scalar::resolve(text.into_owned(), tag_of(tag.as_deref(), style));
                let scalar = scalar.map_err(|cause| Fault { line, cause })?;
                let node = Node { line, kind: Kind::Scalar(scalar) };
                self.push(Finished { node, nodes: 1, depth: 0 }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = self.anchors.get(&anchor) else {
                    return Err(Fault { line, cause: "anchor value contains itself".to_owned() });
                };
                let known = known.clone();
                self.count(known.nodes, line)?;
                self.push(known, NO_ANCHOR)
            }
            Event::SequenceStart(anchor, _) => self.begin(false, anchor, line),
            Event::MappingStart(anchor, _) => self.begin(true, anchor, line),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, is_map: bool, anchor: usize, line: usize) -> Result<(), Fault> {
        self.count(1, line)?;
        if self.open.len() == MAX_DEPTH {
            return Err(too_deep(line));
        }
        self.open.push(Open { line, anchor, is_map, items: Vec::new(), nodes: 1, depth: 1 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { line, anchor, is_map, items, nodes, depth }) = self.open.pop() else { return Ok(()) };
        let kind = if is_map { Kind::Map(self.pairs(items)?) } else { Kind::List(items) };
        self.push(Finished { node: Node { line, kind }, nodes, depth }, anchor)
    }

    fn push(&mut self, finished: Finished, anchor: usize) -> Result<(), Fault> {
        let line = finished.node.line;
        if self.open.len().saturating_add(finished.depth) > MAX_DEPTH {
            return Err(too_deep(line));
        }
        if anchor != NO_ANCHOR {
            self.count(finished.nodes, line)?;
            self.anchors.insert(anchor, finished.clone());
        }
        match self.open.last_mut() {
            Some(parent) => {
                parent.nodes = parent.nodes.saturating_add(finished.nodes);
                parent.depth = parent.depth.max(finished.depth.saturating_add(1));
                parent.items.push(finished.node);
            }
            None => self.root = Some(finished.node),
        }
        Ok(())
    }

    /// Alternating keys and values -> pairs. The pairs of a `<<` take its place. Of several merged maps the first one wins, so it
    /// comes last.
    fn pairs(&mut self, items: Vec<Node>) -> Result<Vec<Pair>, Fault> {
        let mut pairs = Vec::with_capacity(items.len() / 2);
        let mut lines = HashMap::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            match &key.kind {
                Kind::Scalar(scalar) if scalar.is_merge() => merge(value, &mut pairs)?,
                Kind::Scalar(scalar) => {
                    if let Some(first) = lines.insert(identity(scalar), key.line) {
                        self.note_repeated(scalar, key.line, first);
                    }
                    pairs.push(Pair { key, value });
                }
                _ => return Err(Fault { line: key.line, cause: "invalid map key: a list or a map".to_owned() }),
            }
        }
        Ok(pairs)
    }

    fn note_repeated(&mut self, key: &Scalar, line: usize, first: usize) {
        if self.repeated.len() < MAX_REPEATED {
            self.repeated.push(Repeated { key: key.text.clone(), line, first });
        }
    }

    /// Counts nodes before they take memory.
    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let cause = format!("more than {MAX_NODES} values, including those repeated by aliases");
            return Err(Fault { line, cause });
        }
        Ok(())
    }
}

/// As many as of other findings.
const MAX_REPEATED: usize = 1_000;

/// The identity of a key in a map: `0x10` is the same as 16, `"16"` is not.
fn identity(key: &Scalar) -> (&'static str, String) {
    match key.value {
        Value::Null => ("null", String::new()),
        Value::Bool(bool) => ("bool", bool.to_string()),
        Value::Int(int) => ("int", int.to_string()),
        Value::Uint(uint) => ("int", uint.to_string()),
        Value::Float(float) => ("float", float.to_string()),
        Value::Text => ("text", key.text.clone()),
    }
}

/// The parser's id for no anchor.
const NO_ANCHOR: usize = 0;

fn too_deep(line: usize) -> Fault {
    Fault { line, cause: format!("nested deeper than {MAX_DEPTH} lists and maps") }
}

fn syntax(error: &ScanError) -> Fault {
    Fault { line: error.marker().line().max(1), cause: error.info().to_owned() }
}

fn tag_of(tag: Option<&saphyr_parser::Tag>, style: ScalarStyle) -> Tag {
    match tag {
        None if style == ScalarStyle::Plain => Tag::Plain,
        None => Tag::Quoted,
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Tag::Quoted,
        Some(tag) if tag.is_yaml_core_schema() => Tag::Explicit(format!("!!{}", tag.suffix)),
        Some(tag) => Tag::Explicit(format!("{}{}", tag.handle, tag.suffix)),
    }
}

fn merge(value: Node, into: &mut Vec<Pair>) -> Result<(), Fault> {
    let line = value.line;
    let want_map = || Fault { line, cause: "map merge requires map or sequence of maps as the value".to_owned() };
    match value.kind {
        Kind::Map(pairs) => into.extend(pairs),
        Kind::List(maps) => {
            for map in maps.into_iter().rev() {
                let Kind::Map(pairs) = map.kind else { return Err(want_map()) };
                into.extend(pairs);
            }
        }
        _ => return Err(want_map()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Node, read};

    /// The tree in one line: `{key: value, ...}`, `[...]`, literal texts.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar(scalar) => scalar.text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|pair| format!("{}: {}", show(&pair.key), show(&pair.value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
            Kind::Invalid => "invalid".to_owned(),
        }
    }

    #[test]
    fn trees() {
        for (text, expected) in [
            ("", ""),
            ("# only a comment", ""),
            ("a: 1", "{a: 1}"),
            ("\u{feff}a: 1", "{a: 1}"),
            ("a: 1\n---\nb: 2", "{a: 1}"),
            ("a: 1\n...\n]]]", "{a: 1}"),
            ("a: &x {b: 1}\nc: *x", "{a: {b: 1}, c: {b: 1}}"),
            ("a: &x 1\nb: &x 2\nc: *x", "{a: 1, b: 2, c: 2}"),
            ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3", "{a: {b: 1, c: 2}, d: {b: 1, c: 2, b: 3}}"),
            ("d:\n  b: 3\n  <<: {b: 1}", "{d: {b: 3, b: 1}}"),
            ("<<: [{a: 1}, {a: 2}]", "{a: 2, a: 1}"),
            ("'<<': {a: 1}", "{<<: {a: 1}}"),
            ("!!merge x: 1", "1: map merge requires map or sequence of maps as the value"),
            ("a: 1\n<<: 2", "2: map merge requires map or sequence of maps as the value"),
            ("<<: [1]", "1: map merge requires map or sequence of maps as the value"),
            ("a: [\n  x\n]", "{a: [x]}"),
            ("a: {\n  b: x,\n}", "{a: {b: x}}"),
            ("{\n\"a\":\n[\n{\"b\": 1},\n2\n]\n}", "{a: [{b: 1}, 2]}"),
            ("{\"a\":1,\"b\":[\"x\"]}", "{a: 1, b: [x]}"),
            ("a:\n- {b: x,\n  c: y}", "{a: [{b: x, c: y}]}"),
            ("a: b\t# comment", "{a: b}"),
            (
                "a: \"b\"# c\nd: 'e'#f\ng: [h]#i\nj: {k: l}#m\nn: [o,#p\n q]",
                "{a: b, d: e, g: [h], j: {k: l}, n: [o, q]}",
            ),
            ("a: 'b'#c\n- d", "2: while parsing a block mapping, did not find expected key"),
            ("a: |#c\n b\nd: b#c", "{a: b\n, d: b#c}"),
            ("a: \"x\ny\"\nb: 'p\n\nq''r\n s'", "{a: x y, b: p\nq'r s}"),
            ("- a: \"x\n%y\"", "[{a: x %y}]"),
            ("- a: \"x\r\ny\rz\"", "[{a: x y z}]"),
            ("- {a: x\ny, b: c}", "[{a: x y, b: c}]"),
            ("- {a: x\n%y, b: 'c\n%d'}\n- e\n  %f", "[{a: x %y, b: c %d}, e %f]"),
            ("- a: \"x\\\ny \\\" z\n\"\n  b: c", "[{a: xy \" z , b: c}]"),
            ("a: 'x\n--- y'", "1: while scanning a quoted scalar, found unexpected document indicator"),
            ("a: [x,\ny]\nb: {c: [\nd\n], e:\nf}", "{a: [x, y], b: {c: [d], e: f}}"),
            ("- - - a: [x,\ny\n]\n      b: c", "[[[{a: [x, y], b: c}]]]"),
            ("a:\tb\nc:\t\t d", "{a: b, c: d}"),
            ("a: b\u{85}c: d\u{85}", "{a: b, c: d}"),
            ("a: |\n x\u{85} y\n", "{a: x\ny\n}"),
            ("a: b # c\n\n\n#d\ne: f\r\ng: |\n  h\n  i\n", "{a: b, e: f, g: h\ni\n}"),
            ("a: x: y", "1: mapping values are not allowed in this context"),
            ("a: @b", "1: unexpected character: `@'"),
            ("a: 'it''s'\nb: \"\\u00e9\\/\"", "{a: it's, b: é/}"),
            ("a: *b*", "1: while parsing node, found unknown anchor"),
            ("a: /*", "{a: /*}"),
            ("a: b*c", "{a: b*c}"),
            ("[a]: 1", "1: invalid map key: a list or a map"),
            ("a: &x [*x]", "1: anchor value contains itself"),
            ("a:\n  - !!int abc", "2: cannot decode !!str `abc` as a !!int"),
            ("a: \"x\u{1}\"", "1: control characters are not allowed"),
        ] {
            let got = read(text.as_bytes())
                .map_or_else(|fault| format!("{}: {}", fault.line, fault.cause), |d| show(&d.root));
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_lost_is_noted() {
        for (text, repeated, more) in [
            ("a: 1\nb: 2", "", None),
            ("a: 1\nb: {c: 1, c: 2}\na: 3\na: 4", "c 2 2, a 3 1, a 4 3", None),
            ("a: 1\n'a': 2\n1: x\n0x1: y\n'1': z", "a 2 1, 0x1 4 3", None),
            ("x: &x {a: 1}\ny: {<<: *x, a: 2, <<: *x}", "", None),
            ("x: &x {a: 1, a: 1}\ny: *x", "a 1 1", None),
            ("a: 1\n---\nb: 2", "", Some(2)),
            ("a: 1\n---\n# c\n---\n\n", "", None),
            ("a: 1\n---\n---\nb: 2", "", Some(3)),
            ("---\na: 1\n...\n# c\n", "", None),
            ("a: 1\n...\n]]]", "", Some(3)),
            ("---\n# nothing\n---\na: 1", "", Some(3)),
            ("a: 1\n---\n!!str\n", "", None),
        ] {
            let document = read(text.as_bytes()).unwrap();
            let noted = document.repeated.iter().map(|key| format!("{} {} {}", key.key, key.line, key.first));
            assert_eq!((noted.collect::<Vec<_>>().join(", ").as_str(), document.more), (repeated, more), "{text:?}");
        }
    }

    #[test]
    fn repairs_are_bounded() {
        let text = |lines: usize| format!("a: {{b: [\n{}]}}", "x,\n".repeat(lines));
        assert!(read(text(50).as_bytes()).is_ok());
        let fault = read(text(5_000).as_bytes()).unwrap_err();
        assert_eq!(fault.cause, "invalid indentation in flow construct");
        assert!(read("- 'a'#\n".repeat(30_000).as_bytes()).is_ok());
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(64).as_bytes()).is_ok());
        assert_eq!(read(nested(65).as_bytes()).unwrap_err().cause, "nested deeper than 64 lists and maps");

        let through_an_alias = format!("a: &a {}\nb: {}*a{}", nested(32), "[".repeat(32), "]".repeat(32));
        assert_eq!(read(through_an_alias.as_bytes()).unwrap_err().cause, "nested deeper than 64 lists and maps");

        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}", level - 1);
            laughs = format!("{laughs}a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        assert!(read(laughs.as_bytes()).unwrap_err().cause.starts_with("more than 1000000 values"));
    }
}
