use std::{collections::BTreeSet, fmt, net::IpAddr};

use clarion_envtest::wait;
use serde_json::Value;

use crate::{Error, Frr, Log, Mark, Space, frr};

/// A router with FRR: what the tests believe.
#[derive(Debug)]
pub struct Router {
    /// The machine.
    pub space: Space,
    /// Its daemons.
    pub frr: Frr,
    /// Its AS number.
    pub asn: u32,
}

/// One path of a router's BGP table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The session that it came by.
    pub peer: String,
    /// The global address that traffic is sent to.
    pub next_hop: String,
    /// The AS numbers on the way.
    pub as_path: String,
    /// Local preference, if the route has one.
    pub local_pref: Option<u64>,
    /// Communities and, with `large:` before them, large communities; well-known ones by the name that FRR has for them.
    pub communities: BTreeSet<String>,
    /// It is used, alone or with others.
    pub used: bool,
    /// It stays although the neighbour has gone, because a graceful restart is hoped for.
    pub stale: bool,
}

/// A session, as the router sees it.
#[derive(Debug, Clone)]
pub struct Session(pub(crate) Value);

impl Session {
    /// It is Established.
    #[must_use]
    pub fn established(&self) -> bool {
        self.0.get("bgpState").and_then(Value::as_str) == Some("Established")
    }

    /// The state of its BFD session; empty without BFD.
    #[must_use]
    pub fn bfd(&self) -> &str {
        self.0.pointer("/peerBfdInfo/status").and_then(Value::as_str).unwrap_or_default()
    }

    /// The hold time that was agreed on, in seconds.
    #[must_use]
    pub fn hold_time(&self) -> u64 {
        self.0.get("bgpTimerHoldTimeMsecs").and_then(Value::as_u64).unwrap_or_default() / 1000
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |name: &str| self.0.get(name).map(Value::to_string).unwrap_or_default();
        let (state, reset) = (field("bgpState"), field("lastResetDueTo"));
        write!(f, "{state}, last reset {reset}, hold time {}, BFD {}", self.hold_time(), self.bfd())
    }
}

impl Router {
    /// The paths to a prefix, sorted.
    ///
    /// # Errors
    /// If FRR does not answer.
    pub fn routes(&self, prefix: &str) -> Result<Vec<Route>, Error> {
        let answer = frr::json(&self.space, &format!("show bgp {} unicast {prefix} json", family(prefix)))?;
        let exact = answer.get("prefix").and_then(Value::as_str) == Some(prefix);
        let paths = answer.get("paths").and_then(Value::as_array).filter(|_| exact);
        let mut routes: Vec<_> = paths.into_iter().flatten().map(route).collect();
        routes.sort();
        Ok(routes)
    }

    /// All prefixes in the BGP tables that came from others.
    ///
    /// # Errors
    /// If FRR does not answer.
    pub fn prefixes(&self) -> Result<BTreeSet<String>, Error> {
        let mut prefixes = BTreeSet::new();
        for family in ["ipv4", "ipv6"] {
            let answer = frr::json(&self.space, &format!("show bgp {family} unicast json"))?;
            for (prefix, paths) in answer.get("routes").and_then(Value::as_object).into_iter().flatten() {
                let learned = |path: &Value| path.get("pathFrom").and_then(Value::as_str) != Some("");
                let own = |path: &Value| path.get("peerId").and_then(Value::as_str) == Some("(unspec)");
                if paths.as_array().is_some_and(|paths| paths.iter().any(|path| learned(path) && !own(path))) {
                    prefixes.insert(prefix.clone());
                }
            }
        }
        Ok(prefixes)
    }

    /// The addresses that the router's kernel spreads the traffic for an address over, sorted.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn kernel_next_hops(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let version = if prefix.contains(':') { "-6" } else { "-4" };
        let text = self.space.run(&["ip", version, "-json", "route", "show", prefix])?;
        let routes: Value = serde_json::from_str(&text)?;
        let mut hops = Vec::new();
        for route in routes.as_array().into_iter().flatten() {
            let several = route.get("nexthops").and_then(Value::as_array).into_iter().flatten();
            for hop in several.chain([route]) {
                let gateway = hop.get("gateway").or_else(|| hop.pointer("/via/host"));
                hops.extend(gateway.and_then(Value::as_str).map(str::to_owned));
            }
        }
        hops.sort();
        Ok(hops)
    }

    /// The session with a neighbour, by its address or, where that has none, its interface.
    ///
    /// # Errors
    /// If FRR does not answer.
    pub fn session(&self, neighbor: &str) -> Result<Session, Error> {
        let answer = frr::json(&self.space, &format!("show bgp neighbors {neighbor} json"))?;
        Ok(Session(answer.get(neighbor).cloned().unwrap_or_default()))
    }

    /// Waits for the paths to a prefix to be as `right` has them.
    ///
    /// # Errors
    /// With what there is, if that does not come to be.
    pub async fn sees(&self, what: &str, prefix: &str, right: impl Fn(&[Route]) -> bool) -> Result<Vec<Route>, Error> {
        let what = format!("{prefix} on {}: {what}", self.space.name());
        let waited = wait::until(&what, async || {
            let routes = self.routes(prefix).map_err(|error| error.to_string())?;
            if right(&routes) { Ok(routes) } else { Err(format!("{routes:#?}")) }
        });
        waited.await.map_err(Error::Never)
    }

    /// Waits until it uses just these next hops for a prefix; none means that it has no such prefix.
    ///
    /// # Errors
    /// With what there is, if that does not come to be.
    pub async fn uses(&self, prefix: &str, next_hops: &[IpAddr]) -> Result<Vec<Route>, Error> {
        let expected: BTreeSet<_> = next_hops.iter().map(ToString::to_string).collect();
        let what = format!("next hops {expected:?}");
        self.sees(&what, prefix, |routes| {
            let used: BTreeSet<_> = routes.iter().filter(|route| route.used).map(|r| r.next_hop.clone()).collect();
            used == expected
        })
        .await
    }

    /// Waits until it uses just these next hops for a prefix, and packets go there: what FRR has decided reaches the kernel a
    /// moment later.
    ///
    /// # Errors
    /// With what there is, if that does not come to be.
    pub async fn forwards_to(&self, prefix: &str, next_hops: &[IpAddr]) -> Result<Vec<Route>, Error> {
        let routes = self.uses(prefix, next_hops).await?;
        let mut expected: Vec<_> = next_hops.iter().map(ToString::to_string).collect();
        expected.sort();
        // To neighbours over IPv6, the kernel sends by their link-local addresses.
        let by_number = next_hops.iter().any(IpAddr::is_ipv6);
        let right = |hops: &[String]| if by_number { hops.len() == expected.len() } else { hops == expected };
        self.kernel(&format!("next hops {expected:?}"), prefix, right).await?;
        Ok(routes)
    }

    /// Waits until its kernel spreads the traffic for a prefix over so many next hops.
    ///
    /// # Errors
    /// With what there is, if that does not come to be.
    pub async fn forwards_by(&self, prefix: &str, next_hops: usize) -> Result<(), Error> {
        self.kernel(&format!("{next_hops} next hops"), prefix, |hops| hops.len() == next_hops).await
    }

    async fn kernel(&self, what: &str, prefix: &str, right: impl Fn(&[String]) -> bool) -> Result<(), Error> {
        let what = format!("{prefix} in the kernel of {}: {what}", self.space.name());
        let waited = wait::until(&what, async || {
            let hops = self.kernel_next_hops(prefix).map_err(|error| error.to_string())?;
            if right(&hops) { Ok(()) } else { Err(format!("{hops:?}")) }
        });
        waited.await.map_err(Error::Never)
    }

    /// Waits for a session to be as `right` has it.
    ///
    /// # Errors
    /// With what it is, if that does not come to be.
    pub async fn session_is(
        &self,
        what: &str,
        neighbor: &str,
        right: impl Fn(&Session) -> bool,
    ) -> Result<Session, Error> {
        let what = format!("session of {} with {neighbor}: {what}", self.space.name());
        let waited = wait::until(&what, async || {
            let session = self.session(neighbor).map_err(|error| error.to_string())?;
            if right(&session) { Ok(session) } else { Err(session.to_string()) }
        });
        waited.await.map_err(Error::Never)
    }

    /// Configures it, line by line as in a terminal.
    ///
    /// # Errors
    /// With what FRR complains of.
    pub fn configure(&self, lines: &[&str]) -> Result<(), Error> {
        let mut command = vec!["vtysh", "-c", "configure terminal"];
        command.extend(lines.iter().flat_map(|line| ["-c", line]));
        self.space.run(&command).map(drop)
    }

    /// The present end of its log.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.log().len())
    }

    /// What it has logged since.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Log {
        Log(self.log().get(mark.0..).unwrap_or_default().to_owned())
    }

    fn log(&self) -> String {
        self.frr.daemon("bgpd").map(clarion_envtest::Process::log).unwrap_or_default()
    }
}

fn family(prefix: &str) -> &'static str {
    if prefix.contains(':') { "ipv6" } else { "ipv4" }
}

fn route(path: &Value) -> Route {
    let text = |pointer: &str| path.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let yes = |pointer: &str| path.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    let communities = text("/community/string");
    let large = text("/largeCommunity/string");
    let large = large.split_whitespace().map(|community| format!("large:{community}"));
    // Of an IPv6 path, FRR shows the global and the link-local next hop.
    let hops = path.get("nexthops").and_then(Value::as_array).into_iter().flatten();
    let global = |hop: &&Value| hop.get("scope").is_none_or(|scope| scope == "global");
    let next_hop = hops.filter(global).find_map(|hop| hop.get("ip")?.as_str()).unwrap_or_default().to_owned();
    Route {
        peer: text("/peer/peerId"),
        next_hop,
        as_path: text("/aspath/string"),
        local_pref: path.get("locPrf").and_then(Value::as_u64),
        communities: communities.split_whitespace().map(str::to_owned).chain(large).collect(),
        used: yes("/multipath") || yes("/bestpath/overall"),
        stale: yes("/stale"),
    }
}
