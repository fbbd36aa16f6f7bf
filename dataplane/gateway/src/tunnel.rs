//! Requests that gateways of another region serve for this one, and those that this one serves for others.
//!
//! - The *entry* is the gateway that a client reached. It decides on the request whole, and sends it to a gateway of a serving region.
//! - The *exit* is that gateway. It finds the Route anew and sends the request to its upstream. It never tunnels the request again.
//!
//! A request is tunnelled because of the connection that it came by, and of the identity of the gateway at the other end. The header
//! [`HEADER`] says only what the entry found.

mod head;
mod peers;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hanse_topology::Name;

pub use self::{
    head::{HEADER, TunnelHead},
    peers::{Addresses, Peers},
};

/// Which way a request goes through a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To a gateway of another region: this one is the entry.
    Out,
    /// From a gateway of another region: this one is the exit.
    In,
}

impl Direction {
    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// What a tunnelled request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer. At the entry the exit's refusals are answers, too.
    Answered,
    /// No gateway of the region could be reached.
    Unreachable,
    /// Too many requests were under way.
    Full,
    /// The exit refused to serve it for that gateway.
    Refused,
    /// The tunnel broke, or the exit took too long, and the exit may have acted on the request.
    Failed,
    /// The client, or the entry, left before an answer.
    Left,
}

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Each once, in order.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Unreachable, Self::Full, Self::Refused, Self::Failed, Self::Left];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }
}

/// What the serving threads share of tunnels.
#[derive(Debug, Default)]
pub struct Tunnels {
    /// The gateways of other regions; `None`: this gateway has no tunnels.
    pub peers: Option<Peers>,
    /// Requests at once, in each direction.
    max_requests: usize,
    out: AtomicUsize,
    into: AtomicUsize,
}

impl Tunnels {
    /// With these peers, and so many requests at once in each direction.
    pub fn new(peers: Peers, max_requests: usize) -> Arc<Self> {
        Arc::new(Self { peers: Some(peers), max_requests, ..Self::default() })
    }

    /// Room for one more request; `None`: there are as many as there may be.
    pub fn permit(self: &Arc<Self>, direction: Direction) -> Option<Permit> {
        let open = self.open(direction);
        // Relaxed: the number is all there is.
        let taken = open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < self.max_requests).then_some(open + 1)
        });
        taken.ok().map(|_| Permit { tunnels: self.clone(), direction })
    }

    fn open(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Out => &self.out,
            Direction::In => &self.into,
        }
    }
}

/// One request under way through a tunnel. Free again when dropped.
#[derive(Debug)]
pub struct Permit {
    tunnels: Arc<Tunnels>,
    direction: Direction,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tunnels.open(self.direction).fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request on its way through a tunnel.
#[derive(Debug)]
pub struct Leg {
    /// Which way.
    pub direction: Direction,
    /// The region at the other end.
    pub region: Name,
    /// What it came to, once that is known.
    pub outcome: Option<Outcome>,
    /// Until the answer is over.
    pub permit: Option<Permit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_has_its_own_room_and_gets_it_back() {
        let tunnels = Tunnels::new(Peers::default(), 2);
        let two = [(); 2].map(|()| tunnels.permit(Direction::Out).unwrap());
        assert!(tunnels.permit(Direction::Out).is_none());
        let [one, _other] = two;
        let _in = tunnels.permit(Direction::In).unwrap();
        drop(one);
        assert!(tunnels.permit(Direction::Out).is_some());
    }
}
