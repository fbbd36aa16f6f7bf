//! A network of its own: every node in a network namespace with an address, on one bridge; links between nodes are cut and
//! healed, in one direction or both. Needs root, `ip` (iproute2) and `nft` (nftables).
//!
//! Names carry the process id of the harness, so what a killed harness left is known and removed by the next.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail, ensure};

/// Before the process id in the names of our namespaces.
const NAMESPACE: &str = "hanse-";
/// Before the process id in the names of our bridges and links; interface names have at most 15 characters.
const BRIDGE: &str = "hxb";
const LINK: &str = "hxl";
/// What `ip netns exec` mounts over the files of /etc, in a directory for each namespace.
const ETC: &str = "/etc/netns";
/// Networks are 10.213.N.0/24: a part of the private range that common tools do not take by default.
const SECOND_OCTET: u8 = 213;
/// The most nodes of a network: their addresses end in 2 to 254.
const MOST_NODES: u8 = 253;

/// Counts the networks of this process: tests may have one after the other.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// Which way packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What the first sends does not reach the second.
    OneWay,
    /// Neither hears the other.
    Both,
}

/// A network. Removed when dropped.
#[derive(Debug)]
pub struct Network {
    /// Tells the networks of this process apart.
    number: u32,
    third_octet: u8,
    places: BTreeMap<String, Place>,
}

/// Where a node lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// What this machine lacks for namespaces, if anything, and what to do about it.
pub fn missing() -> Option<String> {
    // A process's directory belongs to its effective user.
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    if !is_root {
        return Some("network namespaces need root: run as root, or in a virtual machine".to_owned());
    }
    for (tool, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let there = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            return Some(format!("`{tool}` is missing: apt-get install {package}"));
        }
    }
    match Network::new().and_then(|mut network| network.place("probe").map(drop)) {
        Ok(()) => None,
        Err(error) => Some(format!("this kernel does not let us make network namespaces: {error:#}")),
    }
}

impl Network {
    /// An empty network with a bridge; the harness itself has its first address.
    pub fn new() -> Result<Self> {
        remove_stale()?;
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let network = Self { number, third_octet: free_octet()?, places: BTreeMap::new() };
        let bridge = network.bridge();
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        run("ip", &["addr", "add", &format!("{}/24", network.address(1)), "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("{BRIDGE}{}-{:x}", process::id(), self.number)
    }

    fn link(&self, index: u8) -> String {
        format!("{LINK}{}{:x}.{index:x}", process::id(), self.number)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{NAMESPACE}{}-{:x}-{name}", process::id(), self.number)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, SECOND_OCTET, self.third_octet, host)
    }

    /// The harness's own address in it.
    pub fn own_address(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// Makes a namespace for a node of that name.
    pub fn place(&mut self, name: &str) -> Result<Place> {
        ensure!(!self.places.contains_key(name), "{name} has a place already");
        let index = u8::try_from(self.places.len()).unwrap_or(u8::MAX);
        ensure!(index < MOST_NODES, "a network has at most {MOST_NODES} nodes");
        let place = Place { namespace: self.namespace(name), address: self.address(index + 2) };
        let namespace = place.namespace.as_str();
        let link = self.link(index);
        run("ip", &["netns", "add", namespace])?;
        // From here on dropping the network removes the namespace, its link and its files.
        self.places.insert(name.to_owned(), place.clone());
        // A file of its own, so that names can be given to it while processes run.
        fs::create_dir_all(Path::new(ETC).join(namespace))?;
        fs::copy("/etc/hosts", hosts_file(namespace))?;
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", namespace])?;
        run("ip", &["link", "set", &link, "master", &self.bridge(), "up"])?;
        let address = format!("{}/24", place.address);
        run("ip", &["-n", namespace, "addr", "add", &address, "dev", "eth0"])?;
        run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
        run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        // One set of senders that are not heard: cutting and healing are one element each.
        nft(
            namespace,
            "add table inet chaos; add set inet chaos unheard { type ipv4_addr; }; \
             add chain inet chaos in { type filter hook input priority 0; }; \
             add rule inet chaos in ip saddr @unheard drop",
        )?;
        Ok(place)
    }

    /// Gives names addresses in one node, instead of those that this gave before: lines of its `/etc/hosts`.
    pub fn name_hosts(&self, node: &str, lines: &str) -> Result<()> {
        let place = self.places.get(node).with_context(|| format!("no node {node}"))?;
        let text = fs::read_to_string("/etc/hosts")? + "\n" + lines;
        // Written in place: the namespace has this file, not its name.
        fs::write(hosts_file(&place.namespace), text).context("/etc/hosts of a namespace")
    }

    /// Cuts the link between two nodes.
    pub fn cut(&self, from: &str, to: &str, cut: Cut) -> Result<()> {
        self.unheard("add", from, to)?;
        if cut == Cut::Both { self.unheard("add", to, from) } else { Ok(()) }
    }

    /// Heals a link that was cut so.
    pub fn heal(&self, from: &str, to: &str, cut: Cut) -> Result<()> {
        self.unheard("delete", from, to)?;
        if cut == Cut::Both { self.unheard("delete", to, from) } else { Ok(()) }
    }

    fn unheard(&self, verb: &str, from: &str, to: &str) -> Result<()> {
        let of = |name: &str| self.places.get(name).with_context(|| format!("no node {name}"));
        let (from, to) = (of(from)?, of(to)?);
        nft(&to.namespace, &format!("{verb} element inet chaos unheard {{ {} }}", from.address))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is left here is removed by the next harness.
        for place in self.places.values() {
            let _ = run("ip", &["netns", "del", &place.namespace]);
            let _ = fs::remove_dir_all(Path::new(ETC).join(&place.namespace));
        }
        let _ = run("ip", &["link", "del", &self.bridge()]);
    }
}

/// Removes namespaces and bridges of harnesses that are gone.
fn remove_stale() -> Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if is_stale(name, NAMESPACE) {
            run("ip", &["netns", "del", name])?;
        }
    }
    for entry in fs::read_dir(ETC).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| is_stale(name, NAMESPACE)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    for line in run("ip", &["-o", "link", "show", "type", "bridge"])?.lines() {
        let name = line.split(": ").nth(1).unwrap_or_default();
        if is_stale(name, BRIDGE) {
            run("ip", &["link", "del", name])?;
        }
    }
    Ok(())
}

fn hosts_file(namespace: &str) -> PathBuf {
    Path::new(ETC).join(namespace).join("hosts")
}

/// Whether a name is one of ours, of a process that is no more.
fn is_stale(name: &str, prefix: &str) -> bool {
    let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// A third octet that no interface here has.
fn free_octet() -> Result<u8> {
    let taken = run("ip", &["-o", "-4", "addr", "show"])?;
    let start = u8::try_from(process::id() % 256).expect("a remainder of 256 fits");
    (0..=u8::MAX)
        .map(|step| start.wrapping_add(step))
        .find(|octet| !taken.contains(&format!(" 10.{SECOND_OCTET}.{octet}.")))
        .context("every 10.213.N.0/24 is taken")
}

fn nft(namespace: &str, commands: &str) -> Result<()> {
    run("ip", &["netns", "exec", namespace, "nft", commands]).map(drop)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_gone_processes_are_stale() {
        assert!(is_stale("hanse-4194999-0-cp-1", NAMESPACE), "process ids end at 4194304");
        assert!(!is_stale(&format!("hanse-{}-0-cp-1", process::id()), NAMESPACE));
        assert!(is_stale("hxb4194999-3", BRIDGE));
        for foreign in ["hanse-blue", "docker0", "hxbx", ""] {
            assert!(!is_stale(foreign, NAMESPACE) && !is_stale(foreign, BRIDGE), "{foreign}");
        }
    }

    #[test]
    fn names_fit() {
        assert!(format!("{BRIDGE}4194304-fff").len() <= 15);
        assert!(format!("{LINK}4194304ff.fe").len() <= 15);
    }
}
