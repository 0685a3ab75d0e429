//! docs/OPERATING.md, run: every command of its `console` blocks, against a server for each section.
//!
//! `UPDATE_DOCS=1 cargo test --test service operating` writes what the commands print into the page.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::server::{self, TestServer, next_minute_if_late};

/// A fenced block of a page: its first and last line between the fences, from 0.
struct Block {
    language: String,
    first: usize,
    lines: Vec<String>,
}

/// What is below one heading.
struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[test]
fn every_command_of_the_page_prints_what_the_page_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md");
    let page: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let sections = sections(&page);
    let common = sections.iter().flat_map(|section| &section.blocks).find(|block| block.file() == "rules.yaml");
    let common = common.expect("the page has a configuration").text();
    let (mut updated, mut wrong, mut run) = (page.clone(), String::new(), Vec::new());
    // From the end on, so that the lines before a block stay where they are.
    for section in sections.iter().rev().filter(|section| section.blocks.iter().any(Block::is_console)) {
        let server = start(section, &common);
        let results: Vec<_> = section.consoles().map(|block| (block, transcript(block, &server, &mut run))).collect();
        for (block, shown) in results.into_iter().rev() {
            if steady(&block.lines) != steady(&shown) {
                let (known, new) = (block.lines.join("\n"), shown.join("\n"));
                writeln!(wrong, "--- {}: the page has\n{known}\n--- but it is\n{new}", section.title).unwrap();
                updated.splice(block.first..block.first + block.lines.len(), shown);
            }
        }
    }
    for command in COMMANDS {
        assert!(run.iter().any(|line| line.contains(&format!("tidegate {command}"))), "the page has no '{command}'");
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, updated.join("\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong}\n`UPDATE_DOCS=1 cargo test --test service operating` writes it again");
    }
}

impl Block {
    fn is_console(&self) -> bool {
        self.language == "console"
    }

    /// The name of a file of rules, which is in its first line: `# rules.yaml`.
    fn file(&self) -> &str {
        let name = self.lines.first().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        if self.language == "yaml" { name } else { "" }
    }

    fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}

impl Section {
    fn consoles(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| block.is_console())
    }
}

fn sections(page: &[String]) -> Vec<Section> {
    let mut sections = vec![Section { title: String::new(), blocks: Vec::new() }];
    let mut open: Option<Block> = None;
    for (index, line) in page.iter().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.to_owned(), first: index + 1, lines: Vec::new() });
            }
            (Some(_), Some(_)) => sections.last_mut().unwrap().blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.clone()),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    sections.push(Section { title: title.to_owned(), blocks: Vec::new() });
                }
            }
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    sections
}

/// The server of a section: with its own rules or those of the page, and the flags of `$ tidegate serve rules.yaml ...`.
fn start(section: &Section, common: &str) -> TestServer {
    let own = section.blocks.iter().find(|block| block.file() == "rules.yaml").map(Block::text);
    let serve = section.consoles().flat_map(|block| &block.lines).find_map(|line| line.strip_prefix(SERVE));
    let flags: Vec<_> = serve.unwrap_or_default().split_whitespace().collect();
    let server = TestServer::start(own.as_deref().unwrap_or(common), &flags);
    for block in section.blocks.iter().filter(|block| !block.file().is_empty()) {
        fs::write(server.dir.path().join(block.file()), block.text()).unwrap();
    }
    next_minute_if_late();
    server
}

/// The lines of a block with what its commands print now. A status other than 0 is the last line of an output.
fn transcript(block: &Block, server: &TestServer, run: &mut Vec<String>) -> Vec<String> {
    let mut shown = Vec::new();
    let mut lines = block.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let Some(start) = line.strip_prefix("$ ") else { continue };
        shown.push(line.clone());
        let mut command = start.to_owned();
        while command.ends_with('\\') {
            let next = lines.next().expect("a command goes on");
            shown.push(next.clone());
            write!(command, "\n{next}").unwrap();
        }
        if !line.starts_with(SERVE) {
            shown.extend(output(&command, server));
        }
        run.push(command);
    }
    shown
}

fn output(command: &str, server: &TestServer) -> Vec<String> {
    if let Some(page) = command.strip_prefix(CURL) {
        let (_, body) = server::http(&server.admin, "GET", &format!("/{}", page.trim_end_matches('\'')), b"");
        return body.lines().map(str::to_owned).collect();
    }
    let mut shell = Command::new("sh");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        shell.env_remove(name);
    }
    shell.env("BINARY", server::binary()).current_dir(server.dir.path());
    shell.env("TIDEGATE_ADMIN_URL", format!("http://{}", server.admin));
    shell.env("TIDEGATE_ADDR", format!("http://{}", server.grpc));
    let script = format!("exec 2>&1\ntidegate() {{ \"$BINARY\" \"$@\"; }}\n{command}");
    let output = shell.args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&format!("{}/", server.dir.path().display()), "");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    match output.status.code() {
        Some(0) => {}
        code => lines.push(format!("# exit status {}", code.expect("it ended by itself"))),
    }
    lines
}

/// Lines without what differs from run to run, which is instants and lengths of time that pass, and what follows from their
/// width: the spaces of a table and the ends of the lines of a paragraph.
fn steady(lines: &[String]) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in lines {
        if line.starts_with("$ ") {
            words.push(format!("\n{line}\n"));
            continue;
        }
        for cell in line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()) {
            if cell.split(' ').all(is_length) {
                words.push("LENGTH".to_owned());
            } else {
                words.extend(cell.split(' ').map(str::to_owned));
            }
        }
    }
    steady_words(&words).join(" ")
}

/// A length of time passes if it follows `in` or begins a parenthesis: `reset in 18 s`, `(in 1h 59m)`, `(3s ago)`.
fn steady_words(given: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (index, word) in given.iter().enumerate() {
        let bare = word.trim_start_matches('(').trim_end_matches([')', ',', ':', ';']);
        let before = words.last().map_or("", String::as_str);
        let goes_on = matches!(before, "LENGTH" | "(LENGTH");
        let passes = goes_on || matches!(before, "in" | "(in") || word.starts_with('(');
        let seconds = given.get(index + 1).is_some_and(|next| next == "s") && is_length(&format!("{bare}s"));
        if is_instant(bare) {
            words.push(word.replace(bare, "TIME"));
        } else if passes && (is_length(bare) || seconds) {
            let word = word.replace(bare, "LENGTH");
            let begun = words.pop_if(|_| goes_on).map(|begun| begun.replace("LENGTH", &word));
            words.push(begun.unwrap_or(word));
        } else if before == "counters:" {
            words.push("SIZE".to_owned());
        } else {
            words.push(word.clone());
        }
    }
    words
}

/// `2026-11-26T04:00:00Z`.
fn is_instant(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00Z"
}

/// `18s`, `1h`, `250ms`.
fn is_length(word: &str) -> bool {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < word.len() && matches!(unit, "ms" | "s" | "m" | "h" | "day" | "days")
}

#[test]
fn what_differs_from_run_to_run_is_not_compared() {
    let cases = [
        ("  descriptor 1: OK, remaining 2, reset in 18 s", "descriptor 1: OK, remaining 2, reset in LENGTH s"),
        ("user=ann    21  10 per 1m          0    18s  over limit", "user=ann 21 10 per 1m 0 LENGTH over limit"),
        ("until 2026-11-26T06:23:42Z (in 1h 59m)", "until TIME (in LENGTH)"),
        ("until 2026-11-26T06:23:42Z (in 1h\n59m)", "until TIME (in LENGTH)"),
        ("since 2026-11-26T04:23:42Z (1m 2s ago): x", "since TIME (LENGTH ago): x"),
        ("since 2026-11-26T04:23:42Z (0s ago): x", "since TIME (LENGTH ago): x"),
        ("4 checks; counters: 1 of 262144 KiB", "4 checks; counters: SIZE of 262144 KiB"),
        ("banned for 10m", "banned for 10m"),
        ("10 per 1m in 3 places", "10 per 1m in 3 places"),
        ("$ tidegate settings set  --for 2h", "\n$ tidegate settings set  --for 2h\n"),
    ];
    for (line, expected) in cases {
        let lines: Vec<_> = line.lines().map(str::to_owned).collect();
        assert_eq!(steady(&lines), expected);
    }
}

/// How a section gives the flags of its server.
const SERVE: &str = "$ tidegate serve rules.yaml";
/// A page of the admin port.
const CURL: &str = "curl -s 'localhost:8082/";
/// Each of them is on the page.
const COMMANDS: [&str; 15] = [
    "settings list",
    "settings get",
    "settings set",
    "settings unset",
    "audit",
    "counters list",
    "counters reset",
    "counters ban",
    "counters unban",
    "explain",
    "limits",
    "candidate start",
    "candidate status",
    "candidate promote",
    "candidate stop",
];
