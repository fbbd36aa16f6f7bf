//! The access log: one line of JSON per request, written by a thread of its own.
//!
//! Serving threads never wait for it: a line that finds the queue full is counted and dropped. So are lines of a write that
//! fails.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::oneshot;

use crate::{config::AccessLogTarget, metrics::GatewayMetrics};

/// Lines that may wait for the writer: a second's worth at 50,000 requests a second and some 15 MB at most.
const QUEUE: usize = 50_000;
/// What is written at once, if it waits.
const BATCH: usize = 64 << 10;
/// After a failed write: a full disk is not made emptier by trying faster.
const PAUSE: Duration = Duration::from_secs(1);

/// What is said of one request. No query: keys travel there.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When it came.
    #[serde(serialize_with = "rfc3339")]
    pub time: OffsetDateTime,
    /// The client's address.
    pub client: std::net::IpAddr,
    /// The host asked for.
    pub host: &'a str,
    /// From the request line.
    pub method: &'a str,
    /// From the request line, without the query.
    pub path: &'a str,
    /// Of the answer; 499: the client left before it.
    pub status: u16,
    /// Octets of the answer's body that were sent.
    pub bytes: u64,
    /// From the head of the request to the end of the answer.
    pub duration_ms: f64,
    /// Up to the head of the upstream's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
    /// The endpoint, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Of the Api.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<&'a str>,
    /// The Api.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<&'a str>,
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'a str>,
    /// To which region it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_to: Option<&'a str>,
    /// From which region it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_from: Option<&'a str>,
    /// Who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<&'a str>,
    /// Why the gateway answered by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

fn rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
}

/// Where serving threads put their lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: SyncSender<Vec<u8>>,
    metrics: Arc<GatewayMetrics>,
}

/// Resolves when the writer has written everything and ended, which it does after the last [`AccessLog`] is gone.
#[derive(Debug)]
pub struct Written(oneshot::Receiver<()>);

impl Written {
    /// Waits for the end, with a bound: a full disk must not keep a process from stopping.
    pub async fn within(self, bound: Duration) {
        let _ = tokio::time::timeout(bound, self.0).await;
    }
}

impl AccessLog {
    /// Opens the target and starts the writer.
    pub fn open(target: &AccessLogTarget, metrics: Arc<GatewayMetrics>) -> io::Result<(Self, Written)> {
        let output: Box<dyn Write + Send> = match target {
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        Self::writing_to(output, metrics)
    }

    /// Starts a writer to anything.
    pub fn writing_to(
        output: Box<dyn Write + Send>,
        metrics: Arc<GatewayMetrics>,
    ) -> io::Result<(Self, Written)> {
        let (queue, lines) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let counted = metrics.clone();
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write(&lines, output, &counted, PAUSE);
            let _ = end.send(()); // the receiver may be gone
        })?;
        Ok((Self { queue, metrics }, Written(ended)))
    }

    /// Hands a line over, or drops and counts it.
    pub fn log(&self, line: &Line<'_>) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        if self.queue.try_send(text).is_err() {
            self.metrics.lost_log_lines.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes until all senders are gone: each time all lines that wait, and a flush.
fn write(lines: &Receiver<Vec<u8>>, mut output: impl Write, metrics: &GatewayMetrics, pause: Duration) {
    let mut torn = false;
    while let Ok(mut batch) = lines.recv() {
        let mut count = 1;
        while batch.len() < BATCH
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
            count += 1;
        }
        if torn {
            batch.insert(0, b'\n'); // what got through of the last batch may end anywhere
        }
        let written = output.write_all(&batch).and_then(|()| output.flush());
        torn = written.is_err();
        if let Err(error) = written {
            tracing::error!(%error, lines = count, "cannot write the access log");
            metrics.lost_log_lines.fetch_add(count, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes three octets of the second write, and then fails once.
    #[derive(Default, Clone)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let (writes, written) = &mut *self.0.lock().unwrap();
            *writes += 1;
            let taken = match *writes {
                2 => 3,
                3 => return Err(io::Error::from(io::ErrorKind::StorageFull)),
                _ => octets.len(),
            };
            written.extend_from_slice(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_lost_to_a_failed_write_are_counted_and_tear_no_other() {
        let metrics = GatewayMetrics::new(1);
        let disk = Disk::default();
        let (queue, lines) = sync_channel(QUEUE);
        // Lines as large as a batch are written one by one.
        let line = |letter: u8| {
            let mut line = vec![letter; BATCH];
            line.push(b'\n');
            line
        };
        for letter in [b'a', b'b', b'c'] {
            queue.send(line(letter)).unwrap();
        }
        drop(queue);
        write(&lines, disk.clone(), &metrics, Duration::ZERO);
        let wanted = [line(b'a'), b"bbb\n".to_vec(), line(b'c')].concat();
        assert!(disk.0.lock().unwrap().1 == wanted);
        assert_eq!(metrics.lost_log_lines.load(Ordering::Relaxed), 1);
    }
}
