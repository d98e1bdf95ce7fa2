use rstest::rstest;

use clarion_api::frr::FrrConfigurationSpec;
use serde_json::{Value, json};

use super::*;

fn object_name(index: usize) -> ObjectName {
    ObjectName::new("frr", format!("o{index}"))
}

fn merged(specs: &[Value]) -> Result<NodeConfig, Box<Refusal>> {
    let specs: Vec<(ObjectName, FrrConfigurationSpec)> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| (object_name(index), serde_json::from_value(spec.clone()).unwrap()))
        .collect();
    let outcome = merge(specs.iter().map(|(name, spec)| Named { name, spec }));
    // Whether there is an outcome does not depend on the order of objects, which is not defined in a cluster.
    let reversed = merge(specs.iter().rev().map(|(name, spec)| Named { name, spec }));
    match (&outcome, &reversed) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(_), Err(_)) => {}
        _ => panic!("{outcome:?} and, the other way round, {reversed:?}"),
    }
    outcome
}

/// One router with some prefixes and one neighbor.
fn with_neighbor(neighbor: Value) -> Value {
    let mut full = json!({"asn": 65001, "address": "192.0.2.1"});
    put(&mut full, neighbor);
    with_router(json!({"neighbors": [full]}))
}

fn with_router(router: Value) -> Value {
    let mut full = json!({"asn": 65000, "prefixes": ["10.0.0.0/32", "10.0.0.1/32", "2001:db8::/128"]});
    put(&mut full, router);
    json!({"bgp": {"routers": [full], "bfdProfiles": [{"name": "fast"}, {"name": "slow"}]}})
}

/// Sets fields; those with null go.
fn put(object: &mut Value, fields: Value) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        if value.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), value.clone())
        };
    }
}

fn refused(outcome: Result<NodeConfig, Box<Refusal>>) -> String {
    outcome.unwrap_err().to_string()
}

#[rstest]
// One end of the session, and its AS.
#[case::interface(json!({"address": null, "interface": "eth1"}))]
#[case::dynamic_asn(json!({"asn": null, "dynamicASN": "external"}))]
#[case::empty_is_unset(json!({"interface": "", "dynamicASN": "", "bfdProfile": "", "password": ""}))]
#[case::local_asn(json!({"localASN": 65009}))]
#[case::local_asn_of_the_router(json!({"localASN": 65000}))]
#[case::local_asn_within_a_dynamic_as(json!({"asn": null, "dynamicASN": "internal", "localASN": 65009}))]
#[case::secret_without_name(json!({"password": "x", "passwordSecret": {"namespace": "y"}}))]
// Timers.
#[case::timers(json!({"holdTime": "9s", "keepaliveTime": "3s"}))]
#[case::no_hold_time(json!({"holdTime": "0s", "keepaliveTime": "0s"}))]
#[case::hold_time_rounded_to_none(json!({"holdTime": "999ms", "keepaliveTime": "1ms"}))]
#[case::equal_timers(json!({"holdTime": "3s", "keepaliveTime": "3s"}))]
#[case::connect_time(json!({"connectTime": "1m"}))]
// What is announced.
#[case::other_family_of_the_router(json!({"toAdvertise": {"allowed": {"mode": "all"}}}))]
#[case::mode_all_takes_no_list(json!({"toAdvertise": {"allowed": {"mode": "all", "prefixes": ["10.9.9.9/32"]}}}))]
#[case::dual_stack(json!({"dualStackAddressFamily": true, "toAdvertise": {"allowed": {"prefixes": ["2001:db8::/128"]}}}))]
#[case::attributes_of_all(json!({"toAdvertise": {"allowed": {"mode": "all"}, "withLocalPref": [
    {"localPref": 1, "prefixes": ["10.0.0.0/32"]}]}}))]
#[case::attributes_without_prefixes(json!({"toAdvertise": {"withLocalPref": [{"localPref": 1}, {"localPref": 1}]}}))]
#[case::a_prefix_twice(json!({"toAdvertise": {"allowed": {"prefixes": ["10.0.0.0/32", "10.0.0.0/32"]}}}))]
#[case::next_hop_of_the_family(json!({"toAdvertise": {"nextHop": {"ipv4": "192.0.2.9"}}}))]
#[case::next_hop_as_ipv6(json!({"toAdvertise": {"nextHop": {"ipv4": "::ffff:192.0.2.9"}}}))]
#[case::address_as_ipv6(json!({"address": "::ffff:192.0.2.9", "toAdvertise": {"allowed": {"prefixes": ["10.0.0.0/32"]}}}))]
// What is accepted.
#[case::lengths(json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 16, "le": 24}]}}}))]
#[case::ge_alone(json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 33}]}}}))]
#[case::all_takes_no_list(json!({"toReceive": {"allowed": {"mode": "all", "prefixes": [{"prefix": "x"}]}}}))]
fn a_neighbor_that_is_taken(#[case] neighbor: Value) {
    merged(&[with_neighbor(neighbor)]).unwrap();
}

#[rstest]
#[case::no_end(json!({"address": null}), "address of neighbor : neither it nor interface is set")]
#[case::two_ends(json!({"interface": "eth1"}), "address of neighbor 192.0.2.1: it and interface are both set")]
#[case::no_address(json!({"address": "tor-1"}), "address of neighbor tor-1: \"tor-1\" is not an address that fits")]
#[case::no_asn(json!({"asn": null}), "asn of neighbor 192.0.2.1: neither it nor dynamicASN is set")]
#[case::asn_0(json!({"asn": 0}), "asn of neighbor 192.0.2.1: neither it nor dynamicASN is set")]
#[case::two_asns(json!({"dynamicASN": "external"}), "asn of neighbor 192.0.2.1: it and dynamicASN are both set")]
#[case::dynamic_asn(json!({"asn": null, "dynamicASN": "any"}), "dynamicASN of neighbor 192.0.2.1: \"any\" is none of its values")]
#[case::asn_too_large(json!({"asn": 4_294_967_296_i64}), "\"4294967296\" can't be decoded")]
#[case::local_asn(json!({"asn": 65000, "localASN": 65009}), "localASN of neighbor 192.0.2.1: it is set, and both ends are of the same AS")]
#[case::passwords(json!({"password": "x", "passwordSecret": {"name": "y"}}), "password of neighbor 192.0.2.1: it and passwordSecret are both set")]
#[case::bfd(json!({"bfdProfile": "other"}), "bfdProfile of neighbor 192.0.2.1: this object has no \"other\"")]
// Timers.
#[case::hold_alone(json!({"holdTime": "9s"}), "holdTime of neighbor 192.0.2.1: it is set without keepaliveTime")]
#[case::keepalive_alone(json!({"keepaliveTime": "9s"}), "keepaliveTime of neighbor 192.0.2.1: it is set without holdTime")]
#[case::hold_short(json!({"holdTime": "2999ms", "keepaliveTime": "1s"}), "holdTime of neighbor 192.0.2.1: 2999ms is neither 0 nor 3s or more")]
#[case::hold_negative(json!({"holdTime": "-9s", "keepaliveTime": "-9s"}), "holdTime of neighbor 192.0.2.1: -9s is neither 0 nor 3s or more")]
#[case::keepalive_long(json!({"holdTime": "9s", "keepaliveTime": "9001ms"}), "keepaliveTime of neighbor 192.0.2.1: 9001ms is more than the holdTime of 9s")]
#[case::keepalive_over_none(json!({"holdTime": "0s", "keepaliveTime": "3s"}), "3s is more than the holdTime of 0s")]
#[case::hold_text(json!({"holdTime": "90", "keepaliveTime": "3s"}), "\"90\" can't be decoded, which stops the daemons of all nodes")]
#[case::hold_text_alone(json!({"holdTime": "1d"}), "\"1d\" can't be decoded")]
#[case::connect_text(json!({"connectTime": ""}), "connectTime of neighbor 192.0.2.1: \"\" can't be decoded")]
// What is announced.
#[case::not_in_router(json!({"toAdvertise": {"allowed": {"prefixes": ["10.0.0.9/32"]}}}),
    "toAdvertise.allowed.prefixes of neighbor 192.0.2.1: 10.0.0.9/32 is not among the prefixes of the router in this object")]
#[case::other_spelling(json!({"toAdvertise": {"allowed": {"prefixes": ["10.0.0.0/032"]}}}), "10.0.0.0/032 is not among the prefixes")]
#[case::not_a_prefix(json!({"toAdvertise": {"allowed": {"prefixes": ["10.0.0.0"]}}}), "\"10.0.0.0\" is not a prefix")]
#[case::family(json!({"toAdvertise": {"allowed": {"prefixes": ["2001:db8::/128"]}}}), "2001:db8::/128 is of a family that the session does not carry")]
#[case::local_pref_of_none(json!({"toAdvertise": {"withLocalPref": [{"localPref": 1, "prefixes": ["10.0.0.0/32"]}]}}),
    "toAdvertise.withLocalPref of neighbor 192.0.2.1: 10.0.0.0/32 is not among the prefixes that this object announces to the neighbor")]
#[case::local_pref_family(advertise(json!({"withLocalPref": [{"localPref": 1, "prefixes": ["2001:db8::/128"]}]})), "2001:db8::/128 is of a family")]
#[case::local_pref_twice(advertise(json!({"withLocalPref": [
    {"localPref": 1, "prefixes": ["10.0.0.0/32"]}, {"localPref": 1, "prefixes": ["10.0.0.1/32"]}]})), "withLocalPref of neighbor 192.0.2.1: 1 is there twice")]
#[case::local_pref_prefix_twice(advertise(json!({"withLocalPref": [{"localPref": 1, "prefixes": ["10.0.0.0/32", "10.0.0.0/32"]}]})), "10.0.0.0/32 is there twice")]
#[case::two_local_prefs(advertise(json!({"withLocalPref": [
    {"localPref": 1, "prefixes": ["10.0.0.0/32"]}, {"localPref": 2, "prefixes": ["10.0.0.0/32"]}]})),
    "FRRConfiguration frr/o0 is at odds with itself over toAdvertise.withLocalPref of neighbor 192.0.2.1: for 10.0.0.0/32, 1 and 2")]
#[case::local_pref_negative(advertise(json!({"withLocalPref": [{"localPref": -1}]})), "\"-1\" can't be decoded")]
#[case::community_of_none(json!({"toAdvertise": {"withCommunity": [{"community": "1:1", "prefixes": ["10.0.0.0/32"]}]}}), "toAdvertise.withCommunity of neighbor 192.0.2.1: 10.0.0.0/32 is not among")]
#[case::community_twice(advertise(json!({"withCommunity": [
    {"community": "1:1", "prefixes": ["10.0.0.0/32"]}, {"community": "01:1", "prefixes": ["10.0.0.1/32"]}]})), "1:1 is there twice")]
#[case::community_prefix_twice(advertise(json!({"withCommunity": [{"community": "1:1", "prefixes": ["10.0.0.0/32", "10.0.0.0/32"]}]})), "10.0.0.0/32 is there twice")]
#[case::prepend_of_none(json!({"toAdvertise": {"withAsPathPrepend": [{"asPathPrepend": 1, "prefixes": ["10.0.0.0/32"]}]}}), "10.0.0.0/32 is not among")]
#[case::two_prepends(advertise(json!({"withAsPathPrepend": [
    {"asPathPrepend": 1, "prefixes": ["10.0.0.0/32"]}, {"asPathPrepend": 2, "prefixes": ["10.0.0.0/32"]}]})), "withAsPathPrepend of neighbor 192.0.2.1: for 10.0.0.0/32, 1 and 2")]
#[case::next_hop(json!({"toAdvertise": {"nextHop": {"ipv4": "2001:db8::1"}}}), "toAdvertise.nextHop.ipv4 of neighbor 192.0.2.1: \"2001:db8::1\" is not an address that fits")]
#[case::next_hop_v6(json!({"toAdvertise": {"nextHop": {"ipv6": "192.0.2.9"}}}), "\"192.0.2.9\" is not an address that fits")]
#[case::next_hop_family(json!({"toAdvertise": {"nextHop": {"ipv6": "2001:db8::1"}}}), "2001:db8::1 is of a family that the session does not carry")]
// What is accepted.
#[case::accepted(json!({"toReceive": {"allowed": {"prefixes": [{"le": 24}]}}}), "toReceive.allowed.prefixes of neighbor 192.0.2.1: \"\" is not a prefix")]
#[case::ge_over_le(json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 25, "le": 24}]}}}), "the lengths of 10.0.0.0/8 are not in order")]
#[case::own_over_le(json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "le": 7}]}}}), "the lengths of 10.0.0.0/8")]
#[case::own_over_ge(json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 7}]}}}), "the lengths of 10.0.0.0/8")]
fn a_neighbor_that_is_refused(#[case] neighbor: Value, #[case] expected: &str) {
    let sentence = refused(merged(&[with_neighbor(neighbor)]));
    assert!(sentence.contains(expected), "{sentence}");
    assert!(sentence.starts_with("FRRConfiguration frr/o0"), "{sentence}");
}

fn advertise(more: Value) -> Value {
    let mut full = json!({"allowed": {"mode": "all"}});
    put(&mut full, more);
    json!({"toAdvertise": full})
}

#[rstest]
#[case("1:2", Some("1:2"))]
#[case("001:65535", Some("1:65535"))]
#[case("large:4294967295:0:1", Some("large:4294967295:0:1"))]
#[case("1:65536", None)]
#[case("+1:2", None)]
#[case("1:", None)]
#[case("1:2:3", None)]
#[case("LARGE:1:2:3", None)]
#[case("large:1:2:4294967296", None)]
#[case("no-export", None)]
fn communities(#[case] text: &str, #[case] expected: Option<&str>) {
    let community = json!({"withCommunity": [{"community": text, "prefixes": ["10.0.0.0/32"]}]});
    let node = merged(&[with_neighbor(advertise(community))]);
    assert_eq!(node.is_ok(), expected.is_some());
    if let (Ok(node), Some(expected)) = (node, expected) {
        let attributes = &node.routers[""].neighbors["192.0.2.1"].routes[&"10.0.0.0/32".parse().unwrap()];
        assert_eq!(attributes.communities, [expected.to_owned()].into());
    }
}

#[rstest]
#[case::vrf(json!({"vrf": "red"}))]
#[case::import_of_nothing(json!({"imports": []}))]
#[case::import_of_itself(json!({"imports": [{"vrf": "default"}]}))]
#[case::import_of_the_empty_name(json!({"imports": [{}]}))]
fn a_router_that_is_taken(#[case] router: Value) {
    merged(&[with_router(router)]).unwrap();
}

#[rstest]
#[case::prefix(json!({"prefixes": ["10.0.0.0/33"]}), "prefixes of the router: \"10.0.0.0/33\" is not a prefix")]
#[case::import(json!({"imports": [{"vrf": "red"}]}), "imports of the router: this object has no \"red\"")]
#[case::default_import(json!({"vrf": "red", "imports": [{"vrf": "default"}]}), "imports of the router in VRF red: this object has no \"default\"")]
#[case::asn(json!({"asn": -1}), "asn of the router: \"-1\" can't be decoded")]
fn a_router_that_is_refused(#[case] router: Value, #[case] expected: &str) {
    let sentence = refused(merged(&[with_router(router)]));
    assert!(sentence.contains(expected), "{sentence}");
}

#[test]
fn imported_prefixes_can_be_announced() {
    let red = json!({"asn": 65000, "vrf": "red", "prefixes": ["10.7.0.0/32"]});
    let neighbor = json!({"asn": 1, "address": "192.0.2.1", "toAdvertise": {"allowed": {"prefixes": ["10.7.0.0/32"]}}});
    let importing = |imports: Value| json!({"bgp": {"routers": [red, {"asn": 65000, "neighbors": [neighbor], "imports": imports}]}});
    let node = merged(&[importing(json!([{"vrf": "red"}]))]).unwrap();
    let neighbor = &node.routers[""].neighbors["192.0.2.1"];
    assert_eq!(neighbor.routes.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.7.0.0/32"]);
    assert!(node.routers[""].prefixes.is_empty());
    assert!(refused(merged(&[importing(json!([]))])).contains("10.7.0.0/32 is not among the prefixes"));
}

#[test]
fn of_two_routers_of_a_vrf_the_last_ones_prefixes_are_imported() {
    let red = |prefix: &str| json!({"asn": 65000, "vrf": "red", "prefixes": [prefix]});
    let neighbor = json!({"asn": 1, "address": "192.0.2.1", "toAdvertise": {"allowed": {"prefixes": ["10.7.0.0/32"]}}});
    let main = json!({"asn": 65000, "neighbors": [neighbor], "imports": [{"vrf": "red"}]});
    let spec = |routers: Value| json!({"bgp": {"routers": routers}});
    merged(&[spec(json!([red("10.8.0.0/32"), red("10.7.0.0/32"), main]))]).unwrap();
    refused(merged(&[spec(json!([red("10.7.0.0/32"), red("10.8.0.0/32"), main]))]));
}

#[test]
fn all_means_all_of_that_object() {
    let all = with_neighbor(advertise(json!({})));
    let other = json!({"bgp": {"routers": [{"asn": 65000, "prefixes": ["10.9.0.0/32"]}]}});
    let node = merged(&[all, other]).unwrap();
    let router = &node.routers[""];
    assert_eq!(router.prefixes.len(), 4);
    let announced: Vec<_> = router.neighbors["192.0.2.1"].announced().map(|(prefix, _)| prefix.to_string()).collect();
    assert_eq!(announced, ["10.0.0.0/32", "10.0.0.1/32"]);
}

/// Fields of a neighbor in two objects, and what becomes of them.
#[rstest]
#[case::asn(json!({"asn": 65001}), json!({"asn": 65002}), "asn", "65001 and 65002")]
#[case::kinds_of_asn(json!({}), json!({"asn": null, "dynamicASN": "external"}), "asn", "65001 and external")]
#[case::port(json!({"port": 180}), json!({}), "port", "180 and 179")]
#[case::source(json!({"sourceaddress": "eth0"}), json!({}), "sourceaddress", "eth0 and none")]
#[case::password(json!({"password": "x"}), json!({"password": "y"}), "password", "one in clear text and one in clear text")]
#[case::kinds_of_password(json!({"password": "x"}), json!({"passwordSecret": {"name": "s"}}), "password", "one in clear text and that of Secret s")]
#[case::secret(json!({}), json!({"passwordSecret": {"name": "s"}}), "password", "none and that of Secret s")]
#[case::multi_hop(json!({"ebgpMultiHop": true}), json!({}), "ebgpMultiHop", "true and false")]
#[case::families(json!({"dualStackAddressFamily": true}), json!({}), "dualStackAddressFamily", "dual stack and IPv4")]
#[case::hold_time(json!({"holdTime": "90s", "keepaliveTime": "60s"}), json!({}), "holdTime", "90s and 180s")]
#[case::keepalive_time(json!({"holdTime": "180s", "keepaliveTime": "30s"}), json!({}), "keepaliveTime", "30s and 60s")]
#[case::connect_time(json!({"connectTime": "61s"}), json!({}), "connectTime", "61s and 60s")]
#[case::local_asn(json!({"localASN": 65009}), json!({}), "localASN", "65009 and none")]
#[case::bfd(json!({"bfdProfile": "fast"}), json!({"bfdProfile": "slow"}), "bfdProfile", "fast and slow")]
#[case::next_hop(next_hop("192.0.2.8"), next_hop("192.0.2.9"), "toAdvertise.nextHop.ipv4", "192.0.2.8 and 192.0.2.9")]
#[case::allow_as_in(json!({"allowAsIn": "none"}), json!({"allowAsIn": "1"}), "allowAsIn", "none and 1")]
#[case::local_pref(local_pref(1), local_pref(2), "toAdvertise.withLocalPref", "for 10.0.0.0/32, 1 and 2")]
#[case::prepend(prepend(1), prepend(2), "toAdvertise.withAsPathPrepend", "for 10.0.0.0/32, 1 and 2")]
fn neighbors_at_odds(#[case] one: Value, #[case] other: Value, #[case] field: &str, #[case] values: &str) {
    // A third object, which is at odds with neither, changes nothing.
    let third = json!({"bgp": {"routers": [{"asn": 65000}]}});
    let refusal = merged(&[with_neighbor(one), third, with_neighbor(other)]).unwrap_err();
    let expected =
        format!("FRRConfigurations frr/o0 and frr/o2 are at odds over {field} of neighbor 192.0.2.1: {values}");
    assert_eq!(refusal.to_string(), expected);
    assert_eq!(refusal.objects().cloned().collect::<Vec<_>>(), [object_name(0), object_name(2)]);
    assert_eq!((refusal.vrf.as_deref(), refusal.neighbor.as_deref()), (Some(""), Some("192.0.2.1")));
    assert_eq!(refusal.field, field);
}

fn next_hop(address: &str) -> Value {
    advertise(json!({"nextHop": {"ipv4": address}}))
}

fn local_pref(number: u32) -> Value {
    advertise(json!({"withLocalPref": [{"localPref": number, "prefixes": ["10.0.0.0/32"]}]}))
}

fn prepend(number: u32) -> Value {
    advertise(json!({"withAsPathPrepend": [{"asPathPrepend": number, "prefixes": ["10.0.0.0/32"]}]}))
}

#[rstest]
#[case::port(json!({"port": 179}), json!({}))]
#[case::timers(json!({"holdTime": "3m", "keepaliveTime": "1m0s"}), json!({}))]
#[case::rounded_timers(json!({"holdTime": "180.9s", "keepaliveTime": "60.5s"}), json!({}))]
#[case::connect_time(json!({"connectTime": "60s"}), json!({}))]
#[case::false_is_unset(json!({"ebgpMultiHop": false, "dualStackAddressFamily": false}), json!({}))]
#[case::bfd(json!({"bfdProfile": "fast"}), json!({}))]
#[case::graceful_restart(json!({"enableGracefulRestart": true}), json!({}))]
#[case::next_hop(next_hop("192.0.2.8"), json!({}))]
#[case::allow_as_in(json!({"allowAsIn": "none"}), json!({"allowAsIn": ""}))]
#[case::local_pref(local_pref(1), advertise(json!({})))]
#[case::secret_of_another_namespace(
    json!({"passwordSecret": {"name": "s", "namespace": "a"}}), json!({"passwordSecret": {"name": "s"}}))]
#[case::the_same(json!({"password": "x"}), json!({"password": "x"}))]
fn neighbors_that_agree(#[case] one: Value, #[case] other: Value) {
    merged(&[with_neighbor(one.clone()), with_neighbor(other.clone())]).unwrap();
    let neighbors = [one, other].map(|fields| {
        let mut neighbor = json!({"asn": 65001, "address": "192.0.2.1"});
        put(&mut neighbor, fields);
        neighbor
    });
    let both = with_router(json!({"neighbors": neighbors}));
    merged(&[both]).unwrap();
}

#[test]
fn a_router_with_a_neighbor_twice_is_merged_with_itself() {
    let neighbors = json!([{"asn": 1, "address": "192.0.2.1"}, {"asn": 2, "address": "192.0.2.1"}]);
    let sentence = refused(merged(&[with_router(json!({"neighbors": neighbors}))]));
    assert_eq!(sentence, "FRRConfiguration frr/o0 is at odds with itself over asn of neighbor 192.0.2.1: 1 and 2");
}

#[rstest]
#[case::asn(json!({}), json!({"asn": 65009}), Some("asn of the router: 65000 and 65009"))]
#[case::id(json!({"id": "10.0.0.1"}), json!({"id": "10.0.0.2"}), Some("id of the router: 10.0.0.1 and 10.0.0.2"))]
#[case::one_id(json!({"id": "10.0.0.1"}), json!({}), None)]
#[case::vrfs(json!({}), json!({"vrf": "red", "asn": 65009, "id": "10.0.0.2"}), None)]
fn routers(#[case] one: Value, #[case] other: Value, #[case] expected: Option<&str>) {
    let outcome = merged(&[with_router(one), with_router(other)]);
    match expected {
        None => assert!(outcome.is_ok(), "{outcome:?}"),
        Some(expected) => {
            let sentence = refused(outcome);
            assert_eq!(sentence, format!("FRRConfigurations frr/o0 and frr/o1 are at odds over {expected}"));
        }
    }
}

#[test]
fn neighbors_are_told_apart_by_their_spelling_and_their_vrf() {
    let v6 = |address: &str, asn: u32| with_neighbor(json!({"address": address, "asn": asn}));
    let node = merged(&[v6("2001:db8::1", 1), v6("2001:DB8::1", 2), v6("2001:db8:0::1", 3)]).unwrap();
    assert_eq!(node.routers[""].neighbors.len(), 3);
}

#[rstest]
#[case::the_same(json!({"receiveInterval": 300}), json!({"receiveInterval": 300}), true)]
#[case::no_mode(json!({"echoMode": false, "passiveMode": false}), json!({}), true)]
#[case::default(json!({"receiveInterval": 300}), json!({}), false)]
#[case::mode(json!({"echoMode": true}), json!({}), false)]
#[case::ttl(json!({"minimumTtl": 10}), json!({"minimumTtl": 11}), false)]
fn bfd_profiles_of_one_name(#[case] one: Value, #[case] other: Value, #[case] agree: bool) {
    let spec = |fields: Value| {
        let mut profile = json!({"name": "p"});
        put(&mut profile, fields);
        json!({"bgp": {"bfdProfiles": [profile]}})
    };
    let outcome = merged(&[spec(one.clone()), spec(other)]);
    assert_eq!(outcome.is_ok(), agree);
    if let Err(refusal) = outcome {
        let sentence = refusal.to_string();
        assert!(sentence.contains("frr/o0 and frr/o1 are at odds over bfdProfiles: for p, one with"), "{sentence}");
    }
    let twice = json!({"bgp": {"bfdProfiles": [{"name": "p"}, {"name": "p"}]}});
    assert_eq!(refused(merged(&[twice])), "FRRConfiguration frr/o0: bfdProfiles: p is there twice");
}

#[test]
fn a_bfd_profile_is_of_the_same_object() {
    let profile = json!({"bgp": {"bfdProfiles": [{"name": "elsewhere"}]}});
    let sentence = refused(merged(&[profile, with_neighbor(json!({"bfdProfile": "elsewhere"}))]));
    assert!(sentence.contains("this object has no \"elsewhere\""), "{sentence}");
}

#[rstest]
#[case("", "3", Some("3"))]
#[case("origin", "1", Some("1"))]
#[case("9", "10", Some("10"))]
#[case("10", "9", Some("10"))]
#[case("none", "none", Some("none"))]
#[case("none", "", Some("none"))]
#[case("none", "origin", None)]
fn allow_as_in(#[case] one: &str, #[case] other: &str, #[case] expected: Option<&str>) {
    let node = merged(&[one, other].map(|text| with_neighbor(json!({"allowAsIn": text}))));
    let found = node.ok().and_then(|node| node.routers[""].neighbors["192.0.2.1"].allow_as_in.clone());
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn what_neighbors_say_is_united() {
    let one = with_neighbor(json!({
        "bfdProfile": "fast", "enableGracefulRestart": true,
        "toAdvertise": {
            "allowed": {"prefixes": ["10.0.0.0/32"]},
            "withCommunity": [{"community": "1:1", "prefixes": ["10.0.0.0/32"]}],
        },
        "toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8"}]}},
    }));
    let other = with_neighbor(json!({
        "toAdvertise": {
            "allowed": {"mode": "all"}, "nextHop": {"ipv4": "192.0.2.9"},
            "withCommunity": [{"community": "1:2", "prefixes": ["10.0.0.0/32"]}],
            "withLocalPref": [{"localPref": 7, "prefixes": ["10.0.0.0/32"]}],
        },
        "toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "le": 24}]}},
    }));
    let node = merged(&[one.clone(), other.clone()]).unwrap();
    let neighbor = &node.routers[""].neighbors["192.0.2.1"];
    assert_eq!(neighbor.bfd_profile.as_deref(), Some("fast"));
    assert_eq!(neighbor.graceful_restart, None, "it depends on the order of objects");
    assert_eq!(neighbor.next_hop.ipv4.as_deref(), Some("192.0.2.9"));
    let attributes = Attributes {
        local_pref: Some(7),
        communities: ["1:1", "1:2"].map(str::to_owned).into(),
        as_path_prepend: None,
    };
    let none = Attributes::default();
    let announced: Vec<_> = neighbor.announced().map(|(prefix, a)| (prefix.to_string(), a.clone())).collect();
    assert_eq!(announced, [("10.0.0.0/32".to_owned(), attributes), ("10.0.0.1/32".to_owned(), none)]);
    assert!(matches!(&neighbor.received, Received::Filtered(filters) if filters.len() == 2));
    let all = with_neighbor(json!({"toReceive": {"allowed": {"mode": "all"}}}));
    let node = merged(&[one, all, other]).unwrap();
    assert_eq!(node.routers[""].neighbors["192.0.2.1"].received, Received::All);
}

#[test]
fn a_session_of_evpn_alone_announces_nothing() {
    let families = |families: Value| {
        let node = merged(&[with_neighbor(json!({
            "addressFamilies": families, "toAdvertise": {"allowed": {"mode": "all"}},
        }))]);
        node.unwrap().routers[""].neighbors["192.0.2.1"].announced().count()
    };
    assert_eq!(families(json!(["evpn"])), 0);
    assert_eq!(families(json!(["evpn", "unicast"])), 2);
    assert_eq!(families(json!([])), 2);
    assert_eq!(families(json!(null)), 2);
}

#[test]
fn of_two_spellings_of_a_prefix_the_greater_text_of_local_preferences_holds() {
    let router = with_router(json!({"prefixes": ["10.0.0.1/8", "10.0.0.0/8"], "neighbors": [{
        "asn": 65001, "address": "192.0.2.1", "toAdvertise": {"allowed": {"mode": "all"}, "withLocalPref": [
            {"localPref": 90, "prefixes": ["10.0.0.0/8"]}, {"localPref": 100, "prefixes": ["10.0.0.1/8"]}]},
    }]}));
    let node = merged(&[router]).unwrap();
    let routes = &node.routers[""].neighbors["192.0.2.1"].routes;
    assert_eq!(routes.values().map(|route| route.local_pref).collect::<Vec<_>>(), [Some(90)]);
}

#[test]
fn raw_texts_are_sorted_by_priority_then_by_name() {
    let raw = |priority: i64, text: &str| json!({"raw": {"priority": priority, "rawConfig": text}});
    let node = merged(&[raw(2, "a"), raw(1, "b"), raw(1, "c"), json!({"raw": {"rawConfig": ""}})]).unwrap();
    assert_eq!(node.raw, ["b", "c", "a"]);
}

fn evpn(vrf: &str, evpn: Value, families: Option<&str>) -> Value {
    let neighbor = families.map(|family| json!({"asn": 1, "address": "192.0.2.1", "addressFamilies": [family]}));
    with_router(json!({"vrf": vrf, "evpn": evpn, "neighbors": neighbor.into_iter().collect::<Vec<_>>()}))
}

fn l2(fields: Value) -> Value {
    let mut vni = json!({"vni": 10});
    put(&mut vni, fields);
    evpn("", json!({"l2vnis": [vni]}), Some("evpn"))
}

fn l3(vni: u32, fields: Value) -> Value {
    let mut l3 = json!({"vni": vni, "advertisePrefixes": ["unicast"]});
    put(&mut l3, fields);
    evpn("red", json!({"l3vni": l3}), None)
}

#[rstest]
#[case::all(&[evpn("", json!({"advertiseVNIs": "All"}), Some("evpn"))], None)]
#[case::all_without_neighbor(&[evpn("", json!({"advertiseVNIs": "All"}), Some("unicast"))], Some("evpn of the router: no neighbor of the router carries EVPN"))]
#[case::svi_without_neighbor(&[evpn("", json!({"advertiseSVI": true}), None)], Some("no neighbor"))]
#[case::l2_without_neighbor(&[evpn("", json!({"l2vnis": [{"vni": 1}]}), None)], Some("no neighbor"))]
#[case::disabled(&[evpn("", json!({"advertiseVNIs": "Disabled"}), None)], None)]
#[case::neighbor_of_another(&[evpn("", json!({"advertiseVNIs": "All"}), None), with_neighbor(json!({"addressFamilies": ["evpn"]}))], None)]
#[case::unset_is_disabled(&[evpn("", json!({"advertiseVNIs": "Disabled"}), None), evpn("", json!({}), None)], None)]
#[case::vnis(&[evpn("", json!({"advertiseVNIs": "All"}), Some("evpn")), evpn("", json!({}), None)], Some("evpn.advertiseVNIs of the router: All and Disabled"))]
#[case::svi(&[evpn("", json!({"advertiseSVI": true}), Some("evpn")), evpn("", json!({}), None)], Some("evpn.advertiseSVI of the router: true and false"))]
#[case::rd(&[l2(json!({"rd": "1:1"})), l2(json!({}))], None)]
#[case::rds(&[l2(json!({"rd": "1:1"})), l2(json!({"rd": "1:2"}))], Some("evpn.l2vnis of the router: for VNI 10, 1:1 and 1:2"))]
#[case::targets(&[l2(json!({"importRTs": ["1:1"]})), l2(json!({"importRTs": ["1:2"]}))], None)]
#[case::implicit_targets(&[l2(json!({"importRTs": ["1:1"]})), l2(json!({}))], Some("for VNI 10, explicit importRTs and no importRTs"))]
#[case::implicit_exports(&[l2(json!({"exportRTs": ["1:1"]})), l2(json!({}))], Some("for VNI 10, explicit exportRTs and no exportRTs"))]
#[case::twice_in_one(&[evpn("", json!({"l2vnis": [{"vni": 1, "rd": "1:1"}, {"vni": 1, "rd": "1:2"}]}), Some("evpn"))], Some("for VNI 1, 1:1 and 1:2"))]
#[case::twice_alike(&[evpn("", json!({"l2vnis": [{"vni": 1, "rd": "1:1"}, {"vni": 1}]}), Some("evpn"))], None)]
#[case::l3(&[l3(20, json!({})), l3(20, json!({"rd": "1:1"}))], None)]
#[case::l3s(&[l3(20, json!({})), l3(21, json!({}))], Some("evpn.l3vni of the router in VRF red: 20 and 21"))]
#[case::l3_with_neighbor(&[l3(20, json!({})), with_router(json!({"vrf": "red", "neighbors": [{"asn": 1, "address": "192.0.2.1"}]}))], Some("evpn.l3vni of the router in VRF red: the router has neighbors"))]
#[case::two_places(&[l2(json!({})), l3(10, json!({}))], Some("evpn.l3vni of the router in VRF red: VNI 10 is in VRF \"\" too"))]
fn evpn_configurations(#[case] specs: &[Value], #[case] expected: Option<&str>) {
    let outcome = merged(specs);
    match expected {
        None => assert!(outcome.is_ok(), "{outcome:?}"),
        Some(expected) => {
            let sentence = refused(outcome);
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}

#[test]
fn nothing_makes_nothing() {
    assert_eq!(merged(&[]), Ok(NodeConfig::default()));
    assert_eq!(merged(&[json!({})]), Ok(NodeConfig::default()));
}
