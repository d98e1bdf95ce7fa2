//! The flags that decide which Services are Clarion's and where FRR-K8s is: the same for the operator and for what looks at its
//! work.

use clap::{Args, ValueEnum};
use clarion_api::names;
use clarion_core::world::Settings;

#[derive(Clone, Debug, Args)]
pub struct Serving {
    /// The namespace of FRR-K8s; found out from its objects if not given
    #[arg(long, env = "CLARION_FRR_K8S_NAMESPACE", value_name = "NAMESPACE")]
    frr_k8s_namespace: Option<String>,
    /// A load balancer class to serve; may be given several times
    #[arg(long, env = "CLARION_LOAD_BALANCER_CLASS", value_name = "CLASS", value_delimiter = ',', default_value = names::DEFAULT_CLASS)]
    load_balancer_class: Vec<String>,
    /// What to do with Services that have no class, where their namespace's label does not say
    #[arg(long, env = "CLARION_CLASS_LESS", value_enum, default_value_t = ClassLess::Ignore)]
    class_less: ClassLess,
    /// Share addresses across namespaces where the key is given by an annotation of MetalLB's, as MetalLB does
    #[arg(long, env = "CLARION_METALLB_SHARING_ACROSS_NAMESPACES")]
    metallb_sharing_across_namespaces: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClassLess {
    /// Serve them
    Adopt,
    /// Leave them alone
    Ignore,
}

impl Serving {
    pub fn settings(&self) -> Settings {
        Settings {
            load_balancer_classes: self.load_balancer_class.clone(),
            adopt_class_less: self.class_less == ClassLess::Adopt,
            frr_k8s_namespace: self.frr_k8s_namespace.clone(),
            metallb_shares_across_namespaces: self.metallb_sharing_across_namespaces,
        }
    }
}
