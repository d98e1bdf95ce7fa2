//! What happens in a busy cluster, one thing after the other.

use std::{collections::VecDeque, ops::Range};

/// Of so many that were ready, one after the other, as many are unready at a time.
const UNREADY: usize = 20;

/// One thing that happens; Services and Nodes are those of `clarion_envtest::crowd`, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A Service is created, with ready endpoints.
    Create(usize),
    /// A Service is deleted.
    Delete(usize),
    /// All endpoints of a Service turn unready.
    Unready(usize),
    /// They are ready again.
    Ready(usize),
    /// A label of a Node that nothing selects by gets another value.
    Label {
        /// The Node.
        node: usize,
        /// The value.
        value: usize,
    },
    /// A Node is deleted.
    RemoveNode(usize),
    /// The same Node is created again.
    AddNode(usize),
}

/// An endless mix of actions, always the same one: of ten, three Services are created, three deleted, and four turn unready or
/// ready; in the place of one of 50 a Node is labelled, and of one of 200 a Node deleted or created again.
///
/// Half of the Services are left alone. About as many Services and Nodes are there at any time as at the beginning.
#[derive(Debug)]
pub struct Churn {
    step: usize,
    /// The number of the next Service.
    next: usize,
    /// What is to be deleted, the oldest first.
    doomed: VecDeque<usize>,
    /// What can turn unready.
    steady: VecDeque<usize>,
    unready: VecDeque<usize>,
    /// What can be labelled, or deleted.
    nodes: VecDeque<usize>,
    absent: Option<usize>,
}

impl Churn {
    /// Of so many Services, numbered from 0, and of these Nodes.
    #[must_use]
    pub fn of(services: usize, nodes: Range<usize>) -> Self {
        let (half, three_quarters) = (services / 2, services * 3 / 4);
        Self {
            step: 0,
            next: services,
            doomed: (three_quarters..services).collect(),
            steady: (half..three_quarters).collect(),
            unready: VecDeque::new(),
            nodes: nodes.collect(),
            absent: None,
        }
    }

    /// What has to happen for everything that is there to be as it was.
    #[must_use]
    pub fn healed(self) -> Vec<Action> {
        self.unready.into_iter().map(Action::Ready).chain(self.absent.map(Action::AddNode)).collect()
    }

    fn create(&mut self) -> Action {
        let new = self.next;
        self.next += 1;
        self.doomed.push_back(new);
        Action::Create(new)
    }

    fn delete(&mut self) -> Option<Action> {
        self.doomed.pop_front().map(Action::Delete)
    }

    fn flap(&mut self) -> Option<Action> {
        if self.unready.len() >= UNREADY.min(self.steady.len()) {
            let ready = self.unready.pop_front()?;
            self.steady.push_back(ready);
            return Some(Action::Ready(ready));
        }
        let unready = self.steady.pop_front()?;
        self.unready.push_back(unready);
        Some(Action::Unready(unready))
    }

    /// The Nodes take turns.
    fn node(&mut self) -> Option<usize> {
        let node = self.nodes.pop_front()?;
        self.nodes.push_back(node);
        Some(node)
    }

    fn label(&mut self) -> Option<Action> {
        let node = self.node()?;
        let value = self.step;
        (self.absent != Some(node)).then_some(Action::Label { node, value })
    }

    fn node_comes_or_goes(&mut self) -> Option<Action> {
        if let Some(back) = self.absent.take() {
            return Some(Action::AddNode(back));
        }
        self.absent = Some(self.node()?);
        self.absent.map(Action::RemoveNode)
    }
}

impl Iterator for Churn {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        self.step += 1;
        let action = match self.step {
            step if step % 200 == 0 => self.node_comes_or_goes(),
            step if step % 50 == 0 => self.label(),
            step => match step % 10 {
                0 | 3 | 6 | 9 => self.flap(),
                1 | 4 | 7 => None,
                _ => self.delete(),
            },
        };
        Some(action.unwrap_or_else(|| self.create()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_mix_is_as_it_is_said() {
        let actions: Vec<Action> = Churn::of(5_000, 20..1_000).take(1_000).collect();
        let count = |is: fn(&Action) -> bool| actions.iter().filter(|action| is(action)).count();
        assert_eq!(count(|action| matches!(action, Action::Create(_))), 300);
        assert_eq!(count(|action| matches!(action, Action::Delete(_))), 300);
        assert_eq!(count(|action| matches!(action, Action::Ready(_) | Action::Unready(_))), 380);
        assert_eq!(count(|action| matches!(action, Action::Label { .. })), 15);
        assert_eq!(count(|action| matches!(action, Action::AddNode(_) | Action::RemoveNode(_))), 5);
    }

    #[test]
    fn every_action_is_possible_and_healing_leaves_nothing_amiss() {
        for (services, nodes) in [(5_000, 20..1_000), (8, 2..4), (8, 2..2)] {
            let (mut there, mut unready): (BTreeSet<usize>, BTreeSet<usize>) =
                ((0..services).collect(), BTreeSet::new());
            let mut present: BTreeSet<usize> = nodes.clone().collect();
            let mut churn = Churn::of(services, nodes.clone());
            let mut apply = |action: Action| match action {
                Action::Create(n) => assert!(there.insert(n)),
                Action::Delete(n) => assert!(there.remove(&n) && !unready.contains(&n)),
                Action::Unready(n) => assert!(there.contains(&n) && unready.insert(n)),
                Action::Ready(n) => assert!(there.contains(&n) && unready.remove(&n)),
                Action::Label { node, .. } => assert!(present.contains(&node)),
                Action::RemoveNode(n) => assert!(present.remove(&n)),
                Action::AddNode(n) => assert!(present.insert(n)),
            };
            churn.by_ref().take(3_000).for_each(&mut apply);
            churn.healed().into_iter().for_each(&mut apply);
            assert!(unready.is_empty());
            assert_eq!(present, nodes.collect());
            assert!((0..services / 2).all(|n| there.contains(&n)), "left alone");
        }
    }
}
