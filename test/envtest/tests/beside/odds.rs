//! What a user can be at odds with us over.

use serde_json::{Value, json};

/// What a user can be at odds with us over.
pub struct Odds {
    pub what: &'static str,
    /// What the user's router has.
    pub router: Value,
    /// What the user's neighbor has.
    pub neighbor: Value,
    /// What `tor` has.
    pub ours: Value,
    /// What is told.
    pub words: &'static str,
    pub left_out: LeftOut,
}

#[derive(Clone, Copy, PartialEq)]
pub enum LeftOut {
    /// The session with `tor`.
    Session,
    /// All sessions of the VRF.
    Router,
    /// Something that the session can do without.
    Field,
    /// An attribute of a route, of which the advertisement tells.
    Attribute,
}

fn odds(what: &'static str, neighbor: Value, ours: Value, words: &'static str) -> Odds {
    Odds { what, router: json!({}), neighbor, ours, words, left_out: LeftOut::Session }
}

/// Every kind that FRR-K8s knows (`merge.go`).
pub fn all_odds() -> Vec<Odds> {
    let with_77 = json!({"toAdvertise": {
        "allowed": {"prefixes": ["198.51.100.0/32", "198.51.100.1/32"]},
        "withLocalPref": [{"prefixes": ["198.51.100.0/32", "198.51.100.1/32"], "localPref": 77}],
    }});
    vec![
        odds(
            "neighbor asn",
            json!({"asn": 65000}),
            json!({}),
            "asn is 65000 in FRRConfiguration frr-k8s-system/user, and 64513 here",
        ),
        odds(
            "dynamicASN",
            json!({"asn": 0, "dynamicASN": "external"}),
            json!({}),
            "in FRRConfiguration frr-k8s-system/user, and 64513 here",
        ),
        odds(
            "port",
            json!({"port": 1179}),
            json!({}),
            "port is 1179 in FRRConfiguration frr-k8s-system/user, and 179 here",
        ),
        odds(
            "our port",
            json!({}),
            json!({"peerPort": 1179}),
            "port is 179 in FRRConfiguration frr-k8s-system/user, and 1179 here",
        ),
        odds(
            "source",
            json!({"sourceaddress": "192.0.2.77"}),
            json!({}),
            "sourceaddress is 192.0.2.77 in FRRConfiguration frr-k8s-system/user, and none here",
        ),
        odds(
            "password",
            json!({"passwordSecret": {"name": "secret"}}),
            json!({}),
            "password is that of Secret secret in FRRConfiguration frr-k8s-system/user, and none here",
        ),
        odds(
            "password form",
            json!({"password": "hidden"}),
            json!({"passwordSecret": {"name": "secret"}}),
            "password is one in clear text in FRRConfiguration frr-k8s-system/user, and that of Secret secret here",
        ),
        odds(
            "ebgpMultiHop",
            json!({"ebgpMultiHop": true}),
            json!({}),
            "ebgpMultiHop is true in FRRConfiguration frr-k8s-system/user, and false here",
        ),
        odds(
            "dual stack",
            json!({"dualStackAddressFamily": false}),
            json!({}),
            "dualStackAddressFamily is IPv4 in FRRConfiguration frr-k8s-system/user, and dual stack here",
        ),
        odds(
            "holdTime",
            json!({"holdTime": "90s", "keepaliveTime": "60s"}),
            json!({}),
            "holdTime is 90s in FRRConfiguration frr-k8s-system/user, and 180s here",
        ),
        odds(
            "keepaliveTime",
            json!({"holdTime": "180s", "keepaliveTime": "30s"}),
            json!({}),
            "keepaliveTime is 30s in FRRConfiguration frr-k8s-system/user, and 60s here",
        ),
        odds(
            "connectTime",
            json!({"connectTime": "10s"}),
            json!({}),
            "connectTime is 10s in FRRConfiguration frr-k8s-system/user, and 60s here",
        ),
        odds(
            "localASN",
            json!({"localASN": 64999}),
            json!({}),
            "localASN is 64999 in FRRConfiguration frr-k8s-system/user, and none here",
        ),
        odds(
            "next hop",
            json!({"toAdvertise": {"nextHop": {"ipv4": "192.0.2.77"}}}),
            json!({"nextHop": {"ipv4": "192.0.2.88"}}),
            "toAdvertise.nextHop.ipv4 is 192.0.2.77 in FRRConfiguration frr-k8s-system/user, and 192.0.2.88 here",
        ),
        Odds {
            router: json!({"asn": 64999}),
            left_out: LeftOut::Router,
            ..odds(
                "router asn",
                json!({}),
                json!({}),
                "the router's asn is 64999 in FRRConfiguration frr-k8s-system/user, and 64512 here",
            )
        },
        Odds {
            router: json!({"id": "192.0.2.9"}),
            left_out: LeftOut::Field,
            ..odds(
                "router id",
                json!({}),
                json!({"routerID": "192.0.2.8"}),
                "routerID is left out: the router's id is 192.0.2.9 in FRRConfiguration frr-k8s-system/user, and 192.0.2.8 here",
            )
        },
        Odds {
            left_out: LeftOut::Field,
            ..odds(
                "bfdProfile",
                json!({"bfdProfile": "theirs"}),
                json!({"bfd": {"detectMultiplier": 4}}),
                "bfd is left out: bfdProfile is theirs in FRRConfiguration frr-k8s-system/user",
            )
        },
        Odds {
            router: json!({"prefixes": ["198.51.100.0/32", "198.51.100.1/32"]}),
            left_out: LeftOut::Attribute,
            ..odds(
                "local preference",
                with_77,
                json!({}),
                "localPref of 198.51.100.0/32 towards tor is 77 in FRRConfiguration frr-k8s-system/user, which counts, and 200 here",
            )
        },
    ]
}
