//! Gauges of pools and peers, as the last plan found them: who is deleted has none any more.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use clarion_core::{Figures, PoolFigures};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::catalogue::About;

const OF_POOL: &[(&str, &str)] = &[("pool", "its name"), ("family", "`IPv4`, `IPv6`")];
const OF_PEER: &[(&str, &str)] = &[("peer", "its name")];

/// What is collected, in the order of [`Collector::encode`].
pub const GAUGES: [About; 5] = [
    About {
        name: "pool_addresses",
        in_seconds: false,
        labels: OF_POOL,
        series: "2 P",
        help: "Addresses of a LoadBalancerPool",
    },
    About {
        name: "pool_addresses_assigned",
        in_seconds: false,
        labels: OF_POOL,
        series: "2 P",
        help: "Addresses of a LoadBalancerPool that are not free: held, reserved, or about to be given or taken",
    },
    About {
        name: "pool_addresses_available",
        in_seconds: false,
        labels: OF_POOL,
        series: "2 P",
        help: "Addresses of a LoadBalancerPool that are free",
    },
    About {
        name: "peer_sessions",
        in_seconds: false,
        labels: &[("peer", "its name"), ("state", "`established`, `down`, `unknown`")],
        series: "3 R",
        help: "Sessions of nodes with a RouterPeer; unknown where FRR-K8s does not say, or not reliably",
    },
    About {
        name: "peer_prefixes",
        in_seconds: false,
        labels: OF_PEER,
        series: "R",
        help: "The most prefixes that a node is to announce to a RouterPeer",
    },
];

/// The figures of the last plan.
#[derive(Clone, Debug, Default)]
pub struct Collected(Arc<Mutex<Figures>>);

impl Collected {
    /// Takes newer ones.
    pub fn set(&self, figures: Figures) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let [total, assigned, available, sessions, prefixes] = &GAUGES;
        let pools = |value: fn(&PoolFigures) -> f64| {
            figures
                .pools
                .iter()
                .map(move |pool| ([("pool", pool.name.as_str()), ("family", pool.family.name())], value(pool)))
        };
        encode(&mut encoder, total, pools(|pool| pool.total))?;
        encode(&mut encoder, assigned, pools(|pool| pool.assigned))?;
        encode(&mut encoder, available, pools(PoolFigures::available))?;
        let peers = figures.peers.iter();
        let states = peers.clone().flat_map(|peer| {
            let states = [("established", peer.established), ("down", peer.down), ("unknown", peer.unknown)];
            states.map(|(state, count)| ([("peer", peer.name.as_str()), ("state", state)], number(count)))
        });
        encode(&mut encoder, sessions, states)?;
        encode(&mut encoder, prefixes, peers.map(|peer| ([("peer", peer.name.as_str())], number(peer.prefixes))))
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 of anything")]
fn number(count: usize) -> f64 {
    count as f64
}

fn encode<'f, const N: usize>(
    encoder: &mut DescriptorEncoder,
    about: &About,
    values: impl Iterator<Item = ([(&'static str, &'f str); N], f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(about.name, about.help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
