//! What a process holds of its own, be it a certificate or an authority.

use hanse_process::WallClock;

use super::{Authority, Chain, Credentials, KeyDir, KeyPair, PkiError, Validity, files};

/// What a process holds and others renew: its own certificate, or its authority.
pub trait Held: Clone + Send + Sync + 'static {
    /// From the chain that was issued for this key. An authority goes by this clock.
    fn of(chain: Chain, key: KeyPair, clock: &WallClock) -> Result<Self, PkiError>;

    /// Its certificate first, the root last.
    fn chain(&self) -> &Chain;

    /// Its key.
    fn key(&self) -> &KeyPair;

    /// When its certificate is valid.
    fn validity(&self) -> Validity;

    /// Reads what a directory holds; `None`: nothing, or half of it because a crash cut a join off.
    fn read(dir: &KeyDir, clock: &WallClock) -> Result<Option<Self>, PkiError> {
        if !files::is_saved(dir.path()) {
            return Ok(None);
        }
        let (chain, key) = files::load(dir)?;
        Self::of(chain, key, clock).map(Some)
    }

    /// Keeps it in a directory. A crash leaves the old one or the new.
    fn write(&self, dir: &KeyDir) -> Result<(), PkiError> {
        files::save(dir, self.chain(), self.key())
    }
}

impl Held for Credentials {
    fn of(chain: Chain, key: KeyPair, _: &WallClock) -> Result<Self, PkiError> {
        Self::new(chain, key)
    }

    fn chain(&self) -> &Chain {
        self.chain()
    }

    fn key(&self) -> &KeyPair {
        self.key()
    }

    fn validity(&self) -> Validity {
        self.validity()
    }
}

impl Held for Authority {
    fn of(chain: Chain, key: KeyPair, clock: &WallClock) -> Result<Self, PkiError> {
        Ok(Self::from_parts(chain, key)?.with_clock(clock.clone()))
    }

    fn chain(&self) -> &Chain {
        self.chain()
    }

    fn key(&self) -> &KeyPair {
        self.key()
    }

    fn validity(&self) -> Validity {
        self.validity()
    }
}
