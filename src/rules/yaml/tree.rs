//! Parser events -> nodes, with aliases and merge keys resolved.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::scalar::Tag;
use super::{Fault, Kind, Node, Pair, Scalar};

/// How deep lists and maps may nest. What reads the tree recurses, and so does freeing it: this bounds the stack. One
/// level of descriptors takes two, so rules may be 31 levels deep, far beyond any descriptor seen in practice.
const MAX_DEPTH: usize = 64;

/// How many nodes a file may have once its aliases are written out. A rule takes 6 to 20, so this is room for 50,000
/// rules and more in one file; it stops a short file of aliases of aliases that would fill the memory.
const MAX_NODES: usize = 1_000_000;

/// Builds the tree of the first document.
///
/// # Errors
/// The first fault met.
pub(super) fn build(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser::new_from_str(text);
    let mut tree = Tree::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        tree.take(event, span.start.line().max(1))?;
    }
    Ok(tree.root.unwrap_or_else(|| Node { line: 1, kind: Kind::Scalar(Scalar::null()) }))
}

/// The tree so far.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchors: HashMap<usize, Finished>,
    nodes: usize,
    root: Option<Node>,
}

/// A list or map whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Node>,
    nodes: usize,
    depth: usize,
}

/// A node whose end has come.
#[derive(Clone)]
struct Finished {
    node: Node,
    /// How many nodes it consists of.
    nodes: usize,
    /// How deep it nests: 0 for a scalar.
    depth: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
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
        let kind = if is_map { Kind::Map(pairs(items)?) } else { Kind::List(items) };
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

    /// Counts nodes that are about to take memory.
    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let cause = format!("more than {MAX_NODES} values, those that aliases repeat included");
            return Err(Fault { line, cause });
        }
        Ok(())
    }
}

/// What the parser calls the absence of an anchor.
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

/// Keys and values in turn -> pairs. The pairs of a `<<` stand in its place; of several maps the earlier one wins, so
/// it comes last.
fn pairs(items: Vec<Node>) -> Result<Vec<Pair>, Fault> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        match &key.kind {
            Kind::Scalar(scalar) if scalar.is_merge() => merge(value, &mut pairs)?,
            Kind::Scalar(_) => pairs.push(Pair { key, value }),
            _ => return Err(Fault { line: key.line, cause: "invalid map key: a list or a map".to_owned() }),
        }
    }
    Ok(pairs)
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

    /// The tree in one line: `{key: value, ...}`, `[...]`, texts as they stand.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar(scalar) => scalar.text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|pair| format!("{}: {}", show(&pair.key), show(&pair.value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
            Kind::Refused => "refused".to_owned(),
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
            ("a: [x,\ny]", "2: invalid indentation in flow construct"),
            ("a:\n- {b: x,\n  c: y}", "{a: [{b: x, c: y}]}"),
            ("a:\tb", "1: ':' must be followed by a valid YAML whitespace"),
            ("a: b\t# comment", "{a: b}"),
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
            let got =
                read(text.as_bytes()).map_or_else(|fault| format!("{}: {}", fault.line, fault.cause), |n| show(&n));
            assert_eq!(got, expected, "{text:?}");
        }
        let fault = read(b"a: 1\nb: \xff").unwrap_err();
        assert_eq!((fault.line, fault.cause.as_str()), (2, "invalid UTF-8"));
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
