//! Values that MetalLB writes otherwise than Clarion.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LabelSelector, LabelSelectorRequirement};
use clarion_core::config::Selector;
use ipnet::IpNet;

use crate::cli::import::report::Refusal;

/// Why a value has no counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// MetalLB refuses it too.
    Wrong(String),
    /// It is beyond what Clarion can have.
    Beyond(String),
}

impl BadValue {
    /// What follows for the object whose field this is.
    pub fn at(self, field: &str) -> Refusal {
        match self {
            Self::Wrong(message) => Refusal::error(field, message),
            Self::Beyond(message) => Refusal::left_out(field, message),
        }
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue::Wrong(message.into()))
}

/// An address in its shortest form; an IPv4 address in IPv6's clothes is one, as for Go.
pub fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A range or a CIDR, without the blanks and host bits that MetalLB allows.
pub fn addresses(text: &str) -> Result<String, BadValue> {
    let bad = || BadValue::Wrong(format!("{text:?} is neither a CIDR nor a range of addresses"));
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (ip(first.trim()).ok_or_else(bad)?, ip(last.trim()).ok_or_else(bad)?);
        return if first.is_ipv4() != last.is_ipv4() {
            wrong(format!("the ends of {text:?} are of different IP families"))
        } else if first > last {
            wrong(format!("the first address of {text:?} comes after the last"))
        } else {
            Ok(format!("{first}-{last}"))
        };
    }
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    if address.to_canonical() != address {
        return Err(BadValue::Beyond(format!("{text:?} is an IPv4 network written as IPv6; write it as IPv4")));
    }
    let length = Some(length).filter(|length| length.bytes().all(|b| b.is_ascii_digit()));
    let length = length.and_then(|length| length.parse().ok()).ok_or_else(bad)?;
    if length == 0 {
        return Err(BadValue::Beyond(format!("{text:?} is the whole address space; name the networks that are yours")));
    }
    IpNet::new(address, length).map(|net| net.trunc().to_string()).map_err(|_| bad())
}

/// A duration as Go writes it, in nanoseconds.
pub fn nanoseconds(text: &str) -> Option<u128> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0_u128);
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let places = u32::try_from(fraction.len()).ok()?;
        // All digits as one number, so that nothing is rounded.
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        sum = digits.checked_mul(unit)?.checked_div(10_u128.checked_pow(places)?)?.checked_add(sum)?;
        if after.is_empty() {
            return Some(sum);
        }
        rest = after;
    }
}

/// Whether Clarion allows this name for a community.
pub fn is_alias(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Whether Clarion allows this name for an interface or a VRF.
pub fn is_interface(name: &str) -> bool {
    name.len() <= 15
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A label, or a name of an object made of several with dots between them.
pub fn is_name(name: &str, longest: usize, dots: bool) -> bool {
    let part = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends) && part.ends_with(ends) && part.chars().all(|c| ends(c) || c == '-')
    };
    name.len() <= longest && if dots { name.split('.').all(part) } else { part(name) }
}

/// The most selectors in a list, requirements in a selector, and values in a requirement that Clarion takes.
const SELECTORS: usize = 32;
const REQUIREMENTS: usize = 16;
const VALUES: usize = 64;

/// Label selectors of which one has to fit, within Clarion's bounds.
pub fn selectors(list: &[LabelSelector]) -> Result<Vec<LabelSelector>, BadValue> {
    list.iter().try_for_each(is_valid)?;
    let is_small = |list: &[LabelSelector]| list.len() <= SELECTORS && list.iter().all(is_bounded);
    let merged = if is_small(list) { list.to_vec() } else { merge(list) };
    if is_small(&merged) {
        Ok(merged)
    } else {
        Err(BadValue::Beyond(format!(
            "more than {SELECTORS} selectors, {REQUIREMENTS} requirements in one, or {VALUES} values in one of those; \
             give what they select a label of its own"
        )))
    }
}

fn is_valid(selector: &LabelSelector) -> Result<(), BadValue> {
    Selector::new(selector).map_err(|error| BadValue::Wrong(error.to_string()))?;
    let expressions = selector.match_expressions.iter().flatten();
    let keys = selector.match_labels.iter().flatten().map(|(key, _)| key);
    for key in keys.chain(expressions.clone().map(|expression| &expression.key)) {
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !prefix.is_none_or(|prefix| is_name(prefix, 253, true)) || name.is_empty() || !is_label_value(name) {
            return wrong(format!("{key:?} is not the key of a label"));
        }
    }
    let values = selector.match_labels.iter().flatten().map(|(_, value)| value);
    let all = values.chain(expressions.flat_map(|expression| expression.values.iter().flatten()));
    match all.into_iter().find(|value| !is_label_value(value)) {
        Some(value) => wrong(format!("{value:?} is not the value of a label")),
        None => Ok(()),
    }
}

fn is_label_value(value: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || value.len() <= 63
            && value.starts_with(ends)
            && value.ends_with(ends)
            && value.chars().all(|c| ends(c) || matches!(c, '-' | '_' | '.'))
}

fn is_bounded(selector: &LabelSelector) -> bool {
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    selector.match_labels.as_ref().is_none_or(|labels| labels.len() <= REQUIREMENTS)
        && expressions.len() <= REQUIREMENTS
        && expressions.iter().all(|expression| expression.values.as_ref().is_none_or(|v| v.len() <= VALUES))
}

/// Joins selectors that each demand one of some values of the same label, as lists of nodes by name are written.
fn merge(list: &[LabelSelector]) -> Vec<LabelSelector> {
    let mut joined: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut merged = Vec::new();
    for selector in list {
        let labels: Vec<_> = selector.match_labels.iter().flatten().collect();
        let expressions = selector.match_expressions.as_deref().unwrap_or_default();
        match (labels.as_slice(), expressions) {
            ([(key, value)], []) => {
                joined.entry(key).or_default().insert(value);
            }
            ([], [one]) if one.operator == "In" => {
                joined.entry(&one.key).or_default().extend(one.values.iter().flatten().map(String::as_str));
            }
            _ => merged.push(selector.clone()),
        }
    }
    for (key, values) in joined {
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        merged.extend(values.chunks(VALUES).map(|values| LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: "In".to_owned(),
                values: Some(values.to_vec()),
            }]),
            ..LabelSelector::default()
        }));
    }
    merged
}

#[cfg(test)]
mod tests {
    use clarion_core::config::community;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("10.0.0.0/24", "10.0.0.0/24")]
    #[case("10.0.0.5/24", "10.0.0.0/24")]
    #[case("10.0.0.5/32", "10.0.0.5/32")]
    #[case("2001:DB8::5/64", "2001:db8::/64")]
    #[case("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9")]
    #[case("10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9")]
    #[case("2001:db8:0::1-2001:db8::ff", "2001:db8::1-2001:db8::ff")]
    #[case("::ffff:10.0.0.1-::ffff:10.0.0.9", "10.0.0.1-10.0.0.9")]
    fn addresses_that_are_kept(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(addresses(text).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case("", false)]
    #[case("10.0.0.1", false)]
    #[case("10.0.0.0/33", false)]
    #[case("10.0.0.0/+8", false)]
    #[case("10.0.0.0/", false)]
    #[case("010.0.0.0/8", false)]
    #[case("10.0.0.9-10.0.0.1", false)]
    #[case("10.0.0.1-2001:db8::1", false)]
    #[case("10.0.0.1-10.0.0.2-10.0.0.3", false)]
    #[case("0.0.0.0/0", true)]
    #[case("::/0", true)]
    #[case("::ffff:10.0.0.0/120", true)]
    fn addresses_that_are_refused(#[case] text: &str, #[case] beyond: bool) {
        let error = addresses(text).unwrap_err();
        assert_eq!(matches!(error, BadValue::Beyond(_)), beyond, "{error:?}");
    }

    #[rstest]
    #[case("90s", Some(90_000))]
    #[case("1m30s", Some(90_000))]
    #[case("1h0m0s", Some(3_600_000))]
    #[case("1.5s", Some(1_500))]
    #[case(".5s", Some(500))]
    #[case("0.7m", Some(42_000))]
    #[case("500ms", Some(500))]
    #[case("0s", Some(0))]
    #[case("0", Some(0))]
    #[case("", None)]
    #[case("90", None)]
    #[case("-90s", None)]
    #[case("s", None)]
    #[case("1.2.3s", None)]
    #[case("1d", None)]
    #[case("99999999999999999999999999999999999999h", None)]
    fn durations(#[case] text: &str, #[case] milliseconds: Option<u128>) {
        assert_eq!(nanoseconds(text), milliseconds.map(|ms| ms * 1_000_000));
    }

    #[rstest]
    #[case("65000:100", Some("65000:100"))]
    #[case("065000:0100", Some("65000:100"))]
    #[case("large:4294967295:0:01", Some("large:4294967295:0:1"))]
    #[case("65536:1", None)]
    #[case("+1:1", None)]
    #[case("1:2:3", None)]
    #[case("no-export", None)]
    #[case("", None)]
    fn communities(#[case] text: &str, #[case] value: Option<&str>) {
        assert_eq!(community(text).as_deref(), value);
    }

    fn read(json: serde_json::Value) -> Vec<LabelSelector> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn selectors_within_the_bounds_are_kept_as_they_are() {
        let list = read(json!([{}, {"matchLabels": {"a.b/c": "d", "e": ""}}, {"matchExpressions": [
            {"key": "f", "operator": "NotIn", "values": ["g"]}, {"key": "h", "operator": "Exists"},
        ]}]));
        assert_eq!(selectors(&list), Ok(list));
    }

    #[test]
    fn long_lists_of_nodes_are_joined() {
        let each: Vec<_> =
            (0..70).map(|n| json!({"matchLabels": {"kubernetes.io/hostname": format!("node-{n:02}")}})).collect();
        let all: Vec<_> = (0..70).map(|n| format!("node-{n:02}")).collect();
        let one = json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": all}]}]);
        let joined = selectors(&read(json!(each))).unwrap();
        assert_eq!(joined.len(), 2);
        assert_eq!(selectors(&read(one)), Ok(joined.clone()));
        let count = |selector: &LabelSelector| selector.match_expressions.as_ref().unwrap()[0].values.clone().unwrap();
        assert_eq!(joined.iter().flat_map(count).collect::<Vec<_>>(), all);
    }

    #[rstest]
    #[case(json!([{"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}]), false)]
    #[case(json!([{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]), false)]
    #[case(json!([{"matchLabels": {"a b": "c"}}]), false)]
    #[case(json!([{"matchLabels": {"/b": "c"}}]), false)]
    #[case(json!([{"matchLabels": {"A/b": "c"}}]), false)]
    #[case(json!([{"matchLabels": {"": "c"}}]), false)]
    #[case(json!([{"matchLabels": {"a": "c d"}}]), false)]
    #[case(json!([{"matchExpressions": [
        {"key": "a", "operator": "Exists"},
        {"key": "b", "operator": "In", "values": (0..65).map(|n| n.to_string()).collect::<Vec<_>>()},
    ]}]), true)]
    fn selectors_that_are_refused(#[case] list: serde_json::Value, #[case] beyond: bool) {
        let error = selectors(&read(list)).unwrap_err();
        assert_eq!(matches!(error, BadValue::Beyond(_)), beyond, "{error:?}");
    }
}
