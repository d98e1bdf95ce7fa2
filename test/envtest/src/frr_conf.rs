use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

/// FRR's configuration, as FRR-K8s lays it out (`internal/frr/templates` upstream), read for what it makes FRR do.
///
/// Lines of `raw` snippets are not told apart from those of FRR-K8s: only comments in them are harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrrConf {
    /// By VRF; the empty name is the default one.
    pub routers: BTreeMap<String, FrrRouter>,
    /// The lines of BFD profiles by their names.
    pub bfd_profiles: BTreeMap<String, BTreeSet<String>>,
}

/// `router bgp`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrrRouter {
    /// The AS number.
    pub asn: String,
    /// `bgp router-id`
    pub id: Option<String>,
    /// `network`
    pub networks: BTreeSet<IpNet>,
    /// `import vrf`
    pub imports: BTreeSet<String>,
    /// The lines of `address-family l2vpn evpn`, those of neighbors apart.
    pub evpn: BTreeSet<String>,
    /// By address or interface.
    pub neighbors: BTreeMap<String, FrrNeighbor>,
}

/// `neighbor`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrrNeighbor {
    /// The lines outside address families, without `neighbor` and its address or interface.
    pub settings: BTreeSet<String>,
    /// What `allowas-in` says in any address family.
    pub allow_as_in: Option<String>,
    /// The address families that are activated: `ipv4 unicast`, `ipv6 unicast`, `l2vpn evpn`.
    pub families: BTreeSet<String>,
    /// What of the networks of the router, and of those that it imports, goes out, with what on it.
    pub announced: BTreeMap<IpNet, Announced>,
    /// What the prefix lists for incoming routes permit.
    pub accepted: BTreeSet<String>,
}

/// What a route map sets on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `set local-preference`
    pub local_pref: Option<i64>,
    /// `set community`, and `set large-community` with `large:` before it.
    pub communities: BTreeSet<String>,
    /// `set ip next-hop`, `set ipv6 next-hop global`
    pub next_hop: Option<String>,
}

impl FrrConf {
    /// Reads a file that FRR-K8s wrote.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parser = Parser::default();
        text.lines().for_each(|line| parser.line(line.trim()));
        parser.finish()
    }
}

/// Where a line stands.
#[derive(Clone, Debug, Default)]
enum Section {
    #[default]
    Top,
    RouteMap(String),
    Router(String),
    Family(String, String),
    BfdProfile(String),
}

/// A rule of a route map.
#[derive(Clone, Debug, Default)]
struct Rule {
    permit: bool,
    /// `ip` or `ipv6`, and the prefix list.
    matches: Option<(String, String)>,
    sets: Vec<String>,
    on_match_next: bool,
}

#[derive(Default)]
struct Parser {
    conf: FrrConf,
    section: Section,
    /// What the prefix lists permit, by `ip` or `ipv6` and name.
    lists: BTreeMap<(String, String), BTreeSet<String>>,
    route_maps: BTreeMap<String, Vec<Rule>>,
    /// The route maps of neighbors by VRF, neighbor, family and direction.
    used: BTreeMap<(String, String, String, String), String>,
}

impl Parser {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), self.section.clone()) {
            ([family @ ("ip" | "ipv6"), "prefix-list", name, "seq", _, action, entry @ ..], _) => {
                let list = self.lists.entry(((*family).to_owned(), (*name).to_owned())).or_default();
                list.extend((*action == "permit").then(|| entry.join(" ")));
            }
            (["route-map", name, action, _], _) => {
                let rule = Rule { permit: *action == "permit", ..Rule::default() };
                self.route_maps.entry((*name).to_owned()).or_default().push(rule);
                self.section = Section::RouteMap((*name).to_owned());
            }
            (["router", "bgp", asn, rest @ ..], _) => {
                let vrf = if let ["vrf", vrf] = rest { (*vrf).to_owned() } else { String::new() };
                self.conf.routers.insert(vrf.clone(), FrrRouter { asn: (*asn).to_owned(), ..FrrRouter::default() });
                self.section = Section::Router(vrf);
            }
            (["bfd"] | ["vrf", _], _) => self.section = Section::Top,
            (["address-family", family @ ..], Section::Router(vrf)) => {
                self.section = Section::Family(vrf, family.join(" "));
            }
            (["exit-address-family"], Section::Family(vrf, _)) => self.section = Section::Router(vrf),
            (["profile", name], Section::Top | Section::BfdProfile(_)) => {
                self.conf.bfd_profiles.insert((*name).to_owned(), BTreeSet::new());
                self.section = Section::BfdProfile((*name).to_owned());
            }
            ([] | ["!", ..], _) | (_, Section::Top) => {}
            (words, Section::RouteMap(name)) => self.rule(&name, words),
            (words, Section::Router(vrf)) => self.router(&vrf, words),
            (words, Section::Family(vrf, family)) => self.family(&vrf, &family, words),
            (words, Section::BfdProfile(name)) => {
                self.conf.bfd_profiles.entry(name).or_default().insert(words.join(" "));
            }
        }
    }

    fn rule(&mut self, name: &str, words: &[&str]) {
        let Some(rule) = self.route_maps.get_mut(name).and_then(|rules| rules.last_mut()) else { return };
        match words {
            ["match", family, "address", "prefix-list", list] => {
                rule.matches = Some(((*family).to_owned(), (*list).to_owned()));
            }
            ["set", set @ ..] => rule.sets.push(set.join(" ")),
            ["on-match", "next"] => rule.on_match_next = true,
            _ => {}
        }
    }

    fn router(&mut self, vrf: &str, words: &[&str]) {
        let router = self.conf.routers.entry(vrf.to_owned()).or_default();
        match words {
            ["bgp", "router-id", id] => router.id = Some((*id).to_owned()),
            ["neighbor", key, setting @ ..] => {
                router.neighbors.entry((*key).to_owned()).or_default().settings.insert(setting.join(" "));
            }
            _ => {}
        }
    }

    fn family(&mut self, vrf: &str, family: &str, words: &[&str]) {
        let router = self.conf.routers.entry(vrf.to_owned()).or_default();
        match words {
            ["network", prefix] => router.networks.extend(prefix.parse::<IpNet>().map(|net| net.trunc())),
            ["import", "vrf", name @ ..] => {
                router.imports.insert(name.concat());
            }
            ["neighbor", key, setting @ ..] => {
                let neighbor = router.neighbors.entry((*key).to_owned()).or_default();
                match setting {
                    ["activate"] => {
                        neighbor.families.insert(family.to_owned());
                    }
                    ["route-map", name, direction] => {
                        let key = (vrf.to_owned(), (*key).to_owned(), family.to_owned(), (*direction).to_owned());
                        self.used.insert(key, (*name).to_owned());
                    }
                    ["allowas-in", text] => neighbor.allow_as_in = Some((*text).to_owned()),
                    _ => {}
                }
            }
            words if family == "l2vpn evpn" => {
                router.evpn.insert(words.join(" "));
            }
            _ => {}
        }
    }

    /// Sends all networks through the route maps.
    fn finish(self) -> FrrConf {
        let mut conf = self.conf.clone();
        for (vrf, router) in &mut conf.routers {
            for (key, neighbor) in &mut router.neighbors {
                for family in neighbor.families.clone() {
                    let used = |direction: &str| {
                        let key = (vrf.clone(), key.clone(), family.clone(), direction.to_owned());
                        self.route_maps.get(self.used.get(&key)?)
                    };
                    if let Some(rules) = used("out") {
                        let networks = self.networks(vrf).filter(|net| family.starts_with(version(net)));
                        neighbor.announced.extend(networks.filter_map(|net| Some((net, self.apply(rules, net)?))));
                    }
                    let lists = used("in").into_iter().flatten().filter(|rule| rule.permit);
                    let lists = lists.filter_map(|rule| self.lists.get(rule.matches.as_ref()?));
                    neighbor.accepted.extend(lists.flatten().cloned());
                }
            }
        }
        conf
    }

    /// The networks of a router, and of those that it imports.
    fn networks(&self, vrf: &str) -> impl Iterator<Item = IpNet> {
        let imports = self.conf.routers.get(vrf).into_iter().flat_map(|router| &router.imports);
        let imports = imports.map(|name| if name == "default" { "" } else { name });
        let routers = std::iter::once(vrf).chain(imports).filter_map(|vrf| self.conf.routers.get(vrf));
        routers.flat_map(|router| &router.networks).copied().collect::<BTreeSet<_>>().into_iter()
    }

    /// What a route map makes of a route; none if it is not let through.
    fn apply(&self, rules: &[Rule], net: IpNet) -> Option<Announced> {
        let mut announced = Announced::default();
        let is_of = |family: &str| (family == "ip") == (version(&net) == "ipv4");
        let permits = |entry: &String| entry.parse::<IpNet>().is_ok_and(|listed| listed.trunc() == net);
        for rule in rules {
            let list = rule.matches.as_ref().filter(|(family, _)| is_of(family)).and_then(|list| self.lists.get(list));
            if !list.is_some_and(|list| list.iter().any(permits)) {
                continue;
            }
            if !rule.permit {
                return None;
            }
            rule.sets.iter().for_each(|set| announced.set(set));
            if !rule.on_match_next {
                return Some(announced);
            }
        }
        None
    }
}

fn version(net: &IpNet) -> &'static str {
    if net.addr().is_ipv4() { "ipv4" } else { "ipv6" }
}

impl Announced {
    fn set(&mut self, set: &str) {
        match set.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["local-preference", number] => self.local_pref = number.parse().ok(),
            ["community", community, "additive"] => {
                self.communities.insert((*community).to_owned());
            }
            ["large-community", community, "additive"] => {
                self.communities.insert(format!("large:{community}"));
            }
            ["ip", "next-hop", address] | ["ipv6", "next-hop", "global", address] => {
                self.next_hop = Some((*address).to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "
log stdout informational
hostname node
ip nht resolve-via-default
ip prefix-list 192.0.2.1-red-100-ip-localpref-prefixes seq 1 permit 10.0.0.0/32
route-map 192.0.2.1-red-out permit 1
  match ip address prefix-list 192.0.2.1-red-100-ip-localpref-prefixes
  set local-preference 100
  on-match next
ip prefix-list 192.0.2.1-red-large:1:2:3-ip-community-prefixes seq 1 permit 10.0.0.0/32
route-map 192.0.2.1-red-out permit 2
  match ip address prefix-list 192.0.2.1-red-large:1:2:3-ip-community-prefixes
  set large-community 1:2:3 additive
  on-match next
ip prefix-list 192.0.2.1-red-allowed-ipv4 seq 1 permit 10.0.0.0/32
ip prefix-list 192.0.2.1-red-allowed-ipv4 seq 2 permit 10.0.0.9/31
ipv6 prefix-list 192.0.2.1-red-allowed-ipv6 seq 1 deny any
route-map 192.0.2.1-red-out permit 3
  match ip address prefix-list 192.0.2.1-red-allowed-ipv4
  set ip next-hop 192.0.2.7
route-map 192.0.2.1-red-out permit 4
  match ipv6 address prefix-list 192.0.2.1-red-allowed-ipv6
ip prefix-list 192.0.2.1-red-inpl-ipv4 seq 1 permit 10.0.0.0/8 le 24
ipv6 prefix-list 192.0.2.1-red-inpl-ipv4 seq 2 deny any
route-map 192.0.2.1-red-in permit 5
  match ip address prefix-list 192.0.2.1-red-inpl-ipv4
router bgp 65000 vrf red
  no bgp ebgp-requires-policy
  bgp router-id 10.1.1.1
  neighbor 192.0.2.1 remote-as 65001
  neighbor 192.0.2.1 port 180
  address-family ipv4 unicast
    neighbor 192.0.2.1 activate
    neighbor 192.0.2.1 route-map 192.0.2.1-red-in in
    neighbor 192.0.2.1 route-map 192.0.2.1-red-out out
  exit-address-family
  address-family ipv4 unicast
    network 10.0.0.0/32
    network 10.0.0.1/32
    network 10.0.0.9/31
  exit-address-family
bfd
  profile fast
    receive-interval 300
! the end
";

    #[test]
    fn a_session_with_everything() {
        let conf = FrrConf::parse(CONF);
        let router = &conf.routers["red"];
        assert_eq!((router.asn.as_str(), router.id.as_deref()), ("65000", Some("10.1.1.1")));
        let neighbor = &router.neighbors["192.0.2.1"];
        assert_eq!(neighbor.settings, ["port 180", "remote-as 65001"].map(str::to_owned).into());
        assert_eq!(neighbor.accepted, ["10.0.0.0/8 le 24".to_owned()].into());
        let next_hop = Some("192.0.2.7".to_owned());
        let with_all = Announced {
            local_pref: Some(100),
            communities: ["large:1:2:3".to_owned()].into(),
            next_hop: next_hop.clone(),
        };
        let plain = Announced { next_hop, ..Announced::default() };
        let announced = [("10.0.0.0/32", with_all), ("10.0.0.8/31", plain)];
        assert_eq!(neighbor.announced, announced.map(|(net, announced)| (net.parse().unwrap(), announced)).into());
        assert_eq!(conf.bfd_profiles["fast"], ["receive-interval 300".to_owned()].into());
    }
}
