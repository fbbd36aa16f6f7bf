//! A dump as it arrives.

use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use hanse_api::answer::{DumpCount, DumpEnd, DumpHead, DumpPart, Dumped};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;

use super::Client;
use crate::exit::{Exit, Failure};

/// Longest wait for more of a dump: a node writes a part in about a second.
const MORE_WITHIN: Duration = Duration::from_secs(20);
/// The longest line: twice the largest resource.
const MAX_LINE_BYTES: usize = 16 << 20;

/// What comes next of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DumpLine {
    /// The next part.
    Part,
    /// A resource of the part, in JSON.
    Resource(BytesMut),
    /// Nothing: that was all.
    End,
}

/// A dump that a server writes.
pub(crate) struct Dumping<B = Incoming> {
    /// What it is of.
    pub(crate) of: Dumped,
    /// What came so far.
    pub(crate) count: DumpCount,
    lines: Lines<B>,
}

impl Client {
    /// Asks for a dump.
    pub(crate) async fn dump(&self, tokens: bool, stale: bool) -> anyhow::Result<Dumping> {
        let stale = if stale { "&consistency=stale" } else { "" };
        Dumping::begin(self.open(&format!("/v1/dump?tokens={tokens}{stale}")).await?).await
    }
}

impl<B: Body<Data = Bytes> + Unpin> Dumping<B> {
    async fn begin(body: B) -> anyhow::Result<Self> {
        let mut lines = Lines { body, text: BytesMut::new(), seen: 0 };
        let DumpHead { dump } = read(&lines.next().await?)?;
        if dump.format != Dumped::FORMAT {
            let said = format!("the dump has the form {}, which this client does not know", dump.format);
            let remedy = "use the client of the control plane's release";
            return Err(Failure::new(Exit::General, said).remedy(remedy).into());
        }
        Ok(Self { of: dump, count: DumpCount::default(), lines })
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> anyhow::Result<DumpLine> {
        let line = self.lines.next().await?;
        if line.starts_with(b"{\"part\":") {
            let DumpPart { part } = read(&line)?;
            self.count.parts = part;
            Ok(DumpLine::Part)
        } else if line.starts_with(b"{\"end\":") {
            let DumpEnd { end } = read(&line)?;
            if end == self.count { Ok(DumpLine::End) } else { Err(broke_off().into()) }
        } else {
            self.count.resources += 1;
            Ok(DumpLine::Resource(line))
        }
    }
}

/// The lines of an answer that arrives.
struct Lines<B> {
    body: B,
    text: BytesMut,
    /// How much of `text` has no line end.
    seen: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Lines<B> {
    /// The next line, without its end.
    async fn next(&mut self) -> Result<BytesMut, Failure> {
        loop {
            if let Some(at) = self.text[self.seen..].iter().position(|&byte| byte == b'\n') {
                let mut line = self.text.split_to(self.seen + at + 1);
                line.truncate(line.len() - 1);
                self.seen = 0;
                return Ok(line);
            }
            self.seen = self.text.len();
            if self.seen > MAX_LINE_BYTES {
                return Err(broke_off());
            }
            match tokio::time::timeout(MORE_WITHIN, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.text.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Ok(Some(Err(_)) | None) | Err(_) => return Err(broke_off()),
            }
        }
    }
}

fn read<T: DeserializeOwned>(line: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(line).context("reading the dump; are client and server of one version?")
}

fn broke_off() -> Failure {
    Failure::new(Exit::NoQuorum, "the dump broke off").remedy("ask for it again")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::exit::exit_of;

    const DUMP: &str = r#"{"dump":{"format":1,"revision":7,"version":1}}
{"part":1}
{"kind":"Plan","name":"a"}
{"part":2}
{"kind":"Plan","name":"b"}
{"end":{"parts":2,"resources":2}}
"#;

    /// Reads a dump that comes in pieces of this size.
    async fn read_all(text: &str, size: usize) -> anyhow::Result<Vec<String>> {
        let pieces: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let mut dump = Dumping::begin(StreamBody::new(stream::iter(frames))).await?;
        let mut told = Vec::new();
        loop {
            match dump.next().await? {
                DumpLine::Part => told.push(format!("part {}", dump.count.parts)),
                DumpLine::Resource(line) => told.push(String::from_utf8(line.to_vec())?),
                DumpLine::End => return Ok(told),
            }
        }
    }

    #[tokio::test]
    async fn a_dump_comes_in_pieces_of_any_size() {
        let expected = ["part 1", r#"{"kind":"Plan","name":"a"}"#, "part 2", r#"{"kind":"Plan","name":"b"}"#];
        for size in [1, 7, 60, DUMP.len()] {
            assert_eq!(read_all(DUMP, size).await.unwrap(), expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_dump_without_its_end_broke_off() {
        let (whole, _end) = DUMP.split_once("{\"end\"").unwrap();
        let less = DUMP.replace("{\"kind\":\"Plan\",\"name\":\"b\"}\n", "");
        for text in ["", whole, &DUMP[..DUMP.len() - 1], &less] {
            let error = read_all(text, 50).await.unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), exit_of(&error)),
                ("the dump broke off\n  hint: ask for it again", Exit::NoQuorum)
            );
        }
        let unknown = DUMP.replace("\"format\":1", "\"format\":2");
        assert!(read_all(&unknown, 50).await.unwrap_err().to_string().contains("the form 2"));
    }
}
