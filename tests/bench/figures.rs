//! Contests and their figures.
//!
//! What is compared runs in turns: one short slice of each, over and over. A machine that is slower for a
//! while is then slower for all of them, and a ratio is the median of the ratios of single turns.

use std::fmt::Write as _;
use std::time::Duration;

use crate::http::Sample;

/// Runs one slice; the argument is the number of the turn.
pub(crate) type Slice<'a> = Box<dyn FnMut(usize) -> anyhow::Result<Sample> + 'a>;

/// Something to be measured.
pub(crate) struct Entrant<'a> {
    pub(crate) name: String,
    pub(crate) connections: usize,
    pub(crate) slice: Slice<'a>,
}

/// What was measured, turn by turn.
pub(crate) struct Figures {
    pub(crate) name: String,
    connections: usize,
    turns: Vec<Sample>,
}

/// Lets all of them take turns.
pub(crate) fn contest(turns: usize, entrants: Vec<Entrant<'_>>) -> anyhow::Result<Vec<Figures>> {
    let mut entrants: Vec<(Entrant<'_>, Vec<Sample>)> =
        entrants.into_iter().map(|e| (e, Vec::new())).collect();
    for turn in 0..turns {
        for (entrant, samples) in &mut entrants {
            samples.push((entrant.slice)(turn)?);
        }
    }
    Ok(entrants
        .into_iter()
        .map(|(entrant, turns)| Figures {
            name: entrant.name,
            connections: entrant.connections,
            turns,
        })
        .collect())
}

impl Figures {
    /// Requests answered per second, in one turn.
    fn rate(sample: &Sample) -> f64 {
        sample.latencies.len() as f64 / sample.elapsed.as_secs_f64()
    }

    /// The median of one turn's latencies, in microseconds.
    fn p50_us(sample: &Sample) -> f64 {
        percentile(&sample.latencies, 0.50)
    }

    /// The server's processor time per request over all turns, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let mut sum = Duration::ZERO;
        for turn in &self.turns {
            sum += turn.cpu?;
        }
        Some(sum.as_secs_f64() * 1e6 / self.requests() as f64)
    }

    fn requests(&self) -> usize {
        self.turns.iter().map(|t| t.latencies.len()).sum()
    }

    fn all(&self) -> Vec<Duration> {
        self.turns
            .iter()
            .flat_map(|t| t.latencies.iter().copied())
            .collect()
    }
}

/// A ratio with the spread of its turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    median: f64,
    low: f64,
    high: f64,
}

/// How many times the rate of `of` the rate of `figures` is.
pub(crate) fn rate_ratio(figures: &Figures, of: &Figures) -> Ratio {
    ratio(figures, of, Figures::rate)
}

/// How many times the median latency of `of` the one of `figures` is.
pub(crate) fn latency_ratio(figures: &Figures, of: &Figures) -> Ratio {
    ratio(figures, of, Figures::p50_us)
}

fn ratio(figures: &Figures, of: &Figures, value: fn(&Sample) -> f64) -> Ratio {
    let pairs = figures.turns.iter().zip(&of.turns);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| value(a) / value(b)).collect();
    ratios.sort_by(f64::total_cmp);
    Ratio {
        median: ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN),
        low: ratios.first().copied().unwrap_or(f64::NAN),
        high: ratios.last().copied().unwrap_or(f64::NAN),
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} times (turns {:.2} to {:.2})",
            self.median, self.low, self.high
        )
    }
}

/// The lines of the report.
#[derive(Default)]
pub(crate) struct Report {
    aims: Vec<(bool, String)>,
}

impl Report {
    /// A ratio that should be no larger than this.
    pub(crate) fn at_most(&mut self, what: &str, ratio: Ratio, limit: f64) {
        let text = format!("{what}: {ratio}; aim: at most {limit}");
        self.aims.push((ratio.median <= limit, text));
    }

    /// A ratio that should be no smaller than this.
    pub(crate) fn at_least(&mut self, what: &str, ratio: Ratio, limit: f64) {
        let text = format!("{what}: {ratio}; aim: at least {limit}");
        self.aims.push((ratio.median >= limit, text));
    }

    /// A value that should be no larger than this; where the system does not tell it, nothing is said.
    pub(crate) fn value(&mut self, what: &str, value: Option<f64>, limit: f64, unit: &str) {
        if let Some(value) = value {
            let text = format!("{what}: {value:.2} {unit}; aim: at most {limit} {unit}");
            self.aims.push((value <= limit, text));
        }
    }

    /// All aims, one line each.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (met, line) in &self.aims {
            let word = if *met { "met   " } else { "MISSED" };
            let _ = writeln!(text, "{word}  {line}");
        }
        text
    }
}

/// The head of [`row`].
pub(crate) fn heading() -> String {
    format!(
        "{:<44} {:>5} {:>10} {:>10} {:>10} {:>12}",
        "", "conns", "req/s", "p50 us", "p99 us", "CPU us/req"
    )
}

/// One line of the table.
pub(crate) fn row(figures: &Figures) -> String {
    let mut rates: Vec<f64> = figures.turns.iter().map(Figures::rate).collect();
    rates.sort_by(f64::total_cmp);
    let latencies = figures.all();
    format!(
        "{:<44} {:>5} {:>10.0} {:>10.0} {:>10.0} {:>12}",
        figures.name,
        figures.connections,
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN),
        percentile(&latencies, 0.50),
        percentile(&latencies, 0.99),
        figures
            .cpu_us()
            .map_or_else(|| "-".to_owned(), |us| format!("{us:.0}")),
    )
}

/// In microseconds.
fn percentile(latencies: &[Duration], share: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    at(&sorted, share).map_or(f64::NAN, |d| d.as_secs_f64() * 1e6)
}

/// Which of these, the shortest first, so much of them is no longer than.
pub(crate) fn at(sorted: &[Duration], share: f64) -> Option<Duration> {
    let at = ((sorted.len() as f64 - 1.0).max(0.0) * share).round() as usize;
    sorted.get(at).copied()
}
