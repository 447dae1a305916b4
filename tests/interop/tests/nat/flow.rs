//! Data that goes on and on in one direction, until it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ring::digest::{Context, Digest, SHA256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::end::{End, PATIENCE, now, within};

const MESSAGE: usize = 16_000;
/// Bytes of each message.
pub(crate) const BYTES: u64 = MESSAGE as u64;

/// A transfer under way.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Digest>,
    receiving: JoinHandle<Digest>,
    /// How many messages have arrived, and the last of them when.
    arrived: watch::Receiver<(u64, Instant)>,
}

impl Flow {
    /// Begins to send as fast as it goes.
    pub(crate) fn begin(from: &End, to: &End) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let (sender, receiver, stopped) = (from.channel.clone(), to.channel.clone(), stop.clone());
        let sending = tokio::spawn(async move {
            let mut hash = Context::new(&SHA256);
            let mut message = vec![0; MESSAGE];
            while !stopped.load(Ordering::Relaxed) {
                fastrand::fill(&mut message);
                hash.update(&message);
                sender.send(message.clone()).await.expect("an open channel");
            }
            sender.send("the end").await.expect("an open channel");
            hash.finish()
        });
        let (count, arrived) = watch::channel((0, now()));
        let receiving = tokio::spawn(async move {
            let mut hash = Context::new(&SHA256);
            loop {
                let message = receiver.recv().await.expect("an open channel");
                if message.len() != MESSAGE {
                    return hash.finish();
                }
                hash.update(message.as_bytes());
                count.send_modify(|(number, at)| (*number, *at) = (*number + 1, now()));
            }
        });
        Self { stop, sending, receiving, arrived }
    }

    /// Waits until so many more messages have arrived; says how long the longest silence was.
    pub(crate) async fn more(&mut self, messages: u64) -> Duration {
        let (until, mut last) = *self.arrived.borrow_and_update();
        let (until, mut gap) = (until + messages, Duration::ZERO);
        loop {
            let waiting = tokio::time::timeout(PATIENCE, self.arrived.changed()).await;
            let (number, at) = *self.arrived.borrow_and_update();
            assert!(matches!(waiting, Ok(Ok(()))), "{number} messages, and no more: {waiting:?}");
            (gap, last) = (gap.max(at - last), at);
            if number >= until {
                return gap;
            }
        }
    }

    /// How many messages have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.borrow().0
    }

    /// Stops it: what was sent has arrived, whole and in order.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = within("the last message", self.sending).await.expect("a sender");
        let received = within("what is under way", self.receiving).await.expect("a receiver");
        assert_eq!(sent.as_ref(), received.as_ref(), "the data is whole");
    }
}
