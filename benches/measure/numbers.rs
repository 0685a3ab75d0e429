//! Measurements in turns, medians and spreads.

use std::fmt;

/// Several measurements of one contender.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Each measurement divided by the other one of the same turn.
    pub(crate) fn ratio(of: &[f64], to: &[f64]) -> Self {
        Self::new(of.iter().zip(to).map(|(of, to)| of / to).collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        let digits = if self.median().abs() < 10.0 { 2 } else { 0 };
        write!(f, "{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

/// Measures `things` contenders in turns, so that other load of the machine affects all of them. One list for each.
pub(crate) fn in_turns<T>(rounds: usize, things: usize, mut measure: impl FnMut(usize) -> T) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = (0..things).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for i in 0..things {
            // Each contender is first as often as last.
            let i = if round % 2 == 0 { i } else { things - 1 - i };
            all[i].push(measure(i));
        }
    }
    all
}
