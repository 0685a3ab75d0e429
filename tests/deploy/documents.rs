//! Rendered manifests: YAML documents as JSON values.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The documents of a rendering, as their kinds are expected: an unknown or a lost one must not go unnoticed.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    /// What was rendered, for messages.
    pub(crate) name: String,
    /// As it was rendered.
    pub(crate) text: String,
    pub(crate) all: Vec<Value>,
}

impl Documents {
    /// Reads a rendering. `kinds` has the kinds of all documents, in the order of their names.
    #[track_caller]
    pub(crate) fn read(name: &str, text: String, kinds: &str) -> Self {
        let all: Vec<Value> = parse(&text).into_iter().filter(|document| !document.is_null()).collect();
        let mut found: Vec<_> = all.iter().map(|document| text_of(&document["kind"])).collect();
        found.sort_unstable();
        assert_eq!(found, kinds.split_whitespace().collect::<Vec<_>>(), "the documents of {name}");
        Self { name: name.to_owned(), text, all }
    }

    /// The documents of a kind.
    pub(crate) fn of<'d>(&'d self, kind: &str) -> impl Iterator<Item = &'d Value> {
        self.all.iter().filter(move |document| document["kind"] == kind)
    }

    /// The only document of a kind.
    #[track_caller]
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let found: Vec<_> = self.of(kind).collect();
        assert_eq!(found.len(), 1, "{kind} of {}", self.name);
        found[0]
    }

    /// The document of this kind and name.
    pub(crate) fn find(&self, kind: &str, name: &Value) -> Option<&Value> {
        self.all.iter().find(|document| document["kind"] == kind && document["metadata"]["name"] == *name)
    }

    /// The Deployments, StatefulSets and Pods.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = Workload<'_>> {
        self.all.iter().filter_map(Workload::of)
    }
}

/// A document with a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload<'d> {
    pub(crate) document: &'d Value,
    /// Its pod: `metadata` and `spec`.
    pub(crate) pod: &'d Value,
}

impl<'d> Workload<'d> {
    fn of(document: &'d Value) -> Option<Self> {
        match text_of(&document["kind"]) {
            "Deployment" | "StatefulSet" => Some(Self { document, pod: &document["spec"]["template"] }),
            "Pod" => Some(Self { document, pod: document }),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'d str {
        text_of(&self.document["metadata"]["name"])
    }

    /// Its containers, sidecars first.
    pub(crate) fn containers(self) -> impl Iterator<Item = &'d Value> {
        let spec = &self.pod["spec"];
        list(&spec["initContainers"]).iter().chain(list(&spec["containers"]))
    }

    /// The container that runs `tidegate serve`.
    pub(crate) fn server(self) -> Option<&'d Value> {
        self.containers().find(|container| container["args"][0] == "serve")
    }

    /// The names of the ports of its containers.
    pub(crate) fn port_names(self) -> Vec<&'d str> {
        self.containers().flat_map(|container| list(&container["ports"])).map(|port| text_of(&port["name"])).collect()
    }
}

/// Whether an object with these labels is selected by `matchLabels`, or a Service's selector; an empty selector selects nothing here.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().filter(|wanted| !wanted.is_empty());
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// The elements of a list; none if it is not there.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text; empty for what is none.
pub(crate) fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The documents of a YAML text.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap_or_else(|error| panic!("{error}\n{text}")).0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        if matches!(event, Event::DocumentStart(_)) {
            let first = events.next().unwrap();
            documents.push(build(first, &mut events));
        }
    }
    documents
}

fn build<'t>(event: Event<'t>, events: &mut impl Iterator<Item = Event<'t>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(event) = events.next().filter(|event| !matches!(event, Event::SequenceEnd)) {
                items.push(build(event, events));
            }
            Value::Array(items)
        }
        Event::MappingStart(..) => {
            let mut pairs = Map::new();
            while let Some(event) = events.next().filter(|event| !matches!(event, Event::MappingEnd)) {
                let Value::String(key) = build(event, events) else { panic!("a key that is no text") };
                let value = events.next().unwrap();
                let value = build(value, events);
                assert!(pairs.insert(key.clone(), value).is_none(), "{key} is there twice");
            }
            Value::Object(pairs)
        }
        other => panic!("not in a rendering: {other:?}"),
    }
}

/// Both tools write the booleans of YAML 1.1 that are texts in quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

#[test]
fn documents_are_read() {
    let text = "a: 1\nb: [x, \"2\", {c: true}]\nd:\n---\ne: |\n  f\n  g\n";
    let expected =
        [serde_json::json!({"a": 1, "b": ["x", "2", {"c": true}], "d": null}), serde_json::json!({"e": "f\ng\n"})];
    assert_eq!(parse(text), expected);
}
