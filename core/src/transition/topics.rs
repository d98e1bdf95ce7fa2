//! What statements are about, roughly: enough to pass over most of what has nothing to do with each other.

use super::facts::Key;
use crate::compose::SHARDS_MAX;

/// A set of topics. Whatever has none in common with another set speaks of other things. Prefixes have the same topic if they
/// would be in the same shard of as many as there can be: so different shards have none in common.
#[derive(Clone, Debug, Default)]
pub struct Topics([u64; SHARDS_MAX / 64]);

impl Topics {
    /// Whether there is one in both.
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, other)| own & other != 0)
    }

    /// Adds those of another set.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
    }
}

impl<'k> FromIterator<&'k Key> for Topics {
    fn from_iter<I: IntoIterator<Item = &'k Key>>(keys: I) -> Self {
        let mut topics = Self::default();
        for key in keys {
            let topic = usize::try_from(key.topic() % SHARDS_MAX as u64).unwrap_or(0);
            topics.0.get_mut(topic / 64).into_iter().for_each(|word| *word |= 1 << (topic % 64));
        }
        topics
    }
}
