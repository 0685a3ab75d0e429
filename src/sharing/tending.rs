//! The task of the process that looks after leases: those that end, are not needed, or have to say something that no check waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::SharedStore;
use super::asker::Asker;

impl SharedStore {
    /// Gives all leases back, and asks for just the hits of checks from now on. Waits until the engine has them, for at most `within`.
    pub async fn give_back(&self, within: Duration) {
        self.leases.drain();
        self.drain.notify_one();
        let all = async {
            while self.leases.is_any_held() {
                sleep(STEP_OF_DRAIN).await;
            }
        };
        if timeout(within, all).await.is_err() {
            tracing::warn!("not all leases are back on the store: what is left of them lapses");
        }
    }
}

/// Looks after the leases; does not end.
pub(super) async fn tend(store: Arc<SharedStore>, asker: Arc<Asker>) {
    loop {
        let step = if store.leases.is_draining() { STEP_OF_DRAIN } else { STEP };
        tokio::select! {
            () = sleep(step) => {}
            () = store.drain.notified() => {}
        }
        let now = store.now();
        for stripe in 0..store.leases.stripes() {
            // They have waited for others long enough.
            let mut wishing: Vec<Box<[u8]>> = Vec::new();
            store.leases.tick(stripe, now, |key, _| wishing.push(key.into()));
            for key in wishing {
                asker.renew_now(key);
            }
        }
        asker.send();
    }
}

/// Between two looks at the leases that hold something.
const STEP: Duration = Duration::from_millis(50);
/// The same while they go back.
const STEP_OF_DRAIN: Duration = Duration::from_millis(5);
