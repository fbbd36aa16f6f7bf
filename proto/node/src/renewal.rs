//! What a node holds, renewed by those who admit it.

use std::{path::PathBuf, sync::Arc};

use hanse_identity::{
    Authority, Credentials, ExpiryMetrics, Held, Issuers, Issuing, JoinToken, Live, LiveAuthority,
    RenewError, Renewal, chain_of, enrol, renew_authority, renew_credentials, renew_from,
};
use hanse_process::telemetry;
use hanse_topology::Identity;
use tracing::{error, warn};

use crate::{JoinedNode, NodeConfig};

impl JoinedNode {
    /// Has the node's own certificate renewed until the shutdown. Nothing else waits for it.
    pub fn renew_certificate(&self) {
        let shell = &self.shell;
        shell.metrics.register(|registry| ExpiryMetrics::register(registry, self.credentials.clone(), None));
        let renewal = self.renewal("this node's certificate", &self.credentials, shell.config.pki_dir());
        let state = (renewal, shell.config.clone(), self.issuers());
        shell.supervisor.spawn(
            "certificate-renewal",
            state,
            |(renewal, config, issuers), shutdown| async move {
                renewal.keep(|current| renew_or_rejoin(&config, &issuers, current), shutdown).await;
            },
        );
    }

    /// Has an authority renewed that is kept in `dir` and issues the node's own certificate, until the shutdown.
    pub fn renew_authority(&self, authority: &LiveAuthority, dir: PathBuf) {
        let (shell, live) = (&self.shell, &self.credentials);
        shell.metrics.register(|registry| {
            ExpiryMetrics::register(registry, live.clone(), Some(authority.clone()));
        });
        let renewal = self.renewal("the authority over the region", authority, dir);
        let state = (renewal, live.identity(), self.issuers());
        shell.supervisor.spawn("authority-renewal", state, |(renewal, own, issuers), shutdown| async move {
            renewal.keep(|current| ask_for_authority(&issuers, &own, current), shutdown).await;
        });
        let state = (authority.clone(), live.clone(), self.trust.clone());
        shell.supervisor.spawn("certificate-renewal", state, |(authority, live, trust), shutdown| {
            renew_from(authority, Vec::new(), live, trust.clock().clone(), shutdown)
        });
    }

    fn renewal<T: Held>(&self, what: &'static str, live: &Live<T>, dir: PathBuf) -> Renewal<T> {
        if self.shell.config.enrolment.is_empty() {
            error!("cannot renew {what}: no enrolment address is configured (enrolment = [\"host:7446\"])");
        }
        Renewal {
            what,
            live: live.clone(),
            trust: self.trust.clone(),
            dir: dir.into(),
            issuing: Issuing::Always,
        }
    }

    fn issuers(&self) -> Issuers {
        let expect = self.shell.config.expect(&self.credentials.identity());
        Issuers { addresses: self.shell.config.enrolment.clone(), trust: self.trust.clone(), expect }
    }
}

async fn ask_for_authority(
    issuers: &Issuers,
    own: &Identity,
    current: Arc<Authority>,
) -> Result<Authority, RenewError> {
    renew_authority(issuers, &current, own).await
}

/// Renews or, where all refuse and there is a join token (they lost what they knew of this node), joins again with the same key:
/// under another it would be a stranger with a name that is taken.
async fn renew_or_rejoin(
    config: &NodeConfig,
    issuers: &Issuers,
    current: Arc<Credentials>,
) -> Result<Credentials, RenewError> {
    let refused = match renew_credentials(issuers, &current).await {
        Err(refused @ RenewError::Refused { .. }) => refused,
        decided => return decided,
    };
    let token = config.join_token().ok().flatten().and_then(|text| text.parse::<JoinToken>().ok());
    let Some(token) = token else { return Err(refused) };
    let (key, clock) = (current.key(), issuers.trust.clock());
    match enrol(&config.enrolment, &token, config.role, &config.name, key, None, clock).await {
        Ok(answer) => Credentials::new(chain_of(&answer), key.clone()).map_err(RenewError::Own),
        Err(error) => {
            warn!(error = %telemetry::causes(&error), "the join token does not help either");
            Err(refused)
        }
    }
}
