//! Which nodes a router sends traffic to.

use std::{collections::BTreeSet, net::IpAddr};

use clarion_e2e::{Lab, Topology};

use crate::themes::{Theme, cases};

pub fn theme() -> Theme {
    Theme {
        name: "policies",
        topology: Topology::new()
            .nodes(&["a", "b", "c"])
            .router("tor", 64513)
            .client("user")
            .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "a", "b", "c"])
            .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor", "user"]),
        cases: cases![core with_policy_cluster_every_node_is_a_next_hop],
    }
}

fn v4(lab: &Lab, nodes: &[&str]) -> Vec<IpAddr> {
    nodes.iter().map(|node| lab.node(node).unwrap().v4.into()).collect()
}

async fn with_policy_cluster_every_node_is_a_next_hop(lab: &mut Lab) {
    lab.service("web", "Cluster", &["b"]).await.unwrap();
    let (address, prefix) = lab.address_of("web").await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
    assert_eq!(tor.kernel_next_hops(&prefix).unwrap().len(), 3);
    let answers = lab.client("user").unwrap().connect(address, 60).unwrap();
    let nodes: BTreeSet<_> = answers.iter().map(|answer| answer.as_deref().unwrap()).collect();
    assert_eq!(nodes, ["a", "b", "c"].into());
}
