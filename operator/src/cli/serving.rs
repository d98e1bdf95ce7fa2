//! The flags that decide which Services are Clarion's and where FRR-K8s is: the same for the operator and for what looks at its
//! work.

use std::time::Duration;

use clap::{Args, ValueEnum};
use clarion_api::names;
use clarion_core::{
    Brake,
    world::{Bounds, Settings},
};

use super::duration;

#[derive(Clone, Debug, Args)]
pub struct Serving {
    /// The namespace of FRR-K8s; found out from its objects if not given
    #[arg(long, env = "CLARION_FRR_K8S_NAMESPACE", value_name = "NAMESPACE")]
    frr_k8s_namespace: Option<String>,
    /// A load balancer class to serve; may be given several times
    #[arg(long, env = "CLARION_LOAD_BALANCER_CLASS", value_name = "CLASS", value_delimiter = ',', default_value = names::DEFAULT_CLASS)]
    load_balancer_class: Vec<String>,
    /// What to do with Services that have no class, where their namespace's label does not say
    /// [default: ignore; for `clarion shadow`: adopt]
    #[arg(long, env = "CLARION_CLASS_LESS", value_enum)]
    class_less: Option<ClassLess>,
    /// Share addresses across namespaces where the key is given by an annotation of MetalLB's, as MetalLB does
    #[arg(long, env = "CLARION_METALLB_SHARING_ACROSS_NAMESPACES")]
    metallb_sharing_across_namespaces: bool,
    /// Announce from nodes with the label `node.kubernetes.io/exclude-from-external-load-balancers` too
    #[arg(long, env = "CLARION_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,
    /// Drain nodes that have this taint: `key`, `key=value`, `key:effect` or `key=value:effect`; may be given several times
    #[arg(long, env = "CLARION_DRAIN_TAINTS", value_name = "TAINT", value_delimiter = ',')]
    drain_taints: Vec<String>,
    /// How long a node with such a taint goes on to announce, with GRACEFUL_SHUTDOWN, in seconds (`30s`) or minutes
    #[arg(long, env = "CLARION_DRAIN_GRACE", value_name = "DURATION", default_value = "30s", value_parser = drain_grace)]
    drain_grace: Duration,
    /// An edit of the configuration that would take more than this share, in percent, of what is announced to a router waits for
    /// `clarion approve`; with 100 none does
    #[arg(long, env = "CLARION_BRAKE_SHARE", value_name = "PERCENT", default_value_t = Brake::default().share, value_parser = clap::value_parser!(u8).range(0..=100))]
    brake_share: u8,
    /// Fewer prefixes than so many never wait
    #[arg(long, env = "CLARION_BRAKE_LEAST", value_name = "NUMBER", default_value_t = Brake::default().least)]
    brake_least: usize,
}

/// Whole seconds, at most a day: `30s` or `5m`.
fn drain_grace(text: &str) -> Result<Duration, String> {
    match duration::whole_seconds(text) {
        Some(seconds @ 0..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("whole seconds between 0s and 86400s, or minutes, are needed".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClassLess {
    /// Serve them
    Adopt,
    /// Leave them alone
    Ignore,
}

impl Serving {
    /// The same, but that Services without a class are served if nothing else is said.
    pub fn or_adopting(mut self) -> Self {
        self.class_less.get_or_insert(ClassLess::Adopt);
        self
    }

    pub fn settings(&self) -> Settings {
        Settings {
            load_balancer_classes: self.load_balancer_class.clone(),
            adopt_class_less: self.class_less == Some(ClassLess::Adopt),
            frr_k8s_namespace: self.frr_k8s_namespace.clone(),
            metallb_shares_across_namespaces: self.metallb_sharing_across_namespaces,
            ignore_exclude_label: self.ignore_exclude_lb,
            drain_taints: self.drain_taints.clone(),
            drain_grace: i64::try_from(self.drain_grace.as_secs()).unwrap_or(i64::MAX),
            bounds: Bounds::default(),
            brake: Brake { share: self.brake_share, least: self.brake_least.max(1) },
        }
    }
}
