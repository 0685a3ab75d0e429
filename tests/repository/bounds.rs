//! docs/BOUNDS.md: the constants of the code that bound something, with their values and reasons as they are there.
//!
//! `UPDATE_DOCS=1 cargo test --test repository` writes the table again. A new constant named `MAX_...` needs a line here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{BinOp, Expr, Lit};

use crate::docs::holds;
use crate::files::{self, File};

/// What is bounded, and the constant that does it: the file below `src/`, and the name.
const BOUNDS: [(&str, &str, &str); 192] = [
    ("a request, decompressed", "net/incomplete.rs", "MAX_MESSAGE_BYTES"),
    ("requests that arrive in pieces, per worker", "net/incomplete.rs", "MAX_PARTIAL_BYTES"),
    ("requests that arrive in pieces, of the process", "net/incomplete.rs", "MAX_ALL_BYTES"),
    ("requests that arrive in pieces, of one connection", "net/incomplete.rs", "MAX_CONNECTION_BYTES"),
    ("time for a check that does not arrive in one piece", "rls/services.rs", "REQUEST_TIMEOUT"),
    ("time for the peer to read the answer to it", "rls/services.rs", "ANSWER_TIMEOUT"),
    ("calls of `Watch` of the health service on the gRPC port", "rls/services.rs", "MAX_WATCHES"),
    ("other calls than checks on the gRPC port", "rls/services.rs", "MAX_OTHER_CALLS"),
    ("unread answers of a connection of the gRPC port", "net/slots.rs", "MAX_CONNECTION_UNREAD_BYTES"),
    ("unread answers of all connections of the gRPC port", "net/slots.rs", "MAX_UNREAD_BYTES"),
    ("bytes that a connection reads before others have their turn", "net/slots.rs", "MAX_TURN_BYTES"),
    ("the same for a connection on probation", "net/slots.rs", "MAX_PROBATION_TURN_BYTES"),
    ("bytes between two answers that do not put a connection on probation", "net/slots.rs", "MAX_UNEARNED_BYTES"),
    ("time that connections on probation take before a pause", "net/probation.rs", "MAX_TAKEN"),
    ("checks that are complete and still in the line of incomplete ones", "rls/lean/incomplete.rs", "MAX_GONE"),
    ("requests in pieces that are answered before others have their turn", "rls/tasks.rs", "MAX_ENDED"),
    ("connections that wait to be dropped", "runtime/disposal.rs", "MAX_VALUES"),
    ("frames that ask for nothing, of an HTTP/2 connection at once", "net/frames.rs", "MAX_BUDGET"),
    ("time for a peer to read what it was sent", "net/metered.rs", "WRITE_TIMEOUT"),
    ("requests of an HTTP port at the same time", "net/in_flight.rs", "MAX_REQUESTS"),
    ("time until the answer to a call of the admin port begins", "net/in_flight.rs", "ANSWER_TIMEOUT"),
    ("texts of `/metrics` at the same time", "http/metrics_text.rs", "MAX_TEXTS"),
    ("seconds to read a text of `/metrics`", "http/metrics_text.rs", "MAX_READ_S"),
    ("streams of an HTTP/2 connection of the other ports", "net/http2.rs", "MAX_PAGE_STREAMS"),
    ("a compressed request", "rls/compressed.rs", "MAX_BYTES"),
    ("descriptors of a check", "api/rls/read.rs", "MAX_DESCRIPTORS"),
    ("entries of a descriptor", "api/rls/read.rs", "MAX_ENTRIES"),
    ("nested protobuf groups", "api/protobuf.rs", "MAX_GROUPS"),
    ("a request of the health service", "grpc/health.rs", "MAX_REQUEST_BYTES"),
    ("a request of the reflection service", "grpc/reflection.rs", "MAX_REQUEST_BYTES"),
    ("time for the body of a `/json` request", "http/json.rs", "BODY_TIMEOUT"),
    ("time for the headers of an HTTP/1 request; an idle HTTP/1 connection", "net/http_server.rs", "HEADER_TIMEOUT"),
    ("time for the first bytes of a connection", "net/opening.rs", "DEADLINE"),
    ("a PEM file with certificates or a key, in bytes", "net/tls/pem.rs", "MAX_BYTES"),
    ("time for the answer to an HTTP/2 ping", "net/http2.rs", "PING_TIMEOUT"),
    ("streams of an HTTP/2 connection", "net/http2.rs", "MAX_STREAMS"),
    ("reset streams of an HTTP/2 connection that are not processed yet", "net/http2.rs", "MAX_RESETS"),
    ("headers of a request on the gRPC port, and over HTTP/1", "net/http2.rs", "MAX_HEADER_BYTES"),
    ("headers of a request over HTTP/2 on the other ports", "net/http2.rs", "MAX_PAGE_HEADER_BYTES"),
    ("checks decided in one batch", "rls/connection.rs", "MAX_BATCH"),
    ("checks whose counters are loaded together", "limiter/together.rs", "TOGETHER"),
    ("checks that wait to be decided with those of other connections", "rls/lean/gathered.rs", "MAX_WAITING"),
    ("a check that waits for that, in bytes", "rls/lean/gathered.rs", "MAX_MESSAGE_BYTES"),
    ("shards that are locked for that at the same time", "store/memory/table/ahead.rs", "LOADED_AT_ONCE"),
    ("bytes to send before nothing more is read, with `--http2 lean`", "http2/server.rs", "MAX_OUT_BYTES"),
    ("streams that were reset and are remembered", "http2/server/streams.rs", "MAX_RESET"),
    ("streams that are gone and wait for a window", "http2/server/send.rs", "MAX_GONE"),
    (
        "headers of a request that are remembered for the next one, in bytes",
        "http2/server/request.rs",
        "MAX_KNOWN_BYTES",
    ),
    ("bytes of a long answer that are sent before others have their turn", "rls/lean/wire.rs", "MAX_PIECE_BYTES"),
    ("delayed replies of the process", "service/delayed.rs", "MAX_DELAYED"),
    ("a value inside a counter's key; longer ones are replaced by their SHA-256", "store/key.rs", "MAX_PART_BYTES"),
    ("removed limits that keep their ids", "store/limit_id.rs", "MAX_REMOVED"),
    ("limits of a descriptor", "rules/spec.rs", "MAX_LIMITS"),
    ("hits that a `sliding_log` keeps", "rules/limit_build.rs", "MAX_LOG"),
    ("a `period` or `ban`", "rules/duration.rs", "LONGEST"),
    ("a configuration, in bytes", "config/files/source.rs", "MAX_BYTES"),
    ("files of a configuration", "config/files/listing.rs", "MAX_FILES"),
    ("directory entries below a configuration", "config/files/listing.rs", "MAX_ENTRIES"),
    ("depth of directories", "config/files/listing.rs", "MAX_DEPTH"),
    ("symbolic links on the way to one file", "config/files/listing.rs", "MAX_LINKS"),
    ("watched directories; the others are polled", "config/files/watch.rs", "MAX_WATCHED"),
    ("nodes of a YAML file, with aliases written out", "rules/yaml/tree.rs", "MAX_NODES"),
    ("depth of lists and maps in a YAML file", "rules/yaml/tree.rs", "MAX_DEPTH"),
    ("repairs of a YAML file", "rules/yaml/repair.rs", "MAX_REPAIRS"),
    ("bytes that are parsed for them", "rules/yaml/repair.rs", "MAX_PARSED_BYTES"),
    ("bytes that they add to a file besides its own length", "rules/yaml/repair.rs", "MAX_ADDED_BYTES"),
    ("errors that are kept of a failed load", "config/reload.rs", "MAX_KEPT_ERRORS"),
    ("resources of a set from a control plane", "xds/response.rs", "MAX_RESOURCES"),
    ("descriptors of such a set, before they are decoded", "xds/resources.rs", "MAX_PARTS"),
    ("nested messages in it that are counted", "api/configs.rs", "MAX_DEPTH"),
    ("errors that are kept of such a set", "xds/rules.rs", "MAX_ERRORS"),
    ("warnings or errors of such a set that are logged", "xds/rules.rs", "MAX_LOGGED"),
    ("the message of a NACK, in bytes", "xds/rules.rs", "MAX_MESSAGE_BYTES"),
    ("sets in a row before one a second is read", "xds/backoff.rs", "IN_A_ROW"),
    ("the file with the last set, in bytes", "xds/kept.rs", "MAX_FILE_BYTES"),
    ("the file of an overlay, in bytes", "xds/overlay.rs", "MAX_BYTES"),
    ("counters that a statsd is sent, whose names are kept", "telemetry/statsd/mod.rs", "MAX_COUNTERS"),
    ("a line for statsd, in bytes", "telemetry/statsd/format.rs", "MAX_LINE_BYTES"),
    ("addresses of a statsd's name that are tried", "telemetry/statsd/transport.rs", "MAX_ADDRESSES"),
    ("TLS handshakes of a port at the same time", "net/tls/server.rs", "MAX_HANDSHAKES"),
    ("requests of a connection to the store without a reply", "engine_link/connection.rs", "MAX_UNDER_WAY"),
    ("keys of a request to the store", "engine_link/exact.rs", "MAX_KEYS"),
    ("hits of a charge in the store; more are charged as that many", "engine_link/exact_reply.rs", "MAX_HITS"),
    ("hits of a charge that is made by INCRBY; the script makes larger ones", "engine_link/plain.rs", "MAX_PLAIN_HITS"),
    ("hits that are charged at once after an outage of the store", "store/lease/cell.rs", "MAX_CHARGED"),
    ("microseconds in which a quarter of a leased bucket is regained", "store/lease/terms.rs", "MAX_HORIZON_US"),
    ("requests of a worker to a node of the store without a reply", "sharing/queue.rs", "MAX_UNDER_WAY"),
    ("checks of a worker that wait for the store", "sharing/queue.rs", "MAX_WAITING"),
    ("limits that are not leased, of which the log says why at the start", "app/store.rs", "MAX_NAMED"),
    ("leases of a worker that wait to be asked for at one node of the store", "sharing/leasing.rs", "MAX_WANTED"),
    ("messages of checks of a worker that wait for the store, in bytes", "sharing/asker.rs", "MAX_KEPT_BYTES"),
    ("replicas that are believed", "sharing/replicas.rs", "MAX_REPLICAS"),
    ("domains whose checks without the store are counted individually", "limiter/sharing/outage.rs", "MAX_DOMAINS"),
    ("counters with hits of an outage that the store may have or not", "limiter/sharing/spent.rs", "MAX_SENT"),
    ("nodes in the URL of a store", "engine_link/url.rs", "MAX_NODES"),
    ("the prefix of keys in the store, in bytes", "engine_link/key.rs", "MAX_PREFIX_BYTES"),
    ("tokens of the admin port", "access/tokens.rs", "MAX_TOKENS"),
    ("clients of `--access`", "access/clients.rs", "MAX_CLIENTS"),
    ("a URI or DNS name of such a client, in bytes", "access/clients.rs", "MAX_NAME_BYTES"),
    ("names of a client certificate that are looked at", "net/tls/peer_names.rs", "MAX_NAMES"),
    ("domains of a token or client", "access/content.rs", "MAX_DOMAINS"),
    ("the name of a token, in bytes", "access/tokens.rs", "MAX_NAME_BYTES"),
    ("the name of such a domain, in bytes", "access/content.rs", "MAX_DOMAIN_BYTES"),
    ("the file of tokens, and that of clients, in bytes", "access/file.rs", "MAX_BYTES"),
    ("memory for the addresses of callers without a token", "access/failures.rs", "MAX_BYTES"),
    ("settings", "config/settings/mod.rs", "MAX_SETTINGS"),
    ("the reason of a change, in bytes", "config/settings/mod.rs", "MAX_REASON_BYTES"),
    ("how long a setting or a ban by an operator is in force", "config/settings/mod.rs", "MAX_LENGTH"),
    ("entries of the scope of a setting", "rules/overlay/scope.rs", "MAX_ENTRIES"),
    ("a key or value of such an entry, in bytes", "rules/overlay/scope.rs", "MAX_TEXT_BYTES"),
    ("the name of a rule or domain in a scope, in bytes", "rules/overlay/scope.rs", "MAX_NAME_BYTES"),
    ("the value of a setting, in bytes", "rules/overlay/domain.rs", "MAX_VALUE_BYTES"),
    (
        "sets of entry keys by which a check is looked up, for each rule and domain with settings",
        "rules/overlay/entries.rs",
        "MAX_KEY_SETS",
    ),
    ("combinations of scopes of one rule", "rules/overlay/combine.rs", "MAX_CASES"),
    ("a block of the file of counters", "state/format.rs", "MAX_BLOCK_BYTES"),
    ("changes in the audit log", "operations/audit.rs", "MAX_AUDIT"),
    ("counters that are searched for one page of a list", "limiter/counters.rs", "MAX_SEARCHED"),
    ("counters that one page returns", "admin/operations/counters.rs", "MAX_TOP"),
    ("limits that one answer lists", "admin/operations/limits.rs", "MAX_LIMITS"),
    ("counters on which a candidate differs, per worker", "limiter/candidate.rs", "MAX_NAMED"),
    ("the files of a candidate, in bytes", "admin/operations/candidate.rs", "MAX_FILE_BYTES"),
    ("the files of a candidate", "admin/operations/candidate.rs", "MAX_FILES"),
    ("rules that the comparison of a candidate lists", "admin/operations/candidate.rs", "MAX_RULES"),
    ("a request of the admin service", "admin/operations/mod.rs", "MAX_REQUEST_BYTES"),
    ("entries of a filter of the admin service", "admin/operations/messages.rs", "MAX_ENTRIES"),
    ("entries of a descriptor that is explained", "admin/operations/messages.rs", "MAX_DESCRIPTOR_ENTRIES"),
    ("recordings at the same time", "recording/mod.rs", "MAX_RECORDINGS"),
    ("checks of one worker that wait to be recorded, in bytes", "recording/buffer.rs", "MAX_BUFFER_BYTES"),
    ("a check that is recorded", "recording/buffer.rs", "MAX_MESSAGE_BYTES"),
    ("recorded checks that wait for their turn", "recording/reader.rs", "MAX_PENDING"),
    ("checks in one message of a recording", "recording/reader.rs", "MAX_BATCH"),
    ("the length of a recording", "admin/operations/record.rs", "MAX_LENGTH"),
    ("checks of a recording", "admin/operations/record.rs", "MAX_CHECKS"),
    ("domains of a recording", "admin/operations/record.rs", "MAX_DOMAINS"),
    ("a template of `response: body`", "rules/template.rs", "MAX_TEMPLATE"),
    ("a `content_type`", "rules/response.rs", "MAX_CONTENT_TYPE"),
    ("keys of `usage: by` in a domain", "rules/usage.rs", "MAX_KEYS"),
    ("a key of `usage: by`", "rules/usage.rs", "MAX_KEY_BYTES"),
    ("keys of `usage: by` in all domains, over all reloads", "usage/by_entry.rs", "MAX_KEYS"),
    ("a value of these keys that is tracked individually", "usage/by_entry.rs", "MAX_VALUE_BYTES"),
    ("series of rules, over all reloads; the rest is `other`", "usage/series.rs", "MAX_RULES"),
    ("series by value; the rest is `other`", "usage/series.rs", "MAX_VALUES"),
    ("a path of values that is a series", "usage/series.rs", "MAX_PATH_BYTES"),
    (
        "unknown domains that are counted individually, and domains that clients may not check",
        "usage/domain_counts.rs",
        "MAX_DOMAINS",
    ),
    ("the name of a counter that is tracked individually", "usage/series_table.rs", "MAX_NAME_BYTES"),
    ("entries of a denied check that are reported", "limiter/denial.rs", "MAX_ENTRIES"),
    ("limits of a denied check that are reported", "limiter/denial.rs", "MAX_OTHERS"),
    ("text of a denied check that is reported", "limiter/denial.rs", "MAX_BYTES"),
    ("observers", "admin/usage/observers.rs", "MAX_OBSERVERS"),
    ("open pages of the dashboard", "admin/usage/observers.rs", "MAX_PAGES"),
    (
        "time between two looks at whether a page reads; the second without drops it",
        "admin/dashboard/while_read.rs",
        "UNREAD",
    ),
    ("notifications of alerts that are kept for the dashboard", "alerts/recent.rs", "MAX_RECENT"),
    ("a request about usage", "admin/usage/mod.rs", "MAX_REQUEST_BYTES"),
    ("counters in one report", "admin/usage/watch.rs", "MAX_TOP"),
    ("denials in one message", "admin/usage/denials.rs", "MAX_BATCH"),
    ("queries at a time", "admin/usage/query.rs", "MAX_RUNNING"),
    ("rows of a page of a query", "admin/usage/query.rs", "MAX_PAGE"),
    ("seconds that a page of a query takes", "history/query.rs", "MAX_SECONDS"),
    ("minutes that wait for a disk that cannot be written", "history/pending.rs", "MAX_PENDING_MINUTES"),
    ("corrupt databases that are set aside", "history/database.rs", "MOST_SET_ASIDE"),
    ("alerts of a rules file", "rules/alerts.rs", "MAX_ALERTS"),
    ("rules and values that one alert counts", "alerts/evaluator.rs", "MAX_SUBJECTS"),
    ("rules and values that all alerts count", "alerts/evaluator.rs", "MAX_ALL_SUBJECTS"),
    ("messages of alerts that wait; the oldest is dropped", "alerts/delivery_queue.rs", "MAX_WAITING"),
    ("attempts to deliver a message", "alerts/delivery_queue.rs", "ATTEMPTS"),
    ("lines of the denial log per second", "telemetry/denial_log.rs", "MAX_LINES"),
    ("series of a metric over OTLP", "telemetry/otlp/mod.rs", "MAX_SERIES"),
    ("answers that `bench` reads", "bench/session.rs", "MAX_ANSWER"),
    ("the files of a candidate", "cli/admin/candidate.rs", "MAX_BYTES"),
    ("settings, those included that other replicas set at the same time", "config/settings/mod.rs", "MAX_ADOPTED"),
    ("shared changes by operators of one part, of which there are 65", "ledger/part.rs", "MAX_LIVE"),
    ("removals that are remembered in such a part", "ledger/part.rs", "MAX_DEAD"),
    ("bytes of such a part", "ledger/mod.rs", "MAX_PART_BYTES"),
    ("bytes of the part with promoted rules", "ledger/mod.rs", "MAX_RULES_BYTES"),
    ("what a shared change applies to, in bytes", "ledger/record.rs", "MAX_ID_BYTES"),
    ("the value of a shared setting, in bytes", "operations/replicas/mod.rs", "MAX_VALUE_BYTES"),
    ("the name or reason of a change on another replica, in bytes", "operations/replicas/values.rs", "MAX_TEXT_BYTES"),
    ("an answer of the admin port that a command reads", "cli/admin/connection.rs", "MAX_ANSWER_BYTES"),
    ("notes that are kept of a trace", "simulate/mod.rs", "MAX_NOTES"),
    ("bytes of a line of an access log", "simulate/envoy_log.rs", "MAX_LINE_BYTES"),
    ("checks of an access log that wait for earlier ones", "simulate/envoy_log.rs", "MAX_WAITING"),
    ("requests of a trace that `suggest` examines", "suggest/requests.rs", "MAX_REQUESTS"),
    ("rows of the history that `suggest` reads of a rule", "cli/admin/suggest/used.rs", "MAX_ROWS"),
    ("rules that `top` keeps", "cli/admin/top/usage.rs", "MAX_RULES"),
    ("keys that `top` keeps", "cli/admin/top/usage.rs", "MAX_KEYS"),
    ("counters that `top` keeps of a list", "cli/admin/top/place.rs", "MAX_COUNTERS"),
    ("denied checks that `top` keeps", "cli/admin/top/denials.rs", "MAX_DENIALS"),
    ("domains whose limits `top` keeps", "cli/admin/top/model/answers.rs", "MAX_DOMAINS"),
    ("answers that `top` has not looked at", "cli/admin/top/feed.rs", "MAX_EVENTS"),
    ("keys pressed that `top` has not looked at", "cli/admin/top/screen.rs", "MAX_INPUTS"),
    ("counters that `simulate --summary` tracks individually", "simulate/summary.rs", "MAX_COUNTERS"),
    ("unknown domains that `simulate --summary` lists", "simulate/unmatched.rs", "MAX_DOMAINS"),
];

/// Constants that bound a message to people, a step of a computation, or a format: by file, for readers of the file.
const WITHIN: [(&str, &[&str]); 64] = [
    ("ledger/part.rs", &["MAX_AHEAD_US"]),
    ("ledger/record.rs", &["MAX_BY_BYTES"]),
    ("admin/operations/record.rs", &["MAX_KEY_BYTES"]),
    ("cli/admin/suggest/history.rs", &["MAX_SHOWN"]),
    ("cli/admin/suggest/mod.rs", &["MAX_SHOWN"]),
    ("suggest/snippet.rs", &["MAX_COMMENT_BYTES"]),
    ("access/caller.rs", &["MAX_SHOWN_BYTES"]),
    ("admin/usage/entry_keys.rs", &["MAX_SHOWN"]),
    ("admin/dashboard/alerts.rs", &["MAX_LISTED"]),
    ("admin/dashboard/parameters.rs", &["MAX_PARAMETERS"]),
    ("admin/dashboard/status.rs", &["MAX_DOMAINS", "MAX_ERRORS", "MAX_LIFTED"]),
    ("admin/usage/observers.rs", &["MAX_SHARED", "MAX_SENT", "MAX_PAGE_TOP"]),
    ("admin/usage/query.rs", &["MAX_BUCKET_MINUTES"]),
    ("api/protobuf.rs", &["MAX_VARINT_BYTES"]),
    ("api/rls/json/number.rs", &["MAX_DIGITS"]),
    ("api/rls/json/request.rs", &["MAX_SHOWN"]),
    ("api/usage.rs", &["MAX_REQUEST_KEYS", "MAX_ENTRIES"]),
    ("app/in_force.rs", &["MAX_LINE_BYTES"]),
    ("admin/within.rs", &["MAX_SHOWN", "MAX_NAME_BYTES"]),
    ("app/inherited.rs", &["MAX_SOCKETS"]),
    ("bench/call_status.rs", &["MAX_MESSAGE"]),
    ("bench/session.rs", &["MAX_OUT", "MAX_BLOCK"]),
    ("bench/traffic.rs", &["MAX_KEYS"]),
    ("cli/admin/connection.rs", &["MAX_HEADER_BYTES"]),
    ("cli/admin/denials/line.rs", &["MAX_LINE_BYTES"]),
    ("cli/admin/usage/text.rs", &["MAX_FIELD_BYTES"]),
    ("cli/admin/watch/text.rs", &["MAX_NAME_BYTES"]),
    ("cli/admin/top/draw/dialog.rs", &["MAX_TEXT"]),
    ("cli/admin/top/draw/panes.rs", &["MAX_DETAIL"]),
    ("cli/admin/top/form.rs", &["MAX_FIELD_BYTES"]),
    ("cli/admin/top/model/keyboard.rs", &["MAX_FILTER_BYTES"]),
    ("cli/serve/variables.rs", &["MAX_DISTANCE", "MAX_WARNINGS"]),
    ("cli/table.rs", &["MAX_TEXT"]),
    ("config/files/listing.rs", &["MAX_NAMED"]),
    ("config/files/source.rs", &["MAX_SKIPPED"]),
    ("engine/cell.rs", &["MAX_COUNT"]),
    ("history/retention.rs", &["MAX_STEPS"]),
    ("history/writer.rs", &["MAX_IDS"]),
    ("http/probes.rs", &["MAX_LIFTED"]),
    ("http2/frame.rs", &["MAX_STREAM_ID", "MAX_WINDOW"]),
    ("limiter/denial.rs", &["MAX_TEXT_BYTES"]),
    ("rules/alerts.rs", &["MAX_NAME", "MAX_RECIPIENTS", "MAX_ADDRESS"]),
    ("rules/changes.rs", &["MAX_LINES"]),
    ("rules/near_miss.rs", &["MAX_NEAR_MISSES", "MAX_MISSING"]),
    ("rules/nearest.rs", &["MAX_COMPARED_BYTES", "MAX_TYPING_ERRORS", "MAX_CHAR_BYTES", "MAX_CANDIDATES"]),
    ("rules/quote.rs", &["MAX_QUOTED"]),
    ("rules/report.rs", &["MAX_REPORTED"]),
    ("rules/rule.rs", &["MAX_COMPARED_BYTES"]),
    ("rules/walk.rs", &["MAX_SHOWN"]),
    ("rules/yaml/repair.rs", &["MAX_COLUMN"]),
    ("rules/yaml/tree.rs", &["MAX_REPEATED"]),
    ("sanitize.rs", &["MAX_BYTES"]),
    ("settings/secret.rs", &["MAX_BYTES"]),
    ("simulate/unmatched.rs", &["MAX_SHOWN"]),
    ("telemetry/denial_log.rs", &["MAX_RULES"]),
    ("telemetry/otlp/spans.rs", &["MAX_DOMAIN"]),
    ("units.rs", &["MAX"]),
    ("usage/selection.rs", &["MAX_RULES_REPORTED", "MAX_REQUESTS_REPORTED"]),
    ("usage/domain_counts.rs", &["MAX_DOMAIN_BYTES"]),
    ("admin/operations/candidate.rs", &["MAX_NAME_BYTES", "MAX_SHOWN"]),
    ("limiter/candidate.rs", &["MAX_SHOWN", "MAX_TAKEN", "MAX_TEXT_BYTES"]),
    ("net/passing.rs", &["MAX_PASSED", "MAX_TEXT"]),
    ("operations/candidate.rs", &["MAX_ERRORS"]),
    ("operations/mod.rs", &["MAX_SCOPE_BYTES", "MAX_SHOWN"]),
];

/// A constant of the code.
struct Constant {
    value: String,
    /// Its documentation, which gives the reason.
    reason: String,
}

type Constants = BTreeMap<(String, String), Constant>;

#[test]
fn the_bounds_are_those_of_the_code() {
    let constants = constants();
    let mut table = "| what | at most | why | where |\n| --- | --- | --- | --- |\n".to_owned();
    for (what, file, name) in BOUNDS {
        let found = constants.get(&(file.to_owned(), name.to_owned()));
        let Constant { value, reason } = found.unwrap_or_else(|| panic!("src/{file} has no constant {name}"));
        assert!(!reason.is_empty(), "src/{file}: {name} gives no reason");
        let reason = reason.replace('|', "\\|");
        writeln!(table, "| {what} | {value} | {reason} | `{file}` |").unwrap();
    }
    holds("docs/BOUNDS.md", "bounds", &table);
}

#[test]
fn every_bound_is_listed() {
    let within = WITHIN.iter().flat_map(|(file, names)| names.iter().map(move |name| (*file, *name)));
    let listed: BTreeSet<_> = BOUNDS.iter().map(|(_, file, name)| (*file, *name)).chain(within).collect();
    let constants = constants();
    let known: BTreeSet<_> = constants.keys().map(|(file, name)| (file.as_str(), name.as_str())).collect();
    let missing: Vec<_> = known.difference(&listed).filter(|(_, name)| name.starts_with("MAX")).collect();
    assert!(missing.is_empty(), "constants without a line in tests/repository/bounds.rs: {missing:?}");
    let stale: Vec<_> = listed.difference(&known).collect();
    assert!(stale.is_empty(), "lines in tests/repository/bounds.rs without a constant: {stale:?}");
}

fn constants() -> Constants {
    let mut found = Constants::new();
    for File { path, text } in files::all().into_iter().filter(File::is_rust) {
        let Some(file) = path.strip_prefix("src/").filter(|file| !file.contains("/tests")) else {
            continue;
        };
        let mut visitor = Visitor { file, found: &mut found };
        visitor.visit_file(&syn::parse_file(&text).unwrap());
    }
    found
}

struct Visitor<'f> {
    file: &'f str,
    found: &'f mut Constants,
}

impl Visitor<'_> {
    fn add(&mut self, ident: &syn::Ident, attributes: &[syn::Attribute], value: &Expr) {
        let docs = attributes.iter().filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value().trim().to_owned()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
        let reason = docs.collect::<Vec<_>>().join(" ");
        let in_bytes = ident.to_string().contains("BYTES");
        self.found
            .insert((self.file.to_owned(), ident.to_string()), Constant { value: shown(value, in_bytes), reason });
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident, &item.attrs, &item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.add(&item.ident, &item.attrs, &item.expr);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            syn::visit::visit_item_mod(self, module);
        }
    }
}

/// A value as people write it: `4 MiB`, `10 s`, `1,000`; what is no number, as it is in the code.
fn shown(value: &Expr, in_bytes: bool) -> String {
    match value {
        Expr::Call(call) => {
            let Expr::Path(path) = &*call.func else { return code(value) };
            let unit = path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
            let Some(count) = call.args.first().and_then(number) else { return code(value) };
            match unit.as_str() {
                "from_millis" => format!("{count} ms"),
                "from_secs" => seconds(count),
                "from_mins" => seconds(60 * count),
                _ => code(value),
            }
        }
        _ => number(value).map_or_else(|| code(value), |count| if in_bytes { bytes(count) } else { grouped(count) }),
    }
}

fn number(value: &Expr) -> Option<u64> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Paren(inner) => number(&inner.expr),
        Expr::Binary(binary) => {
            let (left, right) = (number(&binary.left)?, number(&binary.right)?);
            match binary.op {
                BinOp::Shl(_) => Some(left << right),
                BinOp::Mul(_) => Some(left * right),
                BinOp::Add(_) => Some(left + right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn code(value: &Expr) -> String {
    format!("`{}`", value.span().source_text().unwrap_or_default())
}

fn seconds(count: u64) -> String {
    match count {
        0..=119 => format!("{count} s"),
        _ if count.is_multiple_of(31_536_000) => format!("{} years", count / 31_536_000),
        _ if count.is_multiple_of(86_400) => format!("{} days", count / 86_400),
        _ if count.is_multiple_of(3_600) => format!("{} h", count / 3_600),
        _ => format!("{} min", count / 60),
    }
}

fn bytes(count: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.iter().find(|(shift, _)| count.is_multiple_of(1 << shift) && count >> shift > 0);
    fits.map_or_else(|| format!("{} bytes", grouped(count)), |(shift, unit)| format!("{} {unit}", count >> shift))
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| str::from_utf8(group).unwrap());
    let head = Some(&digits[..first]).filter(|head| !head.is_empty());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[test]
fn values_are_shown_as_people_write_them() {
    let cases = [
        ("4 << 20", true, "4 MiB"),
        ("64 << 10", true, "64 KiB"),
        ("200", true, "200 bytes"),
        ("1_000", false, "1,000"),
        ("65_536", false, "65,536"),
        ("20", false, "20"),
        ("Duration::from_secs(10)", false, "10 s"),
        ("Nanos::from_secs(10 * 365 * 86_400)", false, "10 years"),
        ("Duration::from_mins(5)", false, "5 min"),
        ("2 * MAX", false, "`2 * MAX`"),
    ];
    for (text, in_bytes, want) in cases {
        assert_eq!(shown(&syn::parse_str(text).unwrap(), in_bytes), want, "{text}");
    }
}
