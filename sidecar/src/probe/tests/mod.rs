//! Promises of the probe, against broken servers on loopback.

// Said again for each: tidy looks at a file and what it declares.
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod work;

use std::time::Duration;

use super::*;
use crate::client::peer::Peer;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// For what is expected never to come.
const SHORT: Duration = Duration::from_millis(200);

/// Probes an extended channel there. Nothing is slow, unless the test says so.
fn options(url: &str) -> ProbeOptions {
    let mut options = ProbeOptions::new(url.parse().expect("url")).with_timeout(LONG);
    options.asking_timeout = LONG;
    options.kinds = vec![Kind::Extended];
    options
}

/// The address of a test server, with its key.
fn url(peer: &Peer) -> String {
    peer.url().to_string()
}

/// Runs a probe; its steps and how it ended.
async fn probe(options: &ProbeOptions) -> (Vec<Step>, Result<(), Box<Failure>>) {
    let mut steps = Vec::new();
    let outcome = run(options, &mut |step| steps.push(step)).await;
    (steps, outcome)
}

/// Runs a probe that must fail, and looks at where and why.
async fn failing(options: &ProbeOptions, stage: Stage, cause: Cause, exit_code: u8) -> Failure {
    let (steps, outcome) = probe(options).await;
    let failure = *outcome.expect_err("it must fail");
    let Diagnosis { what, why, remedy, .. } = &failure.diagnosis;
    assert_eq!((failure.stage, failure.diagnosis.cause), (stage, cause), "{failure:?}");
    assert_eq!(failure.stage.exit_code(), exit_code);
    for text in [what, why, remedy] {
        assert!(!text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c)), "{text:?}");
    }
    let reached = Stage::ALL.into_iter().take_while(|reached| *reached != stage);
    assert!(steps.iter().map(|step| step.stage).eq(reached), "{steps:?}");
    failure
}

/// The value of a fact.
fn fact<'a>(step: &'a Step, name: &str) -> &'a Fact {
    let found = step.facts.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {step:?}")).1
}

#[test]
fn rejects_options_that_make_no_sense() {
    let good = options("stratum2+tcp://127.0.0.1:1");
    assert_eq!(good.check(), Ok(()));
    for bad in [
        ProbeOptions { user: "x".repeat(256), ..good.clone() },
        ProbeOptions { kinds: Vec::new(), ..good.clone() },
        ProbeOptions { timeout: Duration::ZERO, ..good.clone() },
        ProbeOptions { nominal_hash_rate: f32::NAN, ..good.clone() },
        ProbeOptions { nominal_hash_rate: -1.0, ..good.clone() },
        ProbeOptions { min_extranonce_size: 33, ..good.clone() },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
