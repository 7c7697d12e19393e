//! Runs of one step to minimum, median, maximum.

use serde_json::Value;

/// What several runs gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of some values; `None` without any. The median of an even number is the upper one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { min, median: values[values.len() / 2], max })
    }

    /// `min / median / max`, each times `scale`.
    pub fn text(&self, scale: f64) -> String {
        let [min, median, max] = [self.min, self.median, self.max].map(|v| number(v * scale));
        format!("{min} / **{median}** / {max}")
    }

    /// The median.
    pub const fn value(&self) -> f64 {
        self.median
    }

    /// `median (min to max)` with so many digits behind the point.
    pub fn spelled(&self, digits: usize) -> String {
        let Self { min, median, max } = self;
        format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }

    /// The median times `scale`.
    pub fn median(&self, scale: f64) -> String {
        number(self.median * scale)
    }
}

/// Three significant digits below 1,000, groups of three above.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude < 9.995 {
        return format!("{value:.2}");
    }
    if magnitude < 99.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{magnitude:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '-');
    }
    text
}

/// The reports of one step.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its runs.
    pub runs: Vec<&'a Value>,
}

impl Step<'_> {
    /// A number of every run, by its path such as `latency_us/p50`.
    pub fn spread(&self, path: &str) -> Option<Spread> {
        let pointer = format!("/{path}");
        Spread::of(self.runs.iter().filter_map(|run| run.pointer(&pointer)?.as_f64()))
    }

    /// How many runs there are, and in how many of them something else used more than `noise`
    /// cores.
    pub fn count(&self, noise: f64) -> String {
        let disturbed = |run: &&&Value| {
            run["cpu_us"]["elsewhere"].as_f64().is_some_and(|elsewhere| elsewhere > noise)
        };
        match self.runs.iter().filter(disturbed).count() {
            0 => self.runs.len().to_string(),
            some => format!("{}, {some} disturbed", self.runs.len()),
        }
    }

    /// A number of any run that is the same in all, such as `connections`.
    pub fn plan(&self, field: &str) -> u64 {
        self.runs.first().and_then(|run| run[field].as_u64()).unwrap_or_default()
    }

    /// Shares of all runs that were not accepted, by what was said.
    pub fn refused(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = Vec::new();
        for run in &self.runs {
            let reasons = run["rejected"].as_object().into_iter().flatten();
            let counts = reasons.map(|(name, count)| (name.as_str(), count));
            let others = ["miscounted", "unanswered"].map(|name| (name, &run[name]));
            for (name, count) in counts.chain(others) {
                let count = count.as_u64().unwrap_or_default();
                match all.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sum)) => *sum += count,
                    None => all.push((name.to_owned(), count)),
                }
            }
        }
        all.retain(|(_, count)| *count > 0);
        all
    }
}

/// The steps of one measure, in the order they were taken.
pub fn steps<'a>(reports: &'a [Value], measure: &str) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    // Run 0 is a warm-up that went wrong.
    for run in reports.iter().filter(|run| run["measure"] == measure && run["run"] != 0) {
        let name = run["step"].as_str().unwrap_or_default();
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => step.runs.push(run),
            None => steps.push(Step { name, runs: vec![run] }),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spreads_are_minimum_median_maximum_whatever_the_order() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(spread.text(1000.0), "1,000 / **2,000** / 3,000");
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median(1.0), "4.00");
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn numbers_have_three_digits_or_groups() {
        let cases = [(0.0, "0.00"), (3.217, "3.22"), (42.42, "42.4"), (999.6, "1,000")];
        let more =
            [(123.4, "123"), (1_234_567.0, "1,234,567"), (-1234.0, "-1,234"), (9.999, "10.0")];
        for (value, text) in cases.into_iter().chain(more) {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn steps_hold_their_own_runs_and_leave_warm_ups_out() {
        let run = |step: &str, run: u64, rate: f64, stale: u64| {
            json!({
                "measure": "shares", "step": step, "run": run, "rate": rate, "connections": 16,
                "rejected": {"stale-share": stale}, "miscounted": 0, "unanswered": 2,
            })
        };
        let reports = [
            run("a", 0, 1.0, 9),
            run("a", 1, 5.0, 1),
            run("b", 1, 7.0, 0),
            run("a", 2, 3.0, 2),
            json!({"measure": "tip", "step": "a", "run": 1, "rate": 100.0}),
        ];
        let steps = steps(&reports, "shares");
        assert_eq!(steps.iter().map(|step| step.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(steps[0].spread("rate"), Spread::of([3.0, 5.0]));
        assert_eq!(steps[0].plan("connections"), 16);
        let refused = [("stale-share".to_owned(), 3), ("unanswered".to_owned(), 4)];
        assert_eq!(steps[0].refused(), refused);
        assert_eq!(steps[0].spread("no/such"), None);
        let with = |elsewhere: f64| json!({"cpu_us": {"elsewhere": elsewhere}});
        let (quiet, busy) = (with(0.1), with(0.3));
        let step = Step { name: "c", runs: vec![&quiet, &busy, &quiet] };
        assert_eq!((step.count(0.2), step.count(0.5)), ("3, 1 disturbed".into(), "3".into()));
    }
}
