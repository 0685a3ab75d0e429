//! Drops what takes long to drop on a thread of its own.

use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use super::threads::use_low_priority;

/// Drops `value` on a thread of low priority, or here if that thread is behind. The memory of a few values may be in use for some milliseconds more.
pub(crate) fn dispose(value: impl Send + 'static) {
    static DISPOSAL: LazyLock<Option<SyncSender<Box<dyn Send>>>> = LazyLock::new(start);
    if let Some(disposal) = &*DISPOSAL {
        // What it does not take is dropped with the error.
        let _dropped_here = disposal.try_send(Box::new(value));
    }
}

fn start() -> Option<SyncSender<Box<dyn Send>>> {
    let (sender, values) = sync_channel(MAX_VALUES);
    let thread = Builder::new().name("tidegate-drop".to_owned()).spawn(move || {
        use_low_priority();
        values.into_iter().for_each(drop);
    });
    thread.is_ok().then_some(sender)
}

/// Connections with thousands of streams are some megabytes each.
const MAX_VALUES: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::*;

    struct Dropped(std::sync::mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _gone = self.0.send(thread::current().id());
        }
    }

    #[test]
    fn every_value_is_dropped_and_the_first_one_elsewhere() {
        let (sender, dropped) = channel();
        for _ in 0..100 {
            dispose(Dropped(sender.clone()));
        }
        let threads: Vec<_> = (0..100).map(|_| dropped.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
        assert!(threads.iter().any(|thread| *thread != thread::current().id()));
    }
}
