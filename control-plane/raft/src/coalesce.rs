//! One answer for many askers.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// Askers waiting for the next round. More wait in their callers.
const QUEUE: usize = 1_024;

/// Asks in rounds: who comes while a round is under way shares the next one, which begins after it asked. So an answer
/// never rests on anything from before the question.
#[derive(Debug, Clone)]
pub(crate) struct Coalesced<T> {
    queue: mpsc::Sender<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> Coalesced<T> {
    /// Rounds of `ask`, run by the future returned until every handle is gone.
    pub(crate) fn new<F, Fut>(ask: F) -> (Self, impl Future<Output = ()> + Send)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let (queue, mut receiver) = mpsc::channel::<oneshot::Sender<T>>(QUEUE);
        let rounds = async move {
            let mut askers = Vec::new();
            while receiver.recv_many(&mut askers, QUEUE).await > 0 {
                let answer = ask().await;
                for asker in askers.drain(..) {
                    // An asker that went away does not need its answer.
                    let _ = asker.send(answer.clone());
                }
            }
        };
        (Self { queue }, rounds)
    }

    /// The answer of a round that begins now or later; `None` when there are no more rounds.
    pub(crate) async fn ask(&self) -> Option<T> {
        let (asker, answer) = oneshot::channel();
        self.queue.send(asker).await.ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    #[tokio::test]
    async fn askers_share_rounds_that_begin_after_they_asked() {
        let rounds = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (asking, run) = Coalesced::new({
            let (rounds, gate) = (rounds.clone(), gate.clone());
            move || {
                let (rounds, gate) = (rounds.clone(), gate.clone());
                async move {
                    let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.acquire().await.unwrap().forget();
                    round
                }
            }
        });
        tokio::spawn(run);
        let first = tokio::spawn({
            let asking = asking.clone();
            async move { asking.ask().await }
        });
        while rounds.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let mut later = JoinSet::new();
        for _ in 0..100 {
            let asking = asking.clone();
            later.spawn(async move { asking.ask().await });
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(1));
        assert!(later.join_all().await.into_iter().all(|round| round == Some(2)));
    }
}
