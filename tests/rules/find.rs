//! Which rule a descriptor matches: the reference's order of look-ups with its quirks, and a naive matcher as oracle.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::rules::{Domain, Entry, Explanation, LoadOptions, Rule, RuleSet, SourceFile, Varies, load};

/// The rules of domain `d` with these descriptors.
fn rules(descriptors: &str) -> RuleSet {
    let text = format!("domain: d\ndescriptors: {descriptors}").into_bytes();
    let file = SourceFile { name: "f".to_owned(), text };
    load(&[file], LoadOptions::default()).unwrap_or_else(|errors| panic!("{descriptors}\n{errors:#?}"))
}

fn entries(of: &[(String, String)]) -> Vec<Entry<'_>> {
    of.iter().map(|(key, value)| Entry { key: Cow::Borrowed(key), value: Cow::Borrowed(value) }).collect()
}

/// The path of the rule that the entries match, without the domain; empty where none does. Explanations and lists agree with it.
fn find(set: &RuleSet, of: &[(String, String)]) -> String {
    let Some(domain) = set.domain("d") else { return String::new() };
    let found = domain.find(set.rules(), &entries(of)).map(|found| found.rule);
    agree(domain, set, of, found);
    found.map_or_else(String::new, |rule| rule.path.trim_start_matches("d.").to_owned())
}

/// The explanation shows the way to the rule, or why there is none; and the rule applies to those of whom its entries are known.
fn agree(domain: &Domain, set: &RuleSet, of: &[(String, String)], found: Option<&Rule>) {
    let Explanation { steps, rule, ended, near_misses } = domain.explain(set.rules(), &entries(of));
    let index = |rule: &Rule| rule.index;
    assert_eq!(rule.map(index), found.map(index), "{of:?}");
    assert_eq!(ended.is_none(), found.is_some(), "{of:?}: {ended:?}");
    assert!(near_misses.len() <= 5 && near_misses.iter().all(|miss| Some(miss.rule.index) != found.map(index)));
    let Some(found) = found else { return };
    let path: Vec<_> = steps.iter().map(|step| &*step.text).collect();
    assert_eq!(format!("d.{}", path.join(".")), found.path, "{of:?}");
    // Of one key with several values only the known ones are followed, so all of them have to be known.
    let is_twice = of.iter().enumerate().any(|(at, (key, _))| of[..at].iter().any(|(other, _)| other == key));
    let parts = of.chunks(1).filter(|_| !is_twice);
    for known in parts.chain([of]) {
        let applicable = domain.applicable(set.rules(), known);
        assert!(applicable.iter().any(|one| one.rule.index == found.index), "{known:?} of {of:?}: {}", found.path);
    }
}

/// Checks rows of entries, written `key=value key=value`, and the path of the rule that they match.
#[track_caller]
fn check(descriptors: &str, rows: &[(&str, &str)]) {
    // `R` is short for a limit.
    let set = rules(&descriptors.replace(" R", " rate_limit: {unit: day, requests_per_unit: 1}"));
    for (row, expected) in rows {
        let of: Vec<_> = row.split_whitespace().filter_map(|entry| entry.split_once('=')).collect();
        let of: Vec<_> = of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(find(&set, &of), *expected, "{row}");
    }
}

#[test]
fn exact_value_then_first_pattern_then_default() {
    check(
        "[{key: k, R}, {key: k, value: 'a*', R}, {key: k, value: 'ab*', R}, {key: k, value: abc, R}]",
        &[("k=abc", "k_abc"), ("k=abd", "k_a*"), ("k=b", "k"), ("k=", "k"), ("other=abc", ""), ("", "")],
    );
    // The order of patterns is the order of the file.
    check(
        "[{key: k, value: 'ab*', R}, {key: k, value: 'a*', R}]",
        &[("k=abc", "k_ab*"), ("k=ac", "k_a*"), ("k=b", "")],
    );
    // A pattern that an entry spells literally is exact, whatever stands before it.
    check("[{key: k, value: '*', R}, {key: k, value: 'a*', R}]", &[("k=a*", "k_a*"), ("k=ab", "k_*")]);
    // An empty value is no exact value, but patterns may match it.
    check("[{key: k, R}, {key: k, value: '*', R}]", &[("k=", "k_*")]);
}

#[test]
fn patterns_match_the_whole_value() {
    check(
        "[{key: k, value: 'a*c*e', R}, {key: k, value: '*xyz', R}, {key: k, value: 'p*p', R}]",
        &[
            ("k=ace", "k_a*c*e"),
            ("k=abcde", "k_a*c*e"),
            ("k=acce", "k_a*c*e"),
            ("k=ae", ""),
            ("k=aec", ""),
            ("k=xyz", "k_*xyz"),
            ("k=xyzw", ""),
            ("k=p", ""),
            ("k=pp", "k_p*p"),
        ],
    );
}

#[test]
fn patterns_in_keys_match_key_and_value_joined() {
    check("[{key: 'a*', R}]", &[("a=b", "a*"), ("abc=", "a*"), ("b=a", "")]);
    check("[{key: 'a*', value: b, R}]", &[("ax=b", "a*_b"), ("a=b_b", "a*_b"), ("ax=c", ""), ("a*=b", "a*_b")]);
    check("[{key: '*', value: 'x*', R}, {key: k, value: 'x*', R}]", &[("k=xy", "*_x*"), ("l=xy", "*_x*"), ("k=y", "")]);
    check("[{key: k, value: 'x*', R}, {key: '*', value: 'x*', R}]", &[("k=xy", "k_x*"), ("l=xy", "*_x*")]);
    // A key with `*` that an entry spells literally is its default where the pattern itself does not match.
    check("[{key: 'a*b', R}]", &[("a*b=c", "a*b"), ("axb=c", ""), ("ax=b", "a*b"), ("axb=b", "a*b")]);
}

#[test]
fn there_is_no_way_back() {
    // The documented trick: an exact value without a limit is free.
    check("[{key: k, R}, {key: k, value: free}]", &[("k=free", ""), ("k=x", "k")]);
    // An exact value hides the children of the default.
    check(
        "[{key: k, descriptors: [{key: l, R}]}, {key: k, value: a, descriptors: [{key: m, R}]}]",
        &[("k=a l=1", ""), ("k=a m=1", "k_a.m"), ("k=b l=1", "k.l"), ("k=b m=1", "")],
    );
}

#[test]
fn the_depth_must_be_the_same() {
    check(
        "[{key: a, R, descriptors: [{key: b, R}]}, {key: c, descriptors: [{key: d, R}]}]",
        &[
            ("a=1", "a"),
            ("a=1 b=2", "a.b"),
            ("a=1 b=2 c=3", ""),
            ("a=1 x=2", ""),
            ("b=2 a=1", ""),
            ("c=1", ""),
            ("c=1 d=2", "c.d"),
        ],
    );
}

#[test]
fn joined_texts_do_not_collide() {
    check("[{key: a, value: b_c, R}]", &[("a=b_c", "a_b_c"), ("a_b=c", "")]);
    check("[{key: a_b, R}]", &[("a_b=1", "a_b"), ("a=b", "")]);
    check("[{key: a, value: 'b*', R}]", &[("a=bx", "a_b*"), ("a_b=x", "")]);
}

#[test]
fn many_keys_are_found_like_few() {
    let descriptors: Vec<_> = (0..50).map(|n| format!("{{key: k{n}, value: v, R}}, {{key: k{n}, R}}")).collect();
    let set = rules(&format!("[{}]", descriptors.join(", ")).replace(" R", " rate_limit: {unit: day}"));
    for n in 0..50 {
        let key = format!("k{n}");
        assert_eq!(find(&set, &[(key.clone(), "v".to_owned())]), format!("{key}_v"));
        assert_eq!(find(&set, &[(key.clone(), "w".to_owned())]), key);
    }
    assert_eq!(find(&set, &[("k50".to_owned(), "v".to_owned())]), "");
}

#[test]
fn what_belongs_to_the_counter() {
    for (level, varies) in [
        ("key: k", Varies::Value),
        ("key: k, value: v", Varies::Nothing),
        ("key: k, value: 'v*'", Varies::Value),
        ("key: k, value: 'v*', share_threshold: true", Varies::Nothing),
        ("key: 'k*'", Varies::KeyAndValue),
        ("key: 'k*', value: v", Varies::KeyAndValue),
        ("key: 'k*', share_threshold: true", Varies::Key),
    ] {
        let set = rules(&format!("[{{{level}, rate_limit: {{unit: day}}}}]"));
        assert_eq!(set.rules()[0].levels[0].varies, varies, "{level}");
    }
}

/// A descriptor of a random configuration.
#[derive(Clone, Debug)]
struct Node {
    key: String,
    value: String,
    limited: bool,
    children: Vec<Node>,
}

impl Node {
    fn text(&self) -> String {
        if self.value.is_empty() { self.key.clone() } else { format!("{}_{}", self.key, self.value) }
    }

    fn json(&self) -> Value {
        let children: Vec<_> = self.children.iter().map(Self::json).collect();
        let limit = if self.limited { json!({"unit": "day", "requests_per_unit": 1}) } else { Value::Null };
        json!({"key": self.key, "value": self.value, "rate_limit": limit, "descriptors": children})
    }
}

/// Whether a pattern matches a text: by trying everything.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, text) || text.split_first().is_some_and(|(_, text)| matches(pattern, text))
        }
        (Some((p, pattern)), Some((t, text))) => p == t && matches(pattern, text),
        _ => false,
    }
}

/// The rules of the reference's matching, word by word.
fn oracle(level: &[Node], of: &[(String, String)]) -> Option<String> {
    let ((key, value), deeper) = of.split_first()?;
    let exact = level.iter().find(|node| !node.value.is_empty() && (&node.key, &node.value) == (key, value));
    let pattern = || {
        level.iter().find(|node| {
            if node.key.contains('*') {
                matches(node.text().as_bytes(), format!("{key}_{value}").as_bytes())
            } else {
                node.value.contains('*') && node.key == *key && matches(node.value.as_bytes(), value.as_bytes())
            }
        })
    };
    let default = || level.iter().find(|node| node.value.is_empty() && node.key == *key);
    let node = exact.or_else(pattern).or_else(default)?;
    if deeper.is_empty() {
        return node.limited.then(|| node.text());
    }
    Some(format!("{}.{}", node.text(), oracle(&node.children, deeper)?))
}

/// Siblings with different texts.
fn level(children: BoxedStrategy<Vec<Node>>) -> BoxedStrategy<Vec<Node>> {
    let key = prop::sample::select(vec!["a", "b", "ab", "a_b", "a*", "*", "*b", "_"]);
    let node = (key, "[ab_*]{0,4}", any::<bool>(), children).prop_map(|(key, value, limited, children)| Node {
        key: key.to_owned(),
        value,
        limited,
        children,
    });
    let siblings = prop::collection::vec(node, 0..14).prop_map(|mut siblings| {
        let mut texts = std::collections::HashSet::new();
        siblings.retain(|node: &Node| texts.insert(node.text()));
        siblings
    });
    siblings.boxed()
}

fn configuration() -> BoxedStrategy<Vec<Node>> {
    level(level(Just(Vec::new()).boxed()))
}

fn descriptor() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ab_]{1,3}|a\\*", "[ab_*]{0,5}"), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_rules_match_as_the_naive_matcher_says(
        tree in configuration(),
        descriptors in prop::collection::vec(descriptor(), 1..40),
    ) {
        let set = rules(&tree.iter().map(Node::json).collect::<Value>().to_string());
        for of in descriptors {
            prop_assert_eq!(find(&set, &of), oracle(&tree, &of).unwrap_or_default(), "{:?}", of);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = load(&[SourceFile { name: String::new(), text }], LoadOptions::default());
    }

    #[test]
    fn no_words_of_its_own_make_it_panic(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..120),
    ) {
        let text = words.concat().into_bytes();
        let _ = load(&[SourceFile { name: String::new(), text }], LoadOptions::default());
    }
}

/// What configurations are made of, whole lines and crumbs.
const WORDS: &[&str] = &[
    "domain: d\n",
    "descriptors:\n",
    "- key: a\n",
    "  value: b*\n",
    "  rate_limit:\n",
    "    unit: day\n",
    "    period: 1h\n",
    "    requests_per_unit: 5\n",
    "    algorithm: token_bucket\n",
    "    ban: {for: 1s}\n",
    "  rate_limits:\n",
    "  - ",
    "response:\n",
    "  body: {content_type: a/b, template: \"{limit}\"}\n",
    "  metadata: {a: [1, {b: ~}]}\n",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "'",
    "\"",
    "|\n",
    ">\n",
    "#",
    "!!int ",
    "!",
    "%",
    "---\n",
    "...\n",
    "0.5",
    "~",
    "queue: ",
    "? ",
    "é",
    "\u{feff}",
    "\r\n",
    ",",
];
