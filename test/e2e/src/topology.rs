use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU32, Ordering},
};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{Error, Lab, Pace, Space, space::run_here};

/// What a network consists of.
///
/// ```no_run
/// # async fn example() -> Result<(), clarion_e2e::Error> {
/// use clarion_e2e::Topology;
/// let lab = Topology::new()
///     .nodes(&["a", "b", "c"])
///     .router("tor", 64513)
///     .client("user")
///     .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "a", "b", "c"])
///     .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor", "user"])
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Topology {
    pub(crate) nodes: Vec<&'static str>,
    pub(crate) routers: Vec<(&'static str, u32)>,
    pub(crate) clients: Vec<&'static str>,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) pace: Pace,
}

/// A subnet, in which the machines have the addresses 1, 2, … in the order in which they are named.
#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    v4: String,
    v6: String,
    pub(crate) members: Vec<&'static str>,
}

/// An interface of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    /// Which of the subnets.
    pub(crate) subnet: usize,
    /// Where the other end of its link is, in the bridge that the subnet is made of.
    pub(crate) port: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

impl Topology {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let (nodes, routers, clients) = (Vec::new(), Vec::new(), Vec::new());
        Self { nodes, routers, clients, subnets: Vec::new(), pace: Pace::QUICK }
    }

    /// Adds nodes.
    #[must_use]
    pub fn nodes(mut self, names: &[&'static str]) -> Self {
        self.nodes.extend(names);
        self
    }

    /// Adds a router. It expects sessions from every node of its subnets, over IPv4 and IPv6.
    #[must_use]
    pub fn router(mut self, name: &'static str, asn: u32) -> Self {
        self.routers.push((name, asn));
        self
    }

    /// Adds a client.
    #[must_use]
    pub fn client(mut self, name: &'static str) -> Self {
        self.clients.push(name);
        self
    }

    /// Adds a subnet. Members have the addresses 1, 2, … and an interface each: `eth0` in the first of a machine's subnets,
    /// `eth1` in the second. The first router of a machine's first subnet is its way to everywhere else.
    #[must_use]
    pub fn subnet(mut self, v4: &str, v6: &str, members: &[&'static str]) -> Self {
        self.subnets.push(Subnet { v4: v4.to_owned(), v6: v6.to_owned(), members: members.to_owned() });
        self
    }

    /// How fast FRR-K8s works; quick, if nothing is said.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Starts all of it, and Clarion.
    ///
    /// # Errors
    /// If something does not come up.
    pub async fn start(self) -> Result<Lab, Error> {
        Lab::start(self).await
    }

    /// Connects the machines.
    pub(crate) fn connect(
        &self,
        machines: &BTreeMap<&'static str, Space>,
    ) -> Result<BTreeMap<&'static str, Vec<Interface>>, Error> {
        let mut interfaces: BTreeMap<_, Vec<Interface>> = BTreeMap::new();
        for (number, subnet) in self.subnets.iter().enumerate() {
            let bridge = unique("br");
            run_here(&["ip", "link", "add", &bridge, "type", "bridge", "mcast_snooping", "0"])?;
            // The bridge itself is to have no part in what it carries.
            run_here(&["ip", "link", "set", &bridge, "addrgenmode", "none", "up"])?;
            for (place, name) in subnet.members.iter().enumerate() {
                let machine = machines.get(name).ok_or_else(|| Error::Topology(format!("there is no {name}")))?;
                let (v4, v6) = subnet.addresses(place)?;
                let of_machine = interfaces.entry(*name).or_default();
                let (port, link) = (unique("port"), format!("eth{}", of_machine.len()));
                let pid = machine.pid().to_string();
                run_here(&["ip", "link", "add", &port, "type", "veth", "peer", "name", &link, "netns", &pid])?;
                run_here(&["ip", "link", "set", &port, "addrgenmode", "none", "master", &bridge, "up"])?;
                machine.run(&[
                    "ip",
                    "address",
                    "add",
                    &format!("{v4}/{}", subnet.net4()?.prefix_len()),
                    "dev",
                    &link,
                ])?;
                machine.run(&[
                    "ip",
                    "address",
                    "add",
                    &format!("{v6}/{}", subnet.net6()?.prefix_len()),
                    "dev",
                    &link,
                ])?;
                machine.run(&["ip", "link", "set", &link, "up"])?;
                of_machine.push(Interface { subnet: number, port, v4, v6 });
            }
        }
        Ok(interfaces)
    }

    /// The way from a machine to everywhere else.
    pub(crate) fn gateway(&self, name: &str) -> Result<Option<[IpAddr; 2]>, Error> {
        let Some(subnet) = self.subnets.iter().find(|subnet| subnet.members.contains(&name)) else { return Ok(None) };
        let router = |member: &&str| *member != name && self.routers.iter().any(|(router, _)| router == member);
        let Some(place) = subnet.members.iter().position(router) else { return Ok(None) };
        let (v4, v6) = subnet.addresses(place)?;
        Ok(Some([v4.into(), v6.into()]))
    }
}

impl Subnet {
    fn net4(&self) -> Result<Ipv4Net, Error> {
        self.v4.parse().map_err(|_| Error::Topology(format!("{} is no IPv4 subnet", self.v4)))
    }

    fn net6(&self) -> Result<Ipv6Net, Error> {
        self.v6.parse().map_err(|_| Error::Topology(format!("{} is no IPv6 subnet", self.v6)))
    }

    fn addresses(&self, place: usize) -> Result<(Ipv4Addr, Ipv6Addr), Error> {
        let (v4, v6) = (self.net4()?.hosts().nth(place), self.net6()?.hosts().nth(place + 1));
        v4.zip(v6).ok_or_else(|| Error::Topology(format!("{} is too small", self.v4)))
    }
}

/// A name for a link that no other has, however many networks this process makes.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
