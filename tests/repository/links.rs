//! Links in the documentation lead somewhere, and every page can be reached from README.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::files::{self, File};
use crate::{Finding, report};

#[test]
fn relative_links_lead_to_files_and_headings() {
    let pages = pages();
    let broken = pages.iter().flat_map(|(path, text)| links(path, text)).filter_map(|link| {
        let reason = broken(&pages, &link)?;
        Some(Finding { path: link.from, line: link.line, what: format!("({}) {reason}", link.target) })
    });
    report("links lead to what there is", &broken.collect::<Vec<_>>());
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let pages = pages();
    let (mut reached, mut next) = (BTreeSet::new(), vec!["README.md".to_owned()]);
    while let Some(page) = next.pop() {
        let Some(text) = pages.get(&page).filter(|_| reached.insert(page.clone())) else { continue };
        for link in links(&page, text) {
            let target = link.path();
            // A link to a directory shows all pages in it.
            next.extend(pages.keys().filter(|page| page.starts_with(&format!("{target}/"))).cloned());
            next.push(target);
        }
    }
    let lost: Vec<_> = pages.keys().filter(|page| page.starts_with("docs/") && !reached.contains(*page)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

struct Link {
    from: String,
    line: usize,
    target: String,
}

impl Link {
    /// The file that it leads to, from the repository's root.
    fn path(&self) -> String {
        let file = self.target.split('#').next().unwrap_or_default();
        if file.is_empty() {
            return self.from.clone();
        }
        let joined = Path::new(&self.from).parent().unwrap().join(file);
        let mut path = PathBuf::new();
        for part in joined.components() {
            match part {
                Component::ParentDir => assert!(path.pop(), "{} leaves the repository", self.target),
                Component::CurDir => {}
                part => path.push(part),
            }
        }
        path.to_string_lossy().into_owned()
    }
}

fn pages() -> BTreeMap<String, String> {
    let is_page = |file: &File| {
        Path::new(&file.path).extension().is_some_and(|extension| extension == "md") && !file.path.starts_with("proto/")
    };
    files::all().into_iter().filter(is_page).map(|File { path, text }| (path, text)).collect()
}

/// The relative links of a page, code aside.
fn links(path: &str, text: &str) -> Vec<Link> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (line, text) in (1..).zip(text.lines()) {
        in_code ^= text.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let outside_code: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (_, rest) in outside_code.match_indices("](").map(|(at, found)| (at, &outside_code[at + found.len()..])) {
            let target = rest.split(')').next().unwrap_or_default().to_owned();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(Link { from: path.to_owned(), line, target });
            }
        }
    }
    found
}

fn broken(pages: &BTreeMap<String, String>, link: &Link) -> Option<String> {
    let path = link.path();
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists() {
        return Some(format!("leads to {path}, which is not there"));
    }
    let (_, anchor) = link.target.split_once('#')?;
    let text = pages.get(&path)?;
    let is_there = headings(text).any(|heading| slug(heading) == anchor);
    (!is_there).then(|| format!("leads to a heading that {path} has not"))
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        in_code ^= line.trim_start().starts_with("```");
        !in_code && line.starts_with('#')
    })
}

/// As forges make anchors: lower case, spaces as hyphens, punctuation left out.
fn slug(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

#[test]
fn planted_links_are_found() {
    let page = "# A page\n[a](#a-page) [b](docs/none.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](https://h)\n[i](#none)";
    let pages = BTreeMap::from([("README.md".to_owned(), page.to_owned())]);
    let found = links("README.md", page);
    let broken: Vec<_> = found.iter().filter_map(|link| broken(&pages, link).map(|_| link.target.as_str())).collect();
    assert_eq!(broken, ["docs/none.md", "#none"]);
}
