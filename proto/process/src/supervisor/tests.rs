use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::ShutdownTrigger;

/// Above every wait of a supervisor; the clock of these tests runs by itself.
const LONG: Duration = Duration::from_secs(60);

async fn says(ready: &mut watch::Receiver<Result<(), String>>, wanted: &Result<(), String>) {
    let said = tokio::time::timeout(LONG, ready.wait_for(|said| said == wanted)).await.is_ok();
    assert!(said, "it stays {:?}, not {wanted:?}", ready.borrow());
}

/// A supervised task that fails as often as it is told, and then waits for the shutdown.
fn supervised(fail: fn(), times: usize) -> (ShutdownTrigger, Supervisor, Metrics, Arc<AtomicUsize>) {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let metrics = Metrics::new();
    let supervisor = Supervisor::new(&metrics, shutdown);
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    supervisor.spawn("link", count, move |count, shutdown| {
        let before = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if before < times {
                sleep(Duration::from_secs(5)).await;
                return fail();
            }
            shutdown.wait().await;
        }
    });
    (trigger, supervisor, metrics, begun)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_or_panics_is_started_again_and_the_process_not_ready_meanwhile() {
    for fail in [|| panic!("on purpose"), || ()] {
        let (_trigger, supervisor, metrics, begun) = supervised(fail, 2);
        let (_own, own) = watch::channel(Ok(()));
        let mut ready = supervisor.announce(own);
        says(&mut ready, &Ok(())).await;
        assert!(metrics.encode().contains("hanse_task_restarts_total{task=\"link\"} 0\n"));
        for restarts in 1..=2 {
            says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
            says(&mut ready, &Ok(())).await;
            assert_eq!(begun.load(Ordering::SeqCst), restarts + 1);
            let line = format!("hanse_task_restarts_total{{task=\"link\"}} {restarts}\n");
            assert!(metrics.encode().contains(&line), "{}", metrics.encode());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_at_once_every_time_is_never_ready_and_started_ever_more_rarely() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown);
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    supervisor.spawn("link", count, |count, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async { panic!("on purpose") }
    });
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = supervisor.announce(own);
    says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
    let recovered = tokio::time::timeout(10 * LONG, ready.wait_for(Result::is_ok)).await;
    assert!(recovered.is_err(), "it never ran for a second");
    let begun = begun.load(Ordering::SeqCst);
    assert!((20..500).contains(&begun), "{begun} times in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_a_little_and_fails_each_time_is_not_reported_ready_again_and_again() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown);
    supervisor.spawn("link", (), |(), _| sleep(Duration::from_millis(1_500)));
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = supervisor.announce(own);
    says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
    let mut recovered = 0;
    let watched = async {
        loop {
            ready.changed().await.unwrap();
            recovered += usize::from(ready.borrow_and_update().is_ok());
        }
    };
    assert!(tokio::time::timeout(10 * LONG, watched).await.is_err());
    assert!(recovered <= 2, "{recovered} times, while the ceiling of its wait was below a second");
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_before_it_begins_is_started_again() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown);
    let begun = Arc::new(AtomicUsize::new(0));
    supervisor.spawn("link", begun.clone(), |begun, _| {
        assert_ne!(begun.fetch_add(1, Ordering::SeqCst), 0, "on purpose");
        future::pending()
    });
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = supervisor.announce(own);
    says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
    says(&mut ready, &Ok(())).await;
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn at_the_shutdown_nothing_is_started_again_and_what_the_makers_hold_is_let_go() {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown);
    let held = Arc::new(());
    let (in_make, begun) = (held.clone(), Arc::new(AtomicUsize::new(0)));
    let count = begun.clone();
    supervisor.spawn("link", (count, in_make), |(count, in_make), shutdown| {
        drop(in_make);
        count.fetch_add(1, Ordering::SeqCst);
        async move { shutdown.wait().await }
    });
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = supervisor.announce(own);
    says(&mut ready, &Ok(())).await;
    trigger.trigger();
    says(&mut ready, &Err("draining".to_owned())).await;
    supervisor.drain().await;
    assert_eq!((begun.load(Ordering::SeqCst), Arc::strong_count(&held)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn tasks_end_with_their_supervisor() {
    let (_trigger, supervisor, _metrics, begun) = supervised(|| (), 0);
    let count = begun.clone();
    drop(begun);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((count.load(Ordering::SeqCst), Arc::strong_count(&count)), (1, 2));
    drop(supervisor);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&count), 1, "an early return leaves nothing running");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_gives_no_proof_of_life() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown);
    let most = Duration::from_secs(30);
    let pulse = supervisor.pulse("the link", most);
    let hangs = Arc::new(AtomicUsize::new(usize::MAX));
    let turns = hangs.clone();
    supervisor.spawn("link", (pulse, turns), |(pulse, turns), _| async move {
        while turns.fetch_sub(1, Ordering::SeqCst) > 0 {
            let waits = tokio::time::timeout(Duration::from_secs(7), pulse.beat_on());
            assert!(waits.await.is_err(), "it waits for news");
        }
        future::pending::<()>().await;
    });
    sleep(10 * most).await;
    assert_eq!(supervisor.proof(), Ok(()));
    hangs.store(0, Ordering::SeqCst);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(supervisor.proof(), Ok(()), "it may be busy");
    sleep(most).await;
    assert_eq!(supervisor.proof().unwrap_err().to_string(), "the link hangs");
    supervisor.prove("a thread", || false);
    assert_eq!(supervisor.proof(), Err(Hung("the link")));
}

#[tokio::test(start_paused = true)]
async fn a_part_ends_and_the_process_says_of_it_no_more() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let metrics = Metrics::new();
    let process = Supervisor::new(&metrics, shutdown);
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = process.announce(own);
    let (stopping, stop) = ShutdownTrigger::new();
    let part = process.part(stop);
    part.spawn("link", (), |(), _| async { panic!("on purpose") });
    part.prove("a thread", || false);
    says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
    assert_eq!(process.proof(), Err(Hung("a thread")));
    assert!(metrics.encode().contains("hanse_task_restarts_total{task=\"link\"} "));

    stopping.trigger();
    part.drain().await;
    drop(part);
    says(&mut ready, &Ok(())).await;
    assert_eq!(process.proof(), Ok(()));
    process.prove("another thread", || false);
    assert_eq!(process.proof(), Err(Hung("another thread")), "the process goes on");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_dropped_is_not_down() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let process = Supervisor::new(&Metrics::new(), shutdown.clone());
    let (_own, own) = watch::channel(Ok(()));
    let mut ready = process.announce(own);
    let part = process.part(shutdown);
    part.spawn("link", (), |(), _| async { panic!("on purpose") });
    says(&mut ready, &Err("the task link ended and is started again".to_owned())).await;
    drop(part);
    says(&mut ready, &Ok(())).await;
}
