//! Load on one name server, from one thread that is pinned to the other core than the server.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{time::ClockId, unistd::Pid};

use super::{job::Job, since};
use crate::{attack::pin, percentile::percentile};

/// Short, so that the slices of a round meet the same machine.
const SLICE: Duration = Duration::from_secs(1);
/// Questions under way at a time, flat out: enough to keep the server busy, and few enough for the buffers of its socket.
const UNDER_WAY: usize = 128;
/// An answer that is out for so long is lost. A machine that stops a server for some milliseconds loses what does not fit the buffer of its
/// socket. Slices are many, so that their medians are those of a machine that does not.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// Octets of the header of a message, and where its parts are (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
const ANSWERS: usize = 7;
const CODE: usize = 3;

/// Both slices of a round.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) flat_out: FlatOut,
    pub(super) latencies: Latencies,
}

/// A slice in which each answer is followed by the next question.
#[derive(Debug)]
pub(super) struct FlatOut {
    answered: u64,
    took: Duration,
    cpu: Duration,
}

impl FlatOut {
    pub(super) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    pub(super) fn cpu_us_per_query(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answered as f64
    }
}

/// A slice in which each question has its time, whatever became of those before.
#[derive(Debug)]
pub(super) struct Latencies {
    /// From when a question was due, by length. A lost one counts as [`LOST_AFTER`].
    sorted: Vec<Duration>,
    pub(super) lost: u64,
}

impl Latencies {
    pub(super) fn p99_ms(&self) -> f64 {
        percentile(&self.sorted, 99).as_secs_f64() * 1e3
    }
}

/// Asks once. The address in the answer.
pub(super) fn ask(address: SocketAddr, message: &[u8]) -> Result<String> {
    let socket = socket(address)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    socket.send(message)?;
    let mut buffer = [0; 1_500];
    let length = socket.recv(&mut buffer).context("no answer")?;
    let answer = &buffer[..length];
    check(answer)?;
    // The question is repeated as it was; behind it stand a pointer to its name, type, class, TTL and length.
    let question = message[HEADER..].iter().position(|&octet| octet == 0).context("no name")? + 1 + 4;
    let record = answer.get(HEADER + question + 12..).and_then(|rest| rest.first_chunk::<4>());
    Ok(std::net::Ipv4Addr::from(*record.context("a short record")?).to_string())
}

fn socket(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    Ok(socket)
}

/// It answers, and has one record.
fn check(answer: &[u8]) -> Result<()> {
    ensure!(
        answer.len() > HEADER && answer[CODE] & 0xf == 0 && answer[ANSWERS] == 1,
        "no answer: {answer:x?}"
    );
    Ok(())
}

/// The job's messages in turn, each with an identifier of its own.
struct Questions {
    messages: Vec<Vec<u8>>,
    next: usize,
}

impl Questions {
    fn of(job: Job) -> Self {
        Self { messages: job.messages(), next: 0 }
    }

    fn send(&mut self, socket: &UdpSocket) -> Result<u16> {
        let id = u16::try_from(self.next & 0xffff).expect("16 bits");
        let count = self.messages.len();
        let message = &mut self.messages[self.next % count];
        message[..2].copy_from_slice(&id.to_be_bytes());
        self.next += 1;
        socket.send(message)?;
        Ok(id)
    }
}

/// As many questions as the server answers in a slice.
pub(super) fn flat_out(address: SocketAddr, server: u32, job: Job) -> Result<FlatOut> {
    pinned(server)?;
    let (socket, mut questions, mut buffer) = (socket(address)?, Questions::of(job), [0; 1_500]);
    socket.set_read_timeout(Some(LOST_AFTER))?;
    for _ in 0..UNDER_WAY {
        questions.send(&socket)?;
    }
    let mut answered = 0_u64;
    let (began, cpu) = (Instant::now(), cpu_time(server)?);
    while began.elapsed() < SLICE {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                check(&buffer[..length])?;
                answered += 1;
                questions.send(&socket)?;
            }
            Err(error) if is_silence(&error) => {
                for _ in 0..UNDER_WAY {
                    questions.send(&socket)?;
                }
            }
            Err(error) => bail!(error),
        }
    }
    ensure!(answered > 0, "no answer within {SLICE:?}");
    Ok(FlatOut { answered, took: began.elapsed(), cpu: since(cpu, cpu_time(server)?) })
}

/// Questions at this rate.
pub(super) fn at_half(address: SocketAddr, job: Job, rate: f64) -> Result<Latencies> {
    let (socket, mut questions, mut buffer) = (socket(address)?, Questions::of(job), [0; 1_500]);
    socket.set_nonblocking(true)?;
    let count = (rate * SLICE.as_secs_f64()) as usize;
    // An identifier stands for the question that had it last: an answer that is half a slice late is lost.
    let mut due_of = vec![None; 1 << 16];
    let mut sorted = Vec::with_capacity(count);
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < SLICE + LOST_AFTER && sorted.len() < count {
        let due = Duration::from_secs_f64(sent as f64 / rate);
        if sent < count && began.elapsed() >= due {
            let id = questions.send(&socket)?;
            due_of[usize::from(id)] = Some(due);
            sent += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                check(&buffer[..length])?;
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                if let Some(due) = due_of[usize::from(id)].take() {
                    sorted.push(began.elapsed().saturating_sub(due));
                }
            }
            Err(error) if is_silence(&error) => {}
            Err(error) => bail!(error),
        }
    }
    sorted.sort_unstable();
    let lost = count.saturating_sub(sorted.len());
    sorted.resize(count, LOST_AFTER);
    Ok(Latencies { sorted, lost: lost as u64 })
}

/// Load and server have a core each.
fn pinned(server: u32) -> Result<()> {
    pin::this_thread(pin::ATTACKER)?;
    pin::to_core(pin::NODE, server)
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn cpu_time(process: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(process)?))?;
    Ok(Duration::from(clock.now()?))
}
