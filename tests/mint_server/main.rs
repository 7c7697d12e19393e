//! `sv2-mint PROCESSOR LISTEN`: the mint of tests as a process, for tests in other languages. It
//! says where it listens, and each time it was paid how much that makes, in units.

use std::env;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use gopool_sv2_tests::fake_mint::{Database, FakeMint, Settings};
use gopool_sv2_tests::Result;

/// The command is wrong (sysexits: EX_USAGE).
const USAGE: u8 = 64;

/// Between two tries to start, and two looks at what was paid.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [processor, listen] = &arguments[..] else {
        complain("sv2-mint PROCESSOR LISTEN");
        return ExitCode::from(USAGE);
    };
    let (processor, listen) = match (processor.parse(), listen.parse()) {
        (Ok(processor), Ok(listen)) => (processor, listen),
        _ => {
            complain("PROCESSOR and LISTEN are addresses such as 127.0.0.1:50051");
            return ExitCode::from(USAGE);
        }
    };
    match run(processor, listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    // Nobody is left to hear of it.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Runs until it is killed, or nobody reads what it says.
#[tokio::main(flavor = "current_thread")]
async fn run(processor: SocketAddr, listen: SocketAddr) -> Result<()> {
    let settings = Settings { listen, ..Settings::new(processor) };
    // As systemd does with a stock mint, which ends where there is no processor.
    let mint = loop {
        match FakeMint::start(settings.clone(), Database::default()).await {
            Ok(mint) => break mint,
            Err(error) => complain(&error),
        }
        tokio::time::sleep(PAUSE).await;
    };
    writeln!(io::stdout(), "mint at {}", mint.url())?;
    let mut told = 0;
    loop {
        let paid = mint.database().paid();
        if paid != told {
            told = paid;
            writeln!(io::stdout(), "paid={paid}")?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
