//! The result as a table, with remarks about its validity.

use std::fmt::{self, Display, Formatter};

use super::Plan;
use super::report::{Report, Run};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(first) = self.runs.first() else { return Ok(()) };
        let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        writeln!(f, "{}: {} of {}", self.target, many(first.connections, "connection"), many(first.streams, "stream"))?;
        let what =
            format!("{} of {}", many(self.descriptors, "descriptor"), many(self.entries, "entry").replace("ys", "ies"));
        writeln!(f, "{what}, {} keys ({}), seed {}", grouped(self.keys), self.distribution, self.seed)?;
        writeln!(f, "\n{:>11} {:>11} {:^44}", "", "", "latency in ms")?;
        writeln!(
            f,
            "{:>11} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12} {:>9} {:>10} {:>10}",
            "load", "answers/s", "p50", "p90", "p99", "p99.9", "max", "over limit", "errors", "server us", "bench us"
        )?;
        for run in &self.runs {
            let latency = run.latency_us;
            let [p50, p90, p99, p999, max] =
                [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(milliseconds);
            let server = run.server.map_or_else(|| "-".to_owned(), |server| format!("{:.2}", server.cpu_us_per_check));
            writeln!(
                f,
                "{:>11} {:>11} {p50:>8} {p90:>8} {p99:>8} {p999:>8} {max:>8} {:>12} {:>9} {server:>10} {:>10.2}",
                run.load(),
                grouped_rate(run.checks_per_second),
                grouped(run.over_limit),
                grouped(run.errors),
                run.generator.cpu_us_per_check,
            )?;
        }
        f.write_str("\nserver us, bench us: microseconds of CPU for each answer")?;
        if self.runs.iter().any(|run| run.rate.is_some()) {
            f.write_str("; those of an open loop's generator are mostly spent waiting for the next check")?;
        }
        let mut servers = self.runs.iter().filter_map(|run| run.server);
        if let Some(before) = servers.next() {
            let after = servers.next_back().unwrap_or(before);
            let (before, after) = (before.resident_bytes_before, after.resident_bytes);
            let grown = if after >= before { '+' } else { '-' };
            let difference = mebibytes(after.abs_diff(before));
            write!(f, "\nserver memory: {} MiB, {grown}{difference} MiB while checks counted", mebibytes(after))?;
        }
        Ok(())
    }
}

impl Report {
    /// Remarks about the validity of the numbers.
    pub(crate) fn remarks(&self, plan: &Plan) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.denies_what_it_should == Some(false) {
            remarks.push(format!(
                "{} admits what the rules of --print-rules deny: it has other rules, or none for domain {:?}, and may have \
                 counted nothing",
                self.target, self.domain
            ));
        }
        self.runs.iter().for_each(|run| run.remark(plan, &mut remarks));
        remarks
    }
}

impl Run {
    /// The offered load, in a word.
    pub(crate) fn load(&self) -> String {
        self.rate.map_or_else(|| "closed".to_owned(), |rate| format!("{}/s", grouped_rate(rate)))
    }

    #[allow(clippy::cast_precision_loss)] // LiveCounts far below 2^53.
    fn remark(&self, plan: &Plan, remarks: &mut Vec<String>) {
        let load = self.load();
        if self.checks == 0 {
            remarks.push(format!("{load}: no check was sent: none was due, or the server allows no streams"));
        }
        if self.errors > 0 {
            let kinds = self.errors_by_kind.iter().map(|(kind, errors)| {
                let said = if errors.said.is_empty() { String::new() } else { format!(" ({})", errors.said) };
                format!("{} {kind}{said}", grouped(errors.count))
            });
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            let of_kind = |begin: &str| self.errors_by_kind.keys().any(|kind| kind.starts_with(begin));
            let hint = if of_kind("gRPC UNIMPLEMENTED") {
                ": this is not a rate limit service of version 3"
            } else if of_kind("HTTP ") {
                ": this is not a gRPC service; does --addr name the gRPC port?"
            } else {
                ""
            };
            remarks.push(if self.ok + self.over_limit == 0 {
                format!("{load}: NO CHECK WAS ANSWERED: {kinds}{hint}")
            } else {
                let percent = self.errors as f64 * 100.0 / self.checks as f64;
                format!("{load}: {percent:.2} % of the checks were not answered: {kinds}")
            });
        }
        if let Some(rate) = self.rate.filter(|rate| self.backlog as f64 > (rate * FELL_BEHIND_SECONDS).max(10.0)) {
            remarks.push(format!(
                "{load}: the server or the network is too slow for this rate: at the end {} checks were waiting, {:.1} s \
                 of load, so the latencies only reflect the length of the run",
                grouped(self.backlog),
                self.backlog as f64 / rate
            ));
        }
        if let Some(why) = &self.reconnected_because {
            remarks.push(format!("{load}: connections were lost and reopened {} times: {why}", self.reconnects));
        }
        if let Some(error) = &self.server_error {
            remarks.push(format!("{load}: the cost of the server's process can no longer be read: {error}"));
        }
        if self.server.is_some_and(|server| server.cpu_us_per_check < IDLE_US) && self.checks_per_second > 0.0 {
            remarks.push(format!("{load}: the process of --server-pid used no CPU time: is it the server?"));
        }
        if self.rate.is_none() && self.generator_busy > BUSY {
            remarks.push(format!(
                "{load}: the generator was busy {:.0} % of the time, so the server may be faster than measured: use more --threads",
                self.generator_busy * 100.0
            ));
        }
        if plan.traffic.over_limit == 0.0 && self.over_limit > 0 {
            remarks.push(format!("{load}: checks were denied although none should be: the server has other limits"));
        }
    }
}

/// A count with commas.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: whole numbers above ten.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most 10^9.
pub(crate) fn grouped_rate(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.2}") } else { grouped(rate.round() as u64) }
}

/// Microseconds as milliseconds, with as many digits as fit the column.
fn milliseconds(us: f64) -> String {
    let ms = us / 1e3;
    let decimals = if ms < 100.0 { 3 } else { usize::from(ms < 10_000.0) };
    format!("{ms:.decimals$}")
}

#[allow(clippy::cast_precision_loss)] // For people.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Checks of this time, or a few at a low rate, may wait at any moment on a machine with other tasks.
const FELL_BEHIND_SECONDS: f64 = 0.05;
/// Less than any server needs for an answer.
const IDLE_US: f64 = 0.05;
/// A generator's thread that is busier than this may be what limits the throughput.
const BUSY: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.5, 20_000.4].map(grouped_rate), ["0.50", "20,000"]);
        assert_eq!([1.0, 99_999.4, 123_456.0, 12_345_678.0].map(milliseconds), ["0.001", "99.999", "123.5", "12346"]);
        assert_eq!(mebibytes(1_572_864), "1.5");
    }
}
