//! Texts as Go's standard library reads them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address_set::Family;

/// `net.ParseIP` and its family: an IPv4 address that is written as an IPv6 one is an IPv4 address (`ForAddress`).
pub fn address(text: &str) -> Option<Family> {
    text.parse().ok().map(family)
}

fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => Family::V6,
        _ => Family::V4,
    }
}

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The family that FRR-K8s takes it for.
    pub family: Family,
    /// The prefix, without bits beyond its length, as FRR has it.
    pub net: IpNet,
}

/// `net.ParseCIDR` and its family (`ForCIDRString`).
pub fn cidr(text: &str) -> Option<Cidr> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let net = IpNet::new(address, number(length)?).ok()?;
    Some(Cidr { family: family(address), net: net.trunc() })
}

/// `strconv.ParseUint` of base 10: digits and nothing else, not even a sign.
pub fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `time.ParseDuration`, in nanoseconds.
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = term(rest)?;
        sum = sum.checked_add(nanoseconds)?;
        rest = after;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// The first number of a duration with its unit, and what follows.
fn term(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than a nanosecond of an hour has change nothing.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some((whole.checked_mul(unit)?.checked_add(fraction.checked_mul(unit)? / scale)?, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90s", Some(90_000_000_000))]
    #[case("1m30s", Some(90_000_000_000))]
    #[case("1.5h", Some(5_400_000_000_000))]
    #[case(".5s", Some(500_000_000))]
    #[case("1.s", Some(1_000_000_000))]
    #[case("-3s", Some(-3_000_000_000))]
    #[case("+3s", Some(3_000_000_000))]
    #[case("0", Some(0))]
    #[case("-0", Some(0))]
    #[case("1.0000000000000000000000001s", Some(1_000_000_000))]
    #[case("2562047h47m16.854775807s", Some(i64::MAX))]
    #[case("2562047h47m16.854775808s", None)]
    #[case("3us", Some(3_000))]
    #[case("3µs", Some(3_000))]
    #[case("", None)]
    #[case("-", None)]
    #[case("90", None)]
    #[case("s", None)]
    #[case(".s", None)]
    #[case("1 s", None)]
    #[case("1S", None)]
    #[case("1d", None)]
    #[case("1s2", None)]
    fn durations(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(duration(text), expected);
    }

    #[rstest]
    #[case("10.0.0.0/8", Some(Family::V4))]
    #[case("10.0.0.1/08", Some(Family::V4))]
    #[case("2001:db8::/32", Some(Family::V6))]
    #[case("::ffff:10.0.0.0/104", Some(Family::V4))]
    #[case("10.0.0.0/33", None)]
    #[case("10.0.0.0/+8", None)]
    #[case("10.0.0.0/", None)]
    #[case("10.0.0.0", None)]
    #[case("10.0.0/8", None)]
    #[case("010.0.0.0/8", None)]
    #[case("fe80::%eth0/64", None)]
    fn prefixes(#[case] text: &str, #[case] expected: Option<Family>) {
        assert_eq!(cidr(text).map(|cidr| cidr.family), expected);
    }
}
