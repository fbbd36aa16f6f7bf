//! The file a snapshot is kept and sent in.
//!
//! `HANSESN1`, a length-delimited `hanse.raft.v1.SnapshotMeta`, length-delimited `hanse.control.v1.SnapshotRecord`s of which the
//! first is the header, and the SHA-256 of everything before it.
//!
//! Another form of the file has another byte in place of the `1`, and is written only under the replicated version that brings it:
//! until then the release before must be able to read what is there. The rest of the magic, the metadata, the header and the checksum
//! are the same in every form, so that a release that does not know the form says which release does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use hanse_proto::{
    control::{SnapshotRecord, snapshot_record::Record},
    raft,
};
use hanse_state::{State, UnknownVersion};
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Applied, SnapshotError};
use crate::{type_config::SnapshotMeta, wire};

/// What the records may say follows from the version in their header.
const MAGIC: &[u8; 8] = b"HANSESN1";
/// Bytes of it that every form has.
const MAGIC_OF_EVERY_FORM: usize = 7;
const TRAILER_BYTES: u64 = 32;

/// Buffer between the serializer and the file.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a snapshot and returns its length. Durable when it returns.
pub(super) fn write(
    file: &File,
    meta: &SnapshotMeta,
    records: impl Iterator<Item = SnapshotRecord>,
) -> Result<u64, SnapshotError> {
    let mut out =
        Hashing { inner: BufWriter::with_capacity(BUFFER_BYTES, file), hash: Sha256::new(), length: 0 };
    out.write_all(MAGIC)?;
    out.write_all(&wire::snapshot_meta_to_proto(meta).encode_length_delimited_to_vec())?;
    for record in records {
        out.write_all(&record.encode_length_delimited_to_vec())?;
    }
    let Hashing { mut inner, hash, length } = out;
    inner.write_all(&hash.finalize())?;
    inner.flush()?;
    drop(inner);
    file.sync_all()?;
    Ok(length + TRAILER_BYTES)
}

/// Checks the trailer, then reads the snapshot.
pub(super) fn read(mut file: &File) -> Result<(SnapshotMeta, Applied), SnapshotError> {
    let length = file.metadata()?.len();
    let Some(content) = length.checked_sub(TRAILER_BYTES) else {
        return Err(SnapshotError::Damaged(format!("it has only {length} bytes")));
    };
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, file).take(content), &mut hash)?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.seek(SeekFrom::Start(content))?;
    file.read_exact(&mut trailer)?;
    if hash.finalize()[..] != trailer {
        return Err(SnapshotError::Damaged("its checksum is wrong".to_owned()));
    }

    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file).take(content);
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic)?;
    if magic[..MAGIC_OF_EVERY_FORM] != MAGIC[..MAGIC_OF_EVERY_FORM] {
        return Err(SnapshotError::Damaged("it is of no format known here".to_owned()));
    }
    let meta: raft::SnapshotMeta =
        next(&mut reader)?.ok_or_else(|| SnapshotError::Damaged("it has no header".to_owned()))?;
    let meta = wire::snapshot_meta(meta);
    if magic != *MAGIC {
        return Err(of_another_form(&mut reader));
    }
    let mut failed = None;
    let records = std::iter::from_fn(|| match next::<SnapshotRecord>(&mut reader) {
        Ok(record) => record,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let state = State::from_records(records);
    if let Some(error) = failed {
        return Err(error);
    }
    let applied = Applied {
        log_id: meta.last_log_id,
        membership: meta.last_membership.clone().into(),
        state: state.map_err(|error| match error {
            hanse_state::SnapshotError::Version(unknown) => unknown.into(),
            error => SnapshotError::State(Box::new(error)),
        })?,
    };
    Ok((meta, applied))
}

/// Which version and which release a file in another form is of: its header says it.
fn of_another_form(reader: &mut io::Take<impl Read>) -> SnapshotError {
    match next(reader) {
        Ok(Some(SnapshotRecord { record: Some(Record::Header(header)) })) => {
            UnknownVersion { number: header.version, release: header.release }.into()
        }
        Ok(_) => SnapshotError::Damaged("its first record is no header".to_owned()),
        Err(error) => error,
    }
}

/// The next length-delimited message; `None` at the end.
fn next<M: Message + Default>(reader: &mut io::Take<impl Read>) -> Result<Option<M>, SnapshotError> {
    if reader.limit() == 0 {
        return Ok(None);
    }
    let mut length: u64 = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
    }
    if length > reader.limit() {
        return Err(SnapshotError::Damaged("a record is longer than the rest of the file".to_owned()));
    }
    let mut bytes = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut bytes)?;
    M::decode(bytes::Bytes::from(bytes)).map(Some).map_err(|error| SnapshotError::Damaged(error.to_string()))
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
