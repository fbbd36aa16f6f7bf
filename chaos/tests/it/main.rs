//! Tests with real processes: a federation started as the README says, used as operators and callers use it.
//!
//! Run by `./check process`. They find the binary by `HANSE_BIN` and big inputs by `HANSE_TEST_INPUTS`; what is missing fails.

mod bad_input;
mod dev_control;
mod first_light;
mod joining;
mod revocation;
mod road;
mod waiting;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hanse_chaos::{Answer, Client};

/// Calls until the answer is as wanted, or fails with the last one after `within`.
async fn eventually(
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
    within: Duration,
    wanted: impl Fn(&Answer) -> bool,
) -> Result<Answer> {
    let deadline = Instant::now() + within;
    loop {
        let answer = client.get(url, headers).await;
        match answer {
            Ok(answer) if wanted(&answer) => return Ok(answer),
            last if Instant::now() > deadline => {
                bail!("GET {url}: not as wanted within {within:?}; last: {last:?}")
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
