//! What happens here, on its way to the stats service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ended;
use crate::backend::grpc::SinkDialer;
use crate::config::Config;
use crate::event::{Publisher, Recent, Reporter};
use crate::obs::counts::STATS;
use crate::obs::witness::Witness;
use crate::obs::{Clients, Counts};

/// The tasks that collect and send.
#[derive(Debug)]
pub(super) struct Stats {
    stop_reports: watch::Sender<bool>,
    stop_sending: watch::Sender<bool>,
    reporter: JoinHandle<()>,
    publisher: JoinHandle<()>,
}

impl Stats {
    /// Starts them, when somebody is to have it. Before anything happens.
    pub(super) fn start(config: &Config, clients: &Clients, counts: &Counts) -> Option<Self> {
        let address = config.stats.sink.as_ref()?;
        let dropped = Arc::clone(&counts.sinks.stats_dropped);
        let recent = Arc::new(Recent::new(config.stats.max_events, dropped));
        counts.tell(Arc::clone(&recent) as Arc<dyn Witness>);
        let reporter = Reporter::new(
            Arc::clone(&recent),
            clients.clone(),
            counts.clone(),
            config.pool.lost_ms,
            Duration::from_secs(config.stats.every_sec),
        );
        let id = config.pool.sidecar_id.clone();
        let publisher = Publisher::new(recent, SinkDialer::new(address), STATS, id);
        let (stop_reports, reports_stop) = watch::channel(false);
        let (stop_sending, sending_stops) = watch::channel(false);
        Some(Self {
            stop_reports,
            stop_sending,
            reporter: tokio::spawn(reporter.run(reports_stop)),
            publisher: tokio::spawn(publisher.counted(counts.clone()).run(sending_stops)),
        })
    }

    /// Says the rest, and gives the stats service a second for it. The connections must be gone.
    pub(super) async fn stop(self) {
        self.stop_reports.send_replace(true);
        ended(self.reporter, "the reports to the stats service").await;
        self.stop_sending.send_replace(true);
        ended(self.publisher, "the way to the stats service").await;
    }
}
