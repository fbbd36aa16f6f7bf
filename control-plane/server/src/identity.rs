//! The node's own certificate, issued by itself.

use std::net::IpAddr;

use hanse_identity::{Authority, LiveCredentials, PkiError, SanName};
use hanse_topology::Identity;

use crate::Config;

/// Names the API's clients may use: loopback, the addresses others are told, and what the operator lists.
pub(crate) fn api_names(config: &Config) -> Vec<SanName> {
    let advertised = config.advertised();
    let hosts = [&config.listen.api, &advertised.api].map(|address| host(address).to_owned());
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().collect();
    names.extend(hosts);
    names.extend(config.api_names.iter().cloned());
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| name.parse::<IpAddr>().map_or_else(|_| SanName::Dns(name), SanName::Ip))
        .filter(|name| !matches!(name, SanName::Ip(address) if address.is_unspecified()))
        .collect()
}

/// The host of `host:port`, without an IPv6 address's brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Issues the node's first certificate.
pub(crate) fn issue(config: &Config, authority: &Authority) -> Result<LiveCredentials, PkiError> {
    let identity = Identity::server(config.name.clone());
    Ok(LiveCredentials::new(authority.issue_credentials(&identity, &api_names(config))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_cut_from_addresses() {
        for (address, wanted) in [
            ("127.0.0.1:7443", "127.0.0.1"),
            ("[::1]:7443", "::1"),
            ("cp.example.com:7443", "cp.example.com"),
        ] {
            assert_eq!(host(address), wanted);
        }
    }
}
