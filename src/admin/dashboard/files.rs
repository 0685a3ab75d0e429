//! The files of the page, which are part of the program.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

/// A file: its name, its type and its content.
type File = (&'static str, &'static str, &'static str);

/// The page itself. It says whether the port asks for a token, so that it need not try without one.
pub(super) fn index(asks_for_tokens: bool) -> String {
    let index = include_str!("page/index.html");
    if asks_for_tokens { index.replacen(" data-token=\"none\"", " data-token=\"needed\"", 1) } else { index.to_owned() }
}

pub(super) fn page(index: &str) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], index.to_owned()).into_response()
}

/// `GET /dashboard/FILE`.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, _, _)| *known == name) {
        Some((_, content_type, content)) => ([(CONTENT_TYPE, *content_type)], *content).into_response(),
        None => (StatusCode::NOT_FOUND, "not a file of the dashboard\n").into_response(),
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All that `index.html` and its scripts name.
const FILES: [File; 19] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("theme.js", SCRIPT, include_str!("page/theme.js")),
    ("access.js", SCRIPT, include_str!("page/access.js")),
    ("stream.js", SCRIPT, include_str!("page/stream.js")),
    ("series.js", SCRIPT, include_str!("page/series.js")),
    ("format.js", SCRIPT, include_str!("page/format.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("totals.js", SCRIPT, include_str!("page/totals.js")),
    ("rules.js", SCRIPT, include_str!("page/rules.js")),
    ("callers.js", SCRIPT, include_str!("page/callers.js")),
    ("bans.js", SCRIPT, include_str!("page/bans.js")),
    ("alerts.js", SCRIPT, include_str!("page/alerts.js")),
    ("settings.js", SCRIPT, include_str!("page/settings.js")),
    ("candidate.js", SCRIPT, include_str!("page/candidate.js")),
    ("history.js", SCRIPT, include_str!("page/history.js")),
    ("configuration.js", SCRIPT, include_str!("page/configuration.js")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_files_that_there_are() {
        let is_there = |name: &str| FILES.iter().any(|(known, _, _)| *known == name);
        for name in include_str!("page/index.html").split("/dashboard/").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(is_there(name), "{name}");
        }
        for (file, _, content) in FILES {
            for name in content.lines().filter(|line| line.starts_with("import ")) {
                let name = name.split("\"./").nth(1).and_then(|name| name.split('"').next());
                assert!(name.is_some_and(is_there), "{file}: {name:?}");
            }
        }
    }

    #[test]
    fn the_page_says_whether_a_token_is_needed() {
        assert!(index(true).contains("data-token=\"needed\"") && !index(false).contains("data-token=\"needed\""));
    }

    /// The policy forbids what is inline, and the page needs nothing from elsewhere.
    #[test]
    fn nothing_is_inline_and_nothing_is_elsewhere() {
        let all = FILES.iter().map(|(name, _, content)| (*name, *content));
        for (name, content) in all.chain([("index.html", include_str!("page/index.html"))]) {
            let outside = content.replace("http://www.w3.org/2000/svg", "");
            for bad in [
                "://",
                "style=\"",
                " onclick=\"",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!outside.contains(bad), "{name} contains {bad}");
            }
        }
    }
}
