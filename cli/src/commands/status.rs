//! `hanse status` and `hanse wait`.

use std::time::{Duration, Instant};

use crate::{
    args::{Output, RevisionArg, WaitArgs},
    client::Client,
    convergence,
    exit::{Exit, Failure},
    out::data,
    render,
};

/// Shows the federation.
pub(crate) async fn status(client: &Client, output: Output) -> anyhow::Result<()> {
    let status = client.status().await?;
    let text = match output {
        Output::Table | Output::Wide => render::federation(&status),
        Output::Json => render::pretty(&status),
        Output::Yaml => render::yaml(&status),
        Output::Name => return Err(Failure::usage("status has no names; use table, json or yaml").into()),
    };
    data(text)?;
    Ok(())
}

/// Waits for a revision.
pub(crate) async fn wait(client: &Client, args: &WaitArgs) -> anyhow::Result<()> {
    let (revision, timeout) = match args.revision {
        RevisionArg::Number(revision) => (revision, args.timeout),
        RevisionArg::Latest => {
            let asked = Instant::now();
            let answer = tokio::time::timeout(args.timeout, client.latest_revision()).await;
            (answer.map_err(|_| unknown_latest(args.timeout))??, left(args.timeout, asked.elapsed()))
        }
    };
    convergence::wait(client, revision, timeout).await
}

fn unknown_latest(timeout: Duration) -> Failure {
    let waited = humantime::format_duration(timeout);
    Failure::new(Exit::WaitTimedOut, format!("after {waited} nobody has said which revision is the latest"))
        .remedy("`hanse status` works without a quorum too; see which control-plane nodes are there")
}

/// What is left of the time to wait, rounded up to a tenth of a second: it is shown to people.
fn left(timeout: Duration, gone: Duration) -> Duration {
    const STEP_MS: u128 = 100;
    let left = timeout.saturating_sub(gone);
    let rounded = Duration::from_millis(
        u64::try_from(left.as_millis() / STEP_MS * STEP_MS + STEP_MS).unwrap_or(u64::MAX),
    );
    rounded.min(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::tests::silent_server, exit::exit_of};

    #[tokio::test]
    async fn asking_for_the_latest_revision_counts_as_waiting() {
        let (client, _listener, _dir) = silent_server().await;
        let started = Instant::now();
        let args = WaitArgs { revision: RevisionArg::Latest, timeout: Duration::from_millis(200) };
        let error = wait(&client, &args).await.unwrap_err();
        assert_eq!(exit_of(&error), Exit::WaitTimedOut);
        assert!(error.to_string().starts_with("after 200ms nobody has said"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn what_is_left_is_round_and_never_more_than_there_was() {
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis);
        assert_eq!(left(3 * second, ms(20)), 3 * second);
        assert_eq!(left(3 * second, ms(420)), ms(2_600));
        assert_eq!(left(second, 2 * second), ms(100));
        assert_eq!(left(ms(50), ms(10)), ms(50));
    }
}
