//! A gateway as its agent sees it: it joins, follows the agent and says what it serves. It takes no traffic.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use hanse_agent::{Config, mint_token};
use hanse_identity::{
    ClientTls, Credentials, Expect, JoinToken, KeyPair, LiveCredentials, TrustAnchor, chain_of, client_tls,
    enrol,
};
use hanse_link::{
    EffectiveSource, Replicas, Service, SubscriberOptions, SubscriberTask, Wanted, report_of, serving,
};
use hanse_process::{ShutdownTrigger, WallClock};
use hanse_proto::{nested, sync::Facts};
use hanse_topology::{Identity, Name, Role};
use tokio::sync::watch;

/// A gateway that joined, whether its link stands or not.
pub(super) struct Gateway {
    pub(super) name: String,
    /// The agent that admitted it.
    pub(super) agent: String,
    identity: Identity,
    address: String,
    tls: ClientTls,
    /// Ends the link.
    link: Option<ShutdownTrigger>,
}

impl Gateway {
    /// Joins at an agent, with a token of that.
    pub(super) async fn join(agent: &Config, name: &str, ca_file: &Path) -> Result<Self> {
        let token: JoinToken = mint_token(agent, Role::Gateway, &[])?.parse()?;
        let (identity, key) = (Name::new(name)?, KeyPair::generate()?);
        let desk = [agent.listen.enrolment.clone()];
        let answer = enrol(&desk, &token, Role::Gateway, &identity, &key, None, &WallClock::system()).await;
        let answer = answer.with_context(|| format!("{name} joins at {}", agent.name))?;
        let credentials = Credentials::new(chain_of(&answer), key)?;
        let root = TrustAnchor::from_pem(&std::fs::read_to_string(ca_file)?)?;
        let expect = Expect { roles: vec![Role::Agent], region: Some(agent.region.clone()) };
        Ok(Self {
            name: name.to_owned(),
            agent: agent.name.to_string(),
            identity: Identity::gateway(identity, agent.region.clone()),
            address: agent.listen.federation.clone(),
            tls: client_tls(Some(&LiveCredentials::new(credentials)), &root, expect)?,
            link: None,
        })
    }

    /// It comes, or it goes. What the agent makes of that is not waited for.
    pub(super) fn set(&mut self, comes: bool) -> Result<()> {
        ensure!(comes == self.link.is_none(), "{} is so already", self.name);
        match self.link.take() {
            Some(link) => link.trigger(),
            None => self.link = Some(self.follow()),
        }
        Ok(())
    }

    fn follow(&self) -> ShutdownTrigger {
        let options = SubscriberOptions {
            identity: self.identity.clone(),
            publishers: watch::channel(vec![self.address.clone()]).1,
            tls: self.tls.clone(),
            wanted: Wanted::All,
            service: Service::Sync,
        };
        let url = format!("https://{}.example", self.name);
        let report = move || {
            let serving = serving(&[], (std::slice::from_ref(&url), &[], &[]), &Ok(()));
            report_of(&Facts { serving: nested::to_bytes(&serving), ..Facts::default() }, bytes::Bytes::new())
        };
        let (replicas, effective) = (Replicas::new(), EffectiveSource::Immediate);
        let (task, _status) = SubscriberTask::new(options, replicas, effective, Some(Arc::new(report)));
        let (trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(task.run(shutdown));
        trigger
    }
}
