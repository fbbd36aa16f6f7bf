//! Lookups as the system is set up: `/etc/hosts` first, then the name servers and search domains of `/etc/resolv.conf`.
//!
//! A lookup reads both files, as in the C library: a network that comes up later, or changes, needs no restart. Hickory parses
//! them, warns of a line that it cannot read, and skips that line. A lookup asks no other source that `nsswitch.conf` names.

use std::{
    borrow::Cow,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream::FuturesUnordered,
};
use hickory_resolver::{
    Hosts, Resolver, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};

use super::{Addresses, LookupError, addresses::has_route, cache::MIN_TTL};

/// One try to get one answer of one name server, with datagrams sent again meanwhile.
pub(super) const TRY: Duration = Duration::from_millis(1_500);
/// More tries after the first.
const TRIES_MORE: usize = 1;
/// The next name server is asked, too, when one is silent for this time: most answer within some milliseconds.
const NEXT_AFTER: Duration = Duration::from_millis(500);
/// When one family's addresses are there, so long for the other's: some name servers never answer for IPv6. Less than those
/// wait who have a stale answer.
const OTHER_FAMILY: Duration = Duration::from_millis(200);
/// How long an answer holds of which one family could not be had: it may be the better one.
const HALF_TTL: Duration = Duration::from_secs(10);
/// The C library's bound on `nameserver` lines.
const MAX_NAME_SERVERS: usize = 3;
/// The name server where none is named, as for the C library.
const OWN_NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The C library's bound on `ndots`: resolv.conf(5) says that it lowers a greater one silently.
const MAX_NDOTS: usize = 15;
/// The port of name servers.
const PORT: u16 = 53;

/// Where the system's settings are.
pub(super) struct Source {
    pub(super) hosts: PathBuf,
    pub(super) resolv_conf: PathBuf,
    /// Of the name servers.
    pub(super) port: u16,
}

impl Default for Source {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: PORT }
    }
}

/// The system's settings as they were when they were read.
pub(super) struct Settings {
    texts: [Vec<u8>; 2],
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
    /// One per name server. One for all would take the first one's failure for the answer.
    resolvers: Vec<TokioResolver>,
}

/// What `resolv.conf` says.
#[derive(Debug, PartialEq)]
struct ResolvConf {
    name_servers: Vec<IpAddr>,
    search: Vec<Name>,
    ndots: usize,
    edns0: bool,
}

impl Settings {
    /// What is there now: the settings of before if nothing has changed.
    pub(super) fn read(source: &Source, before: Option<Arc<Self>>) -> Result<Arc<Self>, LookupError> {
        let (Some(hosts_text), Some(conf_text)) = (text(&source.hosts), text(&source.resolv_conf)) else {
            return before.ok_or(LookupError::Ended);
        };
        let texts = [hosts_text, conf_text];
        if let Some(before) = before
            && before.texts == texts
        {
            return Ok(before);
        }
        let failed = |error: io::Error| LookupError::Failed(error.into());
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(String::from_utf8_lossy(&texts[0]).as_bytes()).map_err(failed)?;
        let conf = ResolvConf::parse(&String::from_utf8_lossy(&texts[1])).map_err(LookupError::Failed)?;
        let resolvers = conf.name_servers.iter().map(|server| resolver(*server, source.port, conf.edns0));
        let resolvers = resolvers.collect::<Result<_, _>>().map_err(LookupError::Failed)?;
        Ok(Arc::new(Self { texts, hosts, search: conf.search, ndots: conf.ndots, resolvers }))
    }

    /// The addresses of a name in lower case, and how long they hold.
    pub(super) async fn look_up(&self, name: &str) -> Result<(Addresses, Duration), LookupError> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        if let Ok(name) = Name::from_ascii(bare) {
            let found = [RecordType::A, RecordType::AAAA]
                .map(|family| self.hosts.lookup_static_host(&Query::query(name.clone(), family)));
            if let Some(addresses) = Addresses::new(found.iter().flatten().flat_map(addresses)) {
                return Ok((addresses, MIN_TTL));
            }
        }
        if bare == "localhost" || bare.ends_with(".localhost") {
            let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            return Addresses::new(loopback).map(|found| (found, MIN_TTL)).ok_or(LookupError::NoAddress);
        }
        let mut failed = None;
        for candidate in candidates(name, &self.search, self.ndots)? {
            match self.ask(candidate).await {
                Err(LookupError::NoAddress) => {}
                // A name server that answers and cannot say: as the C library, see what the next name brings.
                Err(error @ LookupError::Failed(NetError::Dns(_))) => failed = Some(error),
                found_or_silent => return found_or_silent,
            }
        }
        Err(failed.unwrap_or(LookupError::NoAddress))
    }

    /// Asks name servers for one absolute name.
    async fn ask(&self, name: Name) -> Result<(Addresses, Duration), LookupError> {
        let v4 = pin!(self.ask_for(&name, RecordType::A));
        let v6 = pin!(self.ask_for(&name, RecordType::AAAA));
        let (one, other) = match select(v4, v6).await {
            Either::Left((v4, v6)) => (v4, Either::Right(v6)),
            Either::Right((v6, v4)) => (v6, Either::Left(v4)),
        };
        let other = match &one {
            Ok(found) if addresses(found).any(has_route) => {
                tokio::time::timeout(OTHER_FAMILY, other).await.unwrap_or(Err(NetError::Timeout))
            }
            // Nothing there that could be used: the other family's answer is what counts, also if it takes its time.
            _ => other.await,
        };
        let both = [one, other];
        let found = || both.iter().flatten();
        if let Some(addresses) = Addresses::new(found().flat_map(addresses)) {
            let ttl = found().flat_map(|lookup| lookup.answers().iter().map(|record| record.ttl)).min();
            let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
            let is_half =
                both.iter().any(|answer| answer.as_ref().is_err_and(|error| !error.is_no_records_found()));
            return Ok((addresses, if is_half { ttl.min(HALF_TTL) } else { ttl }));
        }
        if both.iter().flatten().next().is_none() && both.iter().any(is_nx_domain) {
            return Err(LookupError::NoAddress);
        }
        let failure = both.into_iter().filter_map(Result::err).find(|error| !error.is_no_records_found());
        Err(failure.map_or(LookupError::NoAddress, LookupError::Failed))
    }

    /// One family's addresses from whichever name server can say: the next one is asked when one cannot, or is silent.
    async fn ask_for(&self, name: &Name, family: RecordType) -> Result<Lookup, NetError> {
        // In the order of the file, always: the first may know names that the others do not.
        let mut others = self.resolvers.iter();
        let mut asked = FuturesUnordered::new();
        let mut failure = NetError::NoConnections;
        loop {
            if let Some(server) = others.next() {
                asked.push(server.lookup(name.clone(), family));
            }
            match tokio::time::timeout(NEXT_AFTER, asked.next()).await {
                Err(_silent) => {}
                Ok(None) => return Err(failure),
                Ok(Some(Err(error))) if !error.is_no_records_found() => failure = error,
                Ok(Some(said)) => return said,
            }
        }
    }
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

fn is_nx_domain(answer: &Result<Lookup, NetError>) -> bool {
    answer.as_ref().is_err_and(NetError::is_nx_domain)
}

/// The absolute names that may be meant, in order: a name with fewer dots than `ndots` is one of a search domain first.
fn candidates(name: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, LookupError> {
    let name = Name::from_ascii(name).map_err(|error| LookupError::Malformed(error.to_string()))?;
    if name.is_fqdn() {
        return Ok(vec![name]);
    }
    let dots = name.iter().count().saturating_sub(1);
    let mut names: Vec<Name> =
        search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
    let mut absolute = name;
    absolute.set_fqdn(true);
    match dots >= ndots {
        true => names.insert(0, absolute),
        false => names.push(absolute),
    }
    Ok(names)
}

/// What a file says: nothing, as for the C library, if there is none to be read. `None`: it cannot be told just now, as when
/// the process is out of descriptors.
fn text(path: &Path) -> Option<Vec<u8>> {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    match std::fs::read(path) {
        Ok(text) => Some(text),
        Err(error) => {
            let is_none = matches!(error.kind(), NotFound | PermissionDenied | IsADirectory | NotADirectory);
            is_none.then(Vec::new)
        }
    }
}

fn resolver(server: IpAddr, port: u16, edns0: bool) -> Result<TokioResolver, NetError> {
    let mut server = NameServerConfig::udp_and_tcp(server);
    server.connections.iter_mut().for_each(|connection| connection.port = port);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = TRY;
    options.attempts = TRIES_MORE;
    options.edns0 = edns0;
    // What it found is kept by us, and `hosts` is read by us: one family's line there must not send us to name servers.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

impl ResolvConf {
    fn parse(text: &str) -> Result<Self, NetError> {
        // Hickory refuses a file without a name server, so the last line names one, which is taken out again.
        let lines = text.lines().filter_map(without_bad_domains);
        let lines: Vec<_> = lines.chain([format!("nameserver {OWN_NAME_SERVER}").into()]).collect();
        let (config, options) = parse_resolv_conf(lines.join("\n"))?;
        let mut name_servers: Vec<IpAddr> = config.name_servers().iter().map(|server| server.ip).collect();
        name_servers.pop();
        name_servers.retain(|server| !is_zoned(server));
        if name_servers.is_empty() {
            name_servers.push(OWN_NAME_SERVER);
        }
        name_servers.truncate(MAX_NAME_SERVERS);
        let (search, ndots) = (config.search().to_vec(), options.ndots.min(MAX_NDOTS));
        Ok(Self { name_servers, search, ndots, edns0: options.edns0 })
    }
}

/// The line without search domains that are no names: Hickory would refuse the whole file for one. `None`: the line names no
/// domain then, and means nothing.
fn without_bad_domains(line: &str) -> Option<Cow<'_, str>> {
    let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
    let Some(keyword @ ("search" | "domain")) = words.next() else { return Some(line.into()) };
    let is_name = |word: &&str| {
        let is_name = Name::from_ascii(word).is_ok();
        if !is_name {
            tracing::warn!(line, word, "this search domain of resolv.conf is passed over: it is no name");
        }
        is_name
    };
    let domains: Vec<_> = words.filter(is_name).collect();
    (!domains.is_empty()).then(|| format!("{keyword} {}", domains.join(" ")).into())
}

/// Whether an address means nothing without a zone, which is not kept.
fn is_zoned(server: &IpAddr) -> bool {
    let is_zoned = matches!(server, IpAddr::V6(address) if address.is_unicast_link_local());
    if is_zoned {
        tracing::warn!(%server, "this name server of resolv.conf is not asked: its address is link-local");
    }
    is_zoned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let parsed = |text: &str| ResolvConf::parse(text).unwrap();
        let conf = parsed(
            "# made by hand\nnameserver 10.0.0.10\nnameserver fe80::1%eth0\nnameserver\t::1 ; the last\n\
             domain example.org\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5 edns0\n",
        );
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let expected = ResolvConf {
            name_servers: vec!["10.0.0.10".parse().unwrap(), "::1".parse().unwrap()],
            search: vec![name("shop.svc.cluster.local"), name("svc.cluster.local")],
            ndots: 5,
            edns0: true,
        };
        assert_eq!(conf, expected);
        let nothing_said = ResolvConf {
            name_servers: vec![Ipv4Addr::LOCALHOST.into()],
            search: Vec::new(),
            ndots: 1,
            edns0: false,
        };
        assert_eq!(parsed(""), nothing_said);
        assert_eq!(parsed("options ndots:15").ndots, 15);
        assert_eq!(parsed("options ndots:4000000000").ndots, 15);
        let named = ResolvConf { search: vec![name("svc.cluster.local"), name("b.test")], ..nothing_said };
        assert_eq!(
            parsed("search a..b svc.cluster.local \u{fffd} b.test # ours"),
            named,
            "bad words alone go"
        );
        assert_eq!(parsed("domain b.test a..b").search, [name("b.test")]);
        let many: String = (1..9).map(|last| format!("nameserver 10.0.0.{last}\n")).collect();
        assert_eq!(
            parsed(&many).name_servers,
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn lines_of_resolv_conf_that_make_no_sense_are_passed_over() {
        let nonsense = [
            "nonsense",
            "nameserver",
            "nameserver nobody",
            "nameserver fe80::1%eth0",
            "search a..b",
            "search",
            "domain",
            "domain a..b",
            "options ndots:many",
            "options no-such:thing no-such-thing",
            "search \u{fffd}",
        ];
        let sound = "nameserver 10.0.0.10\nsearch a.test\noptions ndots:5\n";
        let expected = ResolvConf::parse(sound).unwrap();
        for line in nonsense {
            for text in [format!("{line}\n{sound}"), format!("{sound}{line}\n")] {
                assert_eq!(ResolvConf::parse(&text).unwrap(), expected, "{line}");
            }
        }
    }

    #[test]
    fn names_are_completed_as_the_c_library_does_it() {
        let search =
            ["shop.svc.cluster.local", "svc.cluster.local"].map(|name| Name::from_ascii(name).unwrap());
        let tried = |name: &str, ndots| -> Vec<String> {
            candidates(name, &search, ndots).unwrap().iter().map(Name::to_string).collect()
        };
        let completed =
            |name: &str| [format!("{name}.shop.svc.cluster.local."), format!("{name}.svc.cluster.local.")];
        let [a, b] = completed("orders");
        assert_eq!(tried("orders", 5), [&a, &b, "orders."]);
        let [a, b] = completed("orders.shop");
        assert_eq!(tried("orders.shop", 5), [&a, &b, "orders.shop."]);
        assert_eq!(tried("orders.shop", 1), ["orders.shop.", &a, &b]);
        assert_eq!(tried("orders.shop.", 5), ["orders.shop."]);
        let [a, b] = completed("my_service");
        assert_eq!(tried("my_service", 1), [&a, &b, "my_service."]);
        assert!(matches!(candidates("a..b", &search, 1), Err(LookupError::Malformed(_))));
    }
}
