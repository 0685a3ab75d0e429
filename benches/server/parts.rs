//! The comparisons, part by part.

use clap::ValueEnum;

use crate::Options;
use crate::contender::Kind;
use crate::contest::{Contest, YARDSTICK, cpu, each, p99, print, rate, started};
use crate::envoy;
use crate::load::{Load, Shape};
use crate::looking::Looking;
use crate::numbers::{Spread, in_turns};
use crate::run::Run;
use crate::watchers::Watchers;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Every server, as many checks as it answers.
    Closed,
    /// Every server at a fixed rate, half of what hyper's no-op and each itself can do: how long answers take.
    Open,
    /// Every server at a fixed rate, the same for all (`--rate`): what a check costs when few arrive together.
    Rate,
    /// A real Envoy in front of Tidegate at 1,000, 3,000 and 5,000 requests a second, with `--http2 lean` and `h2`: what a check costs, and
    /// the latency that Envoy's rate limit filter adds to a request.
    Envoy,
    /// One core against two.
    Cores,
    /// Tidegate alone: with observers, scrapes, history, and all of them.
    Observers,
    /// Tidegate alone: with one page of the dashboard and one `tidegate top` open, and with none.
    Looking,
    /// Tidegate alone: with a candidate, and with settings of entries of the rule.
    Operated,
    /// Tidegate alone: with a data directory and without, a hundredth of the counters and all.
    State,
    /// Checks of 1, 2, 4 and 8 descriptors.
    Descriptors,
    /// Descriptors of 1, 2, 3, 5 and 8 entries.
    Entries,
    /// A thousandth of the counters, a tenth and all.
    Keys,
    /// As many checks under way over more connections.
    Connections,
}

impl Part {
    pub(crate) fn run(self, options: &Options) {
        match self {
            Self::Closed => closed(options),
            Self::Open => open(options),
            Self::Rate => fixed_rate(options),
            Self::Envoy => envoy::run(options),
            Self::Cores => cores(options),
            Self::Observers => observers(options),
            Self::Looking => looking(options),
            Self::Operated => operated(options),
            Self::State => state(options),
            Self::Descriptors => {
                let of = |descriptors: &usize| Load { descriptors: *descriptors, ..options.load() };
                growth("descriptors", options, &[1, 2, 4, 8], of);
            }
            Self::Entries => {
                let of = |entries: &usize| Load { entries: *entries, ..options.load() };
                growth("entries", options, &[1, 2, 3, 5, 8], of);
            }
            Self::Keys => {
                let sizes = [1_000, 10, 1].map(|share| (options.keys / share).max(1));
                growth("keys", options, &sizes, |keys| Load { keys: *keys, ..options.load() });
            }
            Self::Connections => connections(options),
        }
    }
}

fn names(contest: &Contest) -> Vec<String> {
    contest.0.iter().map(|server| server.kind.to_string()).collect()
}

fn closed(options: &Options) {
    let contest = Contest::start(&options.servers, &options.load());
    for shape in &options.settings {
        let load = Load { shape: *shape, ..options.load() };
        println!("{}", reported(&load));
        let runs = contest.rounds(options.rounds, &load);
        print(&names(&contest), contest.yardstick(), &runs, ("CPU", cpu));
    }
}

fn open(options: &Options) {
    let load = options.load();
    let contest = Contest::start(&options.servers, &load);
    let most = contest.rounds(options.rounds.min(3), &load);
    let most: Vec<_> = most.iter().map(|runs| Spread::new(each(runs, rate)).median()).collect();
    let yardstick = contest.yardstick();
    for (whose, rates) in
        [("the no-op's most", vec![most[yardstick]; most.len()]), ("the most of each itself", most.clone())]
    {
        let loads: Vec<_> = rates.iter().map(|most| Load { rate: Some(most / 2.0), ..load.clone() }).collect();
        let runs = in_turns(options.rounds, loads.len(), |i| contest.alone(i, |server| loads[i].run(server)));
        println!("open loop at half of {whose}: {}", reported(&load));
        print(&names(&contest), yardstick, &runs, ("p99", p99));
    }
}

fn fixed_rate(options: &Options) {
    let load = Load { rate: Some(options.rate), ..options.load() };
    let contest = Contest::start(&options.servers, &load);
    println!("open loop: {}", reported(&load));
    let runs = contest.rounds(options.rounds, &load);
    print(&names(&contest), contest.yardstick(), &runs, ("CPU", cpu));
}

fn cores(options: &Options) {
    let load = Load { shape: SPREAD, ..options.load() };
    let kinds = [Kind::Tidegate, YARDSTICK];
    let servers = kinds.iter().flat_map(|kind| [1, 2].map(|cores| started(*kind, &[0, 1][..cores], &load, false)));
    let contest = Contest(servers.collect());
    let names: Vec<_> =
        contest.0.iter().zip([1, 2].iter().cycle()).map(|(server, cores)| format!("{} {cores}", server.kind)).collect();
    // The generator runs on the second core; if the servers use both, it shares them.
    let loads = [load.clone(), Load { cores: vec![0, 1], ..load.clone() }];
    let runs = in_turns(options.rounds, 4, |i| contest.alone(i, |server| loads[i % 2].run(server)));
    println!("one core and two; with two the generator shares them: {}", reported(&load));
    print(&names, 2, &runs, ("CPU", cpu));
    let ratios = |number| [0, 2].map(|i| Spread::ratio(&each(&runs[i + 1], number), &each(&runs[i], number)));
    let ([checks, no_op_checks], [cpu, no_op_cpu]) = (ratios(rate), ratios(cpu));
    println!("  two cores to one, checks a second: tidegate {checks}, hyper {no_op_checks}");
    println!("  two cores to one, CPU a check:     tidegate {cpu}, hyper {no_op_cpu}");
}

fn observers(options: &Options) {
    let load = options.load();
    let contest = Contest([false, true].map(|history| started(Kind::Tidegate, &[0], &load, history)).into());
    let most = contest.alone(0, |server| rate(&load.run(server)));
    let load = Load { rate: Some(most / 2.0), ..load };
    let observed = Watchers { observers: options.observers, scrapes: false };
    let scraped = Watchers { observers: 0, scrapes: true };
    let both = Watchers { scrapes: true, ..observed };
    let cases = [
        ("quiet", 0, Watchers::default()),
        ("observers", 0, observed),
        ("scrapes", 0, scraped),
        ("history", 1, Watchers::default()),
        ("all", 1, both),
    ];
    let runs = in_turns(options.rounds, cases.len(), |i| {
        let (_, server, watchers) = cases[i];
        contest.alone(server, |server| watchers.during(server, || load.run(server)))
    });
    println!("open loop at half of the most, {} observers, a scrape a second: {}", options.observers, reported(&load));
    print(&cases.map(|(name, ..)| name.to_owned()), 0, &runs, ("p99", p99));
}

/// One page of the dashboard and one `tidegate top`, as many checks as are answered, and half of that.
fn looking(options: &Options) {
    let load = options.load();
    let contest = Contest(vec![started(Kind::Tidegate, &[0], &load, false)]);
    let most = contest.alone(0, |server| rate(&load.run(server)));
    for load in [load.clone(), Load { rate: Some(most / 2.0), ..load }] {
        let runs = in_turns(options.rounds, 2, |looking| {
            contest.alone(0, |server| {
                let _looking = (looking == 1).then(|| Looking::start(server));
                load.run(server)
            })
        });
        println!("{}", reported(&load));
        print(&["nobody looks", "a page and top"].map(str::to_owned), 0, &runs, ("CPU", cpu));
    }
}

/// What operators do to a server: a candidate configuration, and settings.
fn operated(options: &Options) {
    let load = options.load();
    let contest = Contest([(); 3].map(|()| started(Kind::Tidegate, &[0], &load, false)).into());
    let [_, with_candidate, with_settings] = &*contest.0 else { return };
    with_candidate.operate(&["candidate", "start", &with_candidate.rules()]);
    // Every check is looked up by its k0, whether or not there is a setting for the value.
    let rule: String = (0..load.entries).fold("bench".to_owned(), |path, level| format!("{path}.k{level}"));
    for value in 0..SETTINGS {
        let (set, entry) = (["settings", "set", "--rule", &rule, "--entry"], format!("k0={value}"));
        with_settings.operate(&[&set[..], &[&entry, "requests_per_unit", "4000000000"]].concat());
    }
    println!("{}; {SETTINGS} settings", reported(&load));
    let runs = contest.rounds(options.rounds, &load);
    print(&["plain", "candidate", "settings"].map(str::to_owned), 0, &runs, ("CPU", cpu));
}

/// What it costs to keep counters over a restart.
fn state(options: &Options) {
    for keys in [(options.keys / 100).max(1), options.keys] {
        let load = Load { keys, ..options.load() };
        let contest = Contest([false, true].map(|data_dir| started(Kind::Tidegate, &[0], &load, data_dir)).into());
        println!("{}; --state-flush 1s", reported(&load));
        let runs = contest.rounds(options.rounds, &load);
        let names = ["without a data directory", "with one"].map(str::to_owned);
        print(&names, 0, &runs, ("CPU", cpu));
        let [without, with] = [0, 1].map(|i| each(&runs[i], p99));
        println!("  p99, with one to without: {}", Spread::ratio(&with, &without));
    }
}

/// Servers of their own for each size.
fn growth(what: &str, options: &Options, sizes: &[usize], load: impl Fn(&usize) -> Load) {
    let sizes = options.few(sizes);
    let mut all = Vec::new();
    for size in &sizes {
        let load = load(size);
        let contest = Contest::start(&[Kind::Tidegate, YARDSTICK], &load);
        println!("{}", reported(&load));
        let runs = contest.rounds(options.rounds, &load);
        print(&names(&contest), 1, &runs, ("CPU", cpu));
        all.push(runs);
    }
    print_growth(what, &sizes, &all);
}

fn connections(options: &Options) {
    let sizes = options.few(&[1, 4, 16, 64, 128]);
    let contest = Contest::start(&[Kind::Tidegate, YARDSTICK], &options.load());
    let runs = sizes.iter().map(|&connections| {
        let load = Load { shape: Shape { connections, streams: 128 / connections }, ..options.load() };
        println!("{}", reported(&load));
        let runs = contest.rounds(options.rounds, &load);
        print(&names(&contest), 1, &runs, ("CPU", cpu));
        runs
    });
    print_growth("connections", &sizes, &runs.collect::<Vec<_>>());
}

/// Prints the cost of each size compared with the first: Tidegate's runs, then the no-op's.
fn print_growth(what: &str, sizes: &[usize], all: &[Vec<Vec<Run>>]) {
    for (size, runs) in sizes.iter().zip(all) {
        let [own, no_op] = [0, 1].map(|i| Spread::ratio(&each(&runs[i], cpu), &each(&all[0][i], cpu)));
        println!("  {what} {size}: CPU a check to that of {}: tidegate {own}, hyper {no_op}", sizes[0]);
    }
}

fn reported(load: &Load) -> String {
    let Shape { connections, streams } = load.shape;
    let rate = load.rate.map_or_else(String::new, |rate| format!(", {rate:.0} a second"));
    format!(
        "{connections} connections x {streams} streams, {} {} keys, {} descriptor(s) of {} entries{rate}; median (least to most)",
        load.keys, load.distribution, load.descriptors, load.entries
    )
}

/// Settings of one rule.
const SETTINGS: usize = 10;
/// Enough connections for the kernel to distribute them over the listeners nearly evenly.
const SPREAD: Shape = Shape { connections: 64, streams: 4 };
