//! Which nodes an FRRConfiguration is for.

use std::collections::BTreeMap;

use clarion_api::{LabelSelector, frr::FrrConfigurationSpec};

use crate::config::Selector;

/// Why a selector can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// An operator that there is not, or values that do not fit it (`LabelSelectorAsSelector`, `NewRequirement`).
    #[error("{0}")]
    Requirement(String),
    /// A key that is no label's name (`IsQualifiedName`).
    #[error("{0:?} is not the name of a label")]
    Key(String),
    /// A value that no label can have (`IsValidLabelValue`).
    #[error("{0:?} is not a value that a label can have")]
    Value(String),
}

/// Whether an FRRConfiguration selects a node with these labels (`configsForNode`).
///
/// # Errors
/// If its selector can't be parsed. One such object in the namespace fails **every** node, selected or not.
pub fn selects(spec: &FrrConfigurationSpec, labels: &BTreeMap<String, String>) -> Result<bool, SelectorError> {
    let Some(selector) = &spec.node_selector else { return Ok(true) };
    Ok(parse(selector)?.matches(labels))
}

/// Parses a selector as the daemon does.
pub fn parse(selector: &LabelSelector) -> Result<Selector, SelectorError> {
    check(selector)?;
    Selector::new(selector).map_err(|error| SelectorError::Requirement(error.to_string()))
}

/// The schema of the CRD lets any text pass.
fn check(selector: &LabelSelector) -> Result<(), SelectorError> {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| (key, std::slice::from_ref(value)));
    let expressions = selector.match_expressions.iter().flatten();
    let expressions = expressions.map(|e| (&e.key, e.values.as_deref().unwrap_or_default()));
    for (key, values) in labels.chain(expressions) {
        if !is_key(key) {
            return Err(SelectorError::Key(key.clone()));
        }
        if let Some(value) = values.iter().find(|value| !value.is_empty() && !is_name(value)) {
            return Err(SelectorError::Value(value.clone()));
        }
    }
    Ok(())
}

/// A name, if need be after a DNS subdomain and a slash.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(key),
    }
}

fn is_name(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    text.len() <= 63
        && ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        let ends = [label.chars().next(), label.chars().next_back()];
        ends.iter().all(|end| end.is_some_and(|c| c != '-'))
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn selects_node_a(selector: &str) -> Result<bool, SelectorError> {
        let spec = serde_json::from_str(&format!(r#"{{"nodeSelector":{selector}}}"#)).unwrap();
        selects(&spec, &BTreeMap::from([("kubernetes.io/hostname".to_owned(), "node-a".to_owned())]))
    }

    #[rstest]
    #[case("null", true)]
    #[case("{}", true)]
    #[case(r#"{"matchLabels":{"kubernetes.io/hostname":"node-a"}}"#, true)]
    #[case(r#"{"matchLabels":{"kubernetes.io/hostname":"node-b"}}"#, false)]
    #[case(r#"{"matchLabels":{"rack":""}}"#, false)]
    #[case(r#"{"matchExpressions":[{"key":"rack","operator":"DoesNotExist"}]}"#, true)]
    fn as_the_daemon_selects(#[case] selector: &str, #[case] expected: bool) {
        assert_eq!(selects_node_a(selector), Ok(expected));
    }

    #[rstest]
    #[case::no_values(r#"{"matchExpressions":[{"key":"a","operator":"In","values":[]}]}"#)]
    #[case::operator(r#"{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}"#)]
    #[case::no_key(r#"{"matchLabels":{"":"a"}}"#)]
    #[case::prefix(r#"{"matchLabels":{"Example.com/a":"a"}}"#)]
    #[case::empty_prefix(r#"{"matchLabels":{"/a":"a"}}"#)]
    #[case::prefix_with_empty_label(r#"{"matchLabels":{"a..b/c":"a"}}"#)]
    #[case::slashes(r#"{"matchLabels":{"a/b/c":"a"}}"#)]
    #[case::value(r#"{"matchLabels":{"a":"-b"}}"#)]
    #[case::value_of_64(&format!(r#"{{"matchLabels":{{"a":"{}"}}}}"#, "x".repeat(64)))]
    #[case::one_of_the_values(r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["b","c d"]}]}"#)]
    fn fails_every_node(#[case] selector: &str) {
        assert!(selects_node_a(selector).is_err());
    }

    #[test]
    fn a_value_of_63_is_a_label() {
        assert_eq!(selects_node_a(&format!(r#"{{"matchLabels":{{"a":"{}"}}}}"#, "x".repeat(63))), Ok(false));
    }
}
