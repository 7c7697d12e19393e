//! Tasks with names, so that one that ends unasked is noticed, and said which it was.

use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Tasks of the bridge. They are cut off when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Parts {
    tasks: JoinSet<()>,
    names: Vec<(Id, &'static str)>,
}

impl Parts {
    /// Starts one. `name`: what it is, as a sentence of the log begins.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        self.names.push((task.id(), name));
    }

    /// Waits until one has ended, and names it; `None`: none runs any more. One that panicked is
    /// logged. Each is named once. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Option<&'static str> {
        let (id, failed) = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let found = self.names.iter().find(|(known, _)| *known == id);
        let name = found.map_or("the mint bridge", |(_, name)| name);
        if let Some(error) = failed {
            tracing::error!(%error, "{name} failed");
        }
        Some(name)
    }

    /// Cuts off those that still run.
    pub(super) async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn names_each_part_that_ends_or_panics_once_and_no_other() {
        let mut parts = Parts::default();
        assert_eq!(parts.ended().await, None);
        parts.spawn("one that goes on", pending());
        parts.spawn("one that panics", async { panic!("it was bound to") });
        assert_eq!(parts.ended().await, Some("one that panics"));
        parts.spawn("one that ends", async {});
        assert_eq!(parts.ended().await, Some("one that ends"));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), parts.ended());
        assert!(waited.await.is_err(), "the last one goes on");
        parts.cut().await;
        assert_eq!(parts.ended().await, None);
    }
}
