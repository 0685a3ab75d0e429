//! `usage` at the top level of a file: the entry keys by whose values requests are counted.

use super::field::Field;
use super::report::Report;
use super::yaml::{Kind, Node};
use super::{own, quote};

/// Reads `usage: {by: [KEY, ...]}`: the keys, in the order of the file.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Field<Vec<String>> {
    let Kind::Map(pairs) = &node.kind else { return own::unfit(node, "usage", "a map with by", report) };
    let mut by = Field::Absent;
    own::map(pairs, report, |key, value, report| {
        let known = key == "by";
        if known {
            by = keys(value, report);
        }
        known
    });
    match by {
        Field::Given(keys, _) => Field::Given(keys, node.line),
        Field::Invalid => Field::Invalid,
        Field::Absent => own::unfit(node, "usage", "a map with 'by', a list of entry keys", report),
    }
}

fn keys(node: &Node, report: &mut Report<'_>) -> Field<Vec<String>> {
    let items = match &node.kind {
        Kind::List(items) if (1..=MAX_KEYS).contains(&items.len()) => items,
        _ => return own::unfit(node, "by", &format!("a list of 1 to {MAX_KEYS} entry keys"), report),
    };
    let (mut keys, mut invalid) = (Vec::with_capacity(items.len()), false);
    for item in items {
        match text(item).filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len())) {
            Some(key) if keys.iter().any(|known| known == key) => {
                report.error(item.line, format!("'by' lists the entry key '{key}' twice"));
                invalid = true;
            }
            Some(key) => keys.push(key.to_owned()),
            None => {
                let (found, most) = (quote::value(item), MAX_KEY_BYTES);
                report.error(item.line, format!("'by' must list entry keys of 1 to {most} bytes, found '{found}'"));
                invalid = true;
            }
        }
    }
    if invalid { Field::Invalid } else { Field::Given(keys, node.line) }
}

/// The text of any scalar, as the descriptors' own `key` takes it.
fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar(scalar) if !node.is_null() => Some(&scalar.text),
        _ => None,
    }
}

/// Each key costs one look-up in every check of the domain.
const MAX_KEYS: usize = 8;
/// The key is in metrics and reports with every value.
const MAX_KEY_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use crate::rules::{LoadOptions, RuleSet, SourceFile, load};

    fn load_files(texts: &[&str]) -> Result<RuleSet, Vec<String>> {
        let file = |text: &&str| SourceFile { name: "f".into(), text: text.as_bytes().to_vec() };
        let files: Vec<_> = texts.iter().map(file).collect();
        let text = |errors: Vec<crate::rules::ConfigError>| errors.iter().map(ToString::to_string).collect();
        load(&files, LoadOptions { merge_domains: true, ..LoadOptions::default() }).map_err(text)
    }

    #[test]
    fn usage_names_the_entry_keys_by_which_requests_are_counted() {
        let by =
            |text: &str| load_files(&[&format!("domain: d\n{text}")]).unwrap().domain("d").unwrap().usage_by.clone();
        assert_eq!(by("usage: {by: [user, tenant]}"), ["user", "tenant"]);
        assert_eq!(by("usage:\n  by: [1, a b]"), ["1", "a b"]);
        assert!(by("usage:").is_empty() && by("enabled: true").is_empty());
        assert_eq!(by(&format!("usage: {{by: [{}]}}", ["a", "b", "c", "d", "e", "f", "g", "h"].join(", "))).len(), 8);

        let long = "k".repeat(201);
        let list = "'by' must be a list of 1 to 8 entry keys";
        let each = "'by' must list entry keys of 1 to 200 bytes";
        for (text, error) in [
            ("[user]".to_owned(), "'usage' must be a map with by, found '[user]'".to_owned()),
            ("{}".to_owned(), "'usage' must be a map with 'by', a list of entry keys, found 'map[]'".to_owned()),
            ("{by: [user], per: 1}".to_owned(), "config error, unknown key 'per'".to_owned()),
            ("{by: user}".to_owned(), format!("{list}, found 'user'")),
            ("{by: []}".to_owned(), format!("{list}, found '[]'")),
            ("{by: [a, b, c, d, e, f, g, h, i]}".to_owned(), format!("{list}, found '[a b c d e f g h i]'")),
            ("{by: [user, tenant, user]}".to_owned(), "'by' lists the entry key 'user' twice".to_owned()),
            ("{by: ['']}".to_owned(), format!("{each}, found ''")),
            ("{by: [{user: x}]}".to_owned(), format!("{each}, found 'map[user:x]'")),
            (format!("{{by: [{long}]}}"), format!("{each}, found '{long}'")),
        ] {
            let errors = load_files(&[&format!("domain: d\nusage: {text}")]).err().unwrap_or_default();
            assert_eq!(errors.first(), Some(&format!("f:2: {error}")), "{text}");
        }
        assert_eq!(
            load_files(&["domain: d\ndescriptors:\n- key: a\n  usage: {by: [a]}"]).err().unwrap(),
            ["f:4: 'usage' is not allowed in a descriptor: it is a key of the top level of a file"]
        );
    }

    #[test]
    fn files_of_one_domain_agree_on_usage() {
        let (user, tenant) = ("domain: d\nusage: {by: [user]}", "domain: d\nusage: {by: [tenant]}");
        let set = load_files(&[user, "domain: d", user]).unwrap();
        assert_eq!(set.domain("d").unwrap().usage_by, ["user"]);
        assert_eq!(
            load_files(&[user, tenant]).err().unwrap(),
            ["f:2: 'usage' of domain 'd' has a different value in another file: keep one of them"]
        );
    }
}
