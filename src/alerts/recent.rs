//! The latest notifications, for those who look at them on the admin port.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Notification;

/// The latest notifications of this process. They are in memory only.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<VecDeque<Arc<Notification>>>);

impl Recent {
    /// Keeps one more; of too many, the oldest is forgotten.
    pub(super) fn add(&self, notification: Arc<Notification>) {
        let mut kept = self.0.lock();
        if kept.len() >= MAX_RECENT {
            kept.pop_front();
        }
        kept.push_back(notification);
    }

    /// Those that are kept, the latest first.
    pub(crate) fn list(&self) -> Vec<Arc<Notification>> {
        self.0.lock().iter().rev().map(Arc::clone).collect()
    }
}

/// Notifications that are kept: more than a person reads, some hundred bytes each.
const MAX_RECENT: usize = 200;

#[cfg(test)]
mod tests {
    use super::super::notification_for_tests;
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let recent = Recent::default();
        for number in 0..MAX_RECENT + 5 {
            recent.add(Arc::new(notification_for_tests(&number.to_string())));
        }
        let listed = recent.list();
        let name = |at: usize| listed[at].alert.name.clone();
        assert_eq!((listed.len(), &*name(0), &*name(MAX_RECENT - 1)), (MAX_RECENT, "204", "5"));
    }
}
