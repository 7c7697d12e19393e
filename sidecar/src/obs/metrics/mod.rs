//! The counts as text for Prometheus (OpenMetrics 1.0). Names begin with `gopool_sv2_`; each has a
//! bounded number of labels, all from lists of our own. `docs/metrics.md` is made of the same
//! table.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{text, DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counts::{Counts, Tally, Times, BUCKET_ENDS_US};
use table::METRICS;

/// What all names begin with.
const PREFIX: &str = "gopool_sv2";

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn wire(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

/// A metric.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Counts, &mut Samples),
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
    Times(Times),
}

/// What a metric shows: values of its labels, and what was read under them.
#[derive(Debug, Default)]
struct Samples(Vec<(Vec<&'static str>, Value)>);

impl Samples {
    fn put(&mut self, labels: &[&'static str], value: u64) {
        self.0.push((labels.to_vec(), Value::Whole(value)));
    }

    fn real(&mut self, value: f64) {
        self.0.push((Vec::new(), Value::Real(value)));
    }

    fn times(&mut self, times: Times) {
        self.0.push((Vec::new(), Value::Times(times)));
    }

    fn tally(&mut self, tally: &Tally) {
        for (name, count) in tally.read() {
            self.put(&[name], count);
        }
    }
}

#[derive(Debug)]
struct Collected(Counts);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let mut samples = Samples::default();
            (metric.read)(&self.0, &mut samples);
            let kind = metric.kind.wire();
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(metric.name, help, None, kind)?;
            for (values, value) in samples.0 {
                let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
                if labels.is_empty() {
                    encode(&mut family, metric.kind, value)?;
                } else {
                    encode(&mut family.encode_family(&labels)?, metric.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

type None_<'a> = Option<&'a Exemplar<Vec<(&'static str, &'static str)>, f64>>;

fn encode(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    let unmarked: None_<'_> = None;
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter(&value, unmarked),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter(&value, unmarked),
        // A float holds every whole number that any of these comes to.
        (_, Value::Whole(value)) => encoder.encode_gauge(&(value as f64)),
        (_, Value::Real(value)) => encoder.encode_gauge(&value),
        (_, Value::Times(times)) => {
            let ends = BUCKET_ENDS_US.iter().map(|end| *end as f64 / 1e6);
            let mut buckets: Vec<(f64, u64)> = ends.zip(times.buckets).collect();
            buckets.push((f64::INFINITY, times.longer));
            let sum = times.sum_us as f64 / 1e6;
            encoder.encode_histogram::<Vec<(&str, &str)>>(sum, times.count(), &buckets, None)
        }
    }
}

/// The counts as text, of the type [`CONTENT_TYPE`].
///
/// # Errors
/// None that a text in memory has.
pub fn text(counts: &Counts) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Collected(counts.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}
