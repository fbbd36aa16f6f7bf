//! For the tests of this crate.

use std::time::Duration;

use tokio::time::timeout;

/// Longest wait for anything a test expects to happen.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it should have happened by now")
}
