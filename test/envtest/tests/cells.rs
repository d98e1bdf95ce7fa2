//! FRRConfigurations that are cut into parts, for a real daemon.

use std::{collections::BTreeSet, time::Duration};

use clarion_envtest::{Daemon, Operator, wait};
use kube::api::ListParams;
use tokio::time::sleep;

use crate::cluster::{Cluster, endpoints, pool, service};

impl Cluster {
    /// Adds the Services of these numbers.
    async fn add_numbered(&self, numbers: std::ops::Range<usize>) {
        let objects = numbers.flat_map(|n| {
            let name = format!("s{n}");
            [endpoints(&name), service(&name, &["IPv4"])]
        });
        self.0.apply(&objects.collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test]
async fn what_outgrows_one_object_is_cut_and_nothing_is_withdrawn() {
    let cluster = Cluster::start().await;
    cluster.0.apply(&[pool("main", &["198.18.0.0/21"])]).await.unwrap();
    let daemon = Daemon::start(&cluster.0, "node-a").unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    // What FRR is given, which must only grow.
    let mut known = BTreeSet::new();
    let mut grown = async |count: usize| {
        wait::until(&format!("{count} prefixes in FRR's configuration"), async || {
            let read = || daemon.networks().into_iter().collect::<BTreeSet<String>>();
            let now = read();
            sleep(Duration::from_millis(20)).await;
            // The daemon does not write the file at once.
            if read() != now {
                return Err(known.len());
            }
            let lost: Vec<_> = known.difference(&now).cloned().collect();
            assert!(lost.is_empty(), "withdrawn: {lost:?}");
            known = now;
            if known.len() == count { Ok(()) } else { Err(known.len()) }
        })
        .await
        .unwrap();
    };
    cluster.add_numbered(0..1024).await;
    grown(1024).await;
    let names = async || {
        let list = cluster.configurations().list(&ListParams::default()).await.unwrap();
        list.items.into_iter().filter_map(|object| object.metadata.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await.len(), 1);

    cluster.add_numbered(1024..1032).await;
    grown(1032).await;
    wait::until("two shards", async || {
        let names = names().await;
        if names.len() == 2 && names[1] == format!("{}-s1", names[0]) { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await
    .unwrap();
    cluster.converted("node-a").await;
    grown(1032).await;
    assert_eq!(daemon.failed_conversions(), 0, "{}", daemon.process.log());
}
