//! Label selectors, checked once and evaluated often.

use std::{collections::BTreeMap, fmt};

use clarion_api::LabelSelector;
use itertools::Itertools as _;

/// A label selector all of whose requirements make sense. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl fmt::Display for Selector {
    /// As `kubectl -l` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts = self.0.iter().map(|requirement| match requirement {
            Requirement::In(key, values) => format!("{key} in ({})", values.join(",")),
            Requirement::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Requirement::Exists(key) => key.clone(),
            Requirement::DoesNotExist(key) => format!("!{key}"),
        });
        f.write_str(&texts.join(","))
    }
}

/// Why a selector can't be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// An operator that Kubernetes does not have.
    #[error("the operator {0:?} is none of In, NotIn, Exists, DoesNotExist")]
    Operator(String),
    /// `In []`, or values with `Exists`.
    #[error("{0} {1}: In and NotIn need values, Exists and DoesNotExist take none")]
    Values(String, String),
    /// No label can have such a key.
    #[error("{0:?} is not the key of a label, such as app or example.com/app")]
    Key(String),
}

impl Selector {
    /// Checks a selector.
    pub fn new(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<_> =
            labels.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let (key, values) = (expression.key.clone(), expression.values.clone().unwrap_or_default());
            requirements.push(match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Requirement::In(key, values),
                ("NotIn", false) => Requirement::NotIn(key, values),
                ("Exists", true) => Requirement::Exists(key),
                ("DoesNotExist", true) => Requirement::DoesNotExist(key),
                (operator @ ("In" | "NotIn" | "Exists" | "DoesNotExist"), _) => {
                    return Err(SelectorError::Values(key, operator.to_owned()));
                }
                (operator, _) => return Err(SelectorError::Operator(operator.to_owned())),
            });
        }
        let keys = selector.match_labels.iter().flat_map(BTreeMap::keys);
        let keys = keys.chain(selector.match_expressions.iter().flatten().map(|expression| &expression.key));
        match keys.into_iter().find(|key| !is_label_key(key)) {
            Some(key) => Err(SelectorError::Key(key.clone())),
            None => Ok(Self(requirements)),
        }
    }

    /// Checks several.
    pub fn all(selectors: &[LabelSelector]) -> Result<Vec<Self>, SelectorError> {
        selectors.iter().map(Self::new).collect()
    }

    /// A label that every selected object has, with one of these values; `None` if the selector demands none.
    #[must_use]
    pub fn anchor(&self) -> Option<(&str, &[String])> {
        self.0.iter().find_map(|requirement| match requirement {
            Requirement::In(key, values) => Some((key.as_str(), values.as_slice())),
            _ => None,
        })
    }

    /// Whether an object with these labels is selected. As in Kubernetes, `NotIn` also fits where the label is absent.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

/// Whether a label can have this key: a name of up to 63 characters, and before it a DNS name and a slash, or nothing
/// (k8s.io/apimachinery, `IsQualifiedName`).
fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_part = |part: &str, longest: usize, permits: fn(char) -> bool| {
        (1..=longest).contains(&part.len())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || permits(c))
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    is_part(name, 63, |c| matches!(c, '-' | '_' | '.'))
        && domain.is_none_or(|domain| {
            domain.len() <= 253
                && !domain.contains(|c: char| c.is_ascii_uppercase())
                && domain.split('.').all(|label| is_part(label, 63, |c| c == '-'))
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn selector(json: &str) -> Result<Selector, SelectorError> {
        Selector::new(&serde_json::from_str(json).unwrap())
    }

    #[rstest]
    #[case("{}", true)]
    #[case(r#"{"matchExpressions":[{"key":"topology.kubernetes.io/zone_1.a","operator":"DoesNotExist"}]}"#, true)]
    #[case(r#"{"matchLabels":{"rack":"a"}}"#, true)]
    #[case(r#"{"matchLabels":{"rack":"b"}}"#, false)]
    #[case(r#"{"matchLabels":{"rack":"a","zone":"1"}}"#, false)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"In","values":["b","a"]}]}"#, true)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"NotIn","values":["a"]}]}"#, false)]
    #[case(r#"{"matchExpressions":[{"key":"zone","operator":"NotIn","values":["1"]}]}"#, true)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"Exists"}]}"#, true)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"DoesNotExist"}]}"#, false)]
    fn as_kubernetes_does(#[case] json: &str, #[case] expected: bool) {
        let labels = BTreeMap::from([("rack".to_owned(), "a".to_owned())]);
        assert_eq!(selector(json).unwrap().matches(&labels), expected);
    }

    #[rstest]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"In"}]}"#)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"Exists","values":["a"]}]}"#)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"Gt","values":["1"]}]}"#)]
    #[case(r#"{"matchLabels":{"a b":"c"}}"#)]
    #[case(r#"{"matchLabels":{"":"c"}}"#)]
    #[case(r#"{"matchLabels":{"a/b/c":"c"}}"#)]
    #[case(r#"{"matchLabels":{"Example.com/a":"c"}}"#)]
    #[case(r#"{"matchExpressions":[{"key":"-a","operator":"Exists"}]}"#)]
    fn refused(#[case] json: &str) {
        assert!(selector(json).is_err());
    }
}
