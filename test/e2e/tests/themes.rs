//! Cases of one theme share a network, one after the other; each finds it as if it were new.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use clarion_e2e::{Lab, Topology};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Handle;

pub type Run = for<'a> fn(&'a mut Lab) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub struct Case {
    pub name: &'static str,
    pub run: Run,
    /// It belongs to the core that every change must pass.
    pub core: bool,
}

pub struct Theme {
    pub name: &'static str,
    pub topology: Topology,
    pub cases: Vec<Case>,
}

/// Three nodes behind one router, and a client beyond it.
pub fn rack() -> Topology {
    Topology::new()
        .nodes(&["a", "b", "c"])
        .router("tor", 64513)
        .client("user")
        .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "a", "b", "c"])
        .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor", "user"])
}

/// Lists cases by the names of their functions; `core` or `full` says where they run.
macro_rules! cases {
    ($($kind:ident $case:ident),+ $(,)?) => {
        vec![$(crate::themes::Case {
            name: stringify!($case),
            run: |lab| Box::pin($case(lab)),
            core: stringify!($kind) == "core",
        }),+]
    };
}
pub(crate) use cases;

/// One case after the other of each theme; those of different themes alternate, so that several networks are busy.
pub fn trials(runtime: &Handle, themes: impl IntoIterator<Item = Theme>) -> Vec<Trial> {
    let mut lists: Vec<_> = themes.into_iter().map(|theme| trials_of(runtime, theme).into_iter()).collect();
    let mut trials = Vec::new();
    while !lists.is_empty() {
        lists.retain_mut(|list| list.next().map(|trial| trials.push(trial)).is_some());
    }
    trials
}

fn trials_of(runtime: &Handle, theme: Theme) -> Vec<Trial> {
    let lab: Arc<Mutex<Option<Lab>>> = Arc::default();
    let topology = Arc::new(theme.topology);
    let trial = |case: Case| {
        let (lab, topology, runtime) = (Arc::clone(&lab), Arc::clone(&topology), runtime.clone());
        let kind = if case.core { "core" } else { "full" };
        Trial::test(format!("{kind}::{}::{}", theme.name, case.name), move || {
            // A case that failed has left the network to nobody: the next one makes a new one.
            let mut held = lab.lock().unwrap_or_else(PoisonError::into_inner);
            let mut lab = match held.take() {
                Some(lab) => lab,
                None => runtime.block_on(Topology::clone(&topology).start()).map_err(|e| failed(&e.to_string(), ""))?,
            };
            runtime.block_on(lab.reset()).map_err(|error| failed(&error.to_string(), &lab.picture()))?;
            let started = Instant::now();
            let outcome = {
                let _inside = runtime.enter();
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on((case.run)(&mut lab))))
            };
            match outcome {
                Ok(()) => {
                    eprintln!("{}: {:.1} s", case.name, started.elapsed().as_secs_f64());
                    *held = Some(lab);
                    Ok(())
                }
                Err(panic) => {
                    let why = panic.downcast_ref::<String>().cloned();
                    let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    Err(failed(&why.unwrap_or_default(), &lab.picture()))
                }
            }
        })
    };
    theme.cases.into_iter().map(trial).collect()
}

/// Tells at once why a case failed; what it left behind is told at the end.
fn failed(why: &str, picture: &str) -> Failed {
    eprintln!("{why}");
    format!("{why}\n{picture}").into()
}
