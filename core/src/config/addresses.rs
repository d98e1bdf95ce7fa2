//! CIDRs and ranges as users write them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address_set::AddressRange;

/// Why a text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of either form.
    #[error("it is neither a CIDR such as 192.0.2.0/24 nor a range such as 192.0.2.10-192.0.2.20")]
    Form,
    /// A prefix length of 0.
    #[error("a prefix of length 0 is the whole address space")]
    Everything,
    /// Host bits set.
    #[error("it has bits set beyond its prefix length; did you mean {0}?")]
    HostBits(IpNet),
    /// IPv4 to IPv6 or the reverse.
    #[error("its ends are of different IP families")]
    Families,
    /// The last before the first.
    #[error("its first address comes after its last; did you mean {1}-{0}?")]
    Order(IpAddr, IpAddr),
    /// `::ffff:192.0.2.1`.
    #[error("IPv4 addresses are written without the prefix ::ffff:")]
    Mapped,
    /// Not one address.
    #[error("it is not an IP address")]
    Single,
}

/// Reads one address.
pub fn one(text: &str) -> Result<IpAddr, AddressError> {
    let address = text.parse::<IpAddr>().map_err(|_| AddressError::Single)?;
    if is_mapped(address) { Err(AddressError::Mapped) } else { Ok(address) }
}

/// Reads a CIDR or a range, in the forms that the CRD allows.
pub fn parse(text: &str) -> Result<AddressRange, AddressError> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (
            first.parse::<IpAddr>().map_err(|_| AddressError::Form)?,
            last.parse::<IpAddr>().map_err(|_| AddressError::Form)?,
        ),
        None => {
            let cidr = cidr(text).ok_or(AddressError::Form)?;
            if cidr.prefix_len() == 0 {
                return Err(AddressError::Everything);
            }
            if cidr.trunc() != cidr {
                return Err(AddressError::HostBits(cidr.trunc()));
            }
            (cidr.network(), cidr.broadcast())
        }
    };
    if is_mapped(first) || is_mapped(last) {
        return Err(AddressError::Mapped);
    }
    AddressRange::new(first, last).ok_or(if first.is_ipv4() == last.is_ipv4() {
        AddressError::Order(first, last)
    } else {
        AddressError::Families
    })
}

/// Stricter than `IpNet`'s own reading, which allows leading zeros.
fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let digits = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    IpNet::new(address.parse().ok()?, length.parse().ok().filter(|_| digits)?).ok()
}

/// Whether it is an IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2).
pub fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.0/24", "10.0.0.0", "10.0.0.255")]
    #[case("10.0.0.7/32", "10.0.0.7", "10.0.0.7")]
    #[case("10.0.0.9-10.0.0.9", "10.0.0.9", "10.0.0.9")]
    #[case("2001:db8::-2001:db8::ff", "2001:db8::", "2001:db8::ff")]
    #[case("2001:db8::/126", "2001:db8::", "2001:db8::3")]
    fn good(#[case] text: &str, #[case] first: IpAddr, #[case] last: IpAddr) {
        assert_eq!(parse(text), Ok(AddressRange::new(first, last).unwrap()));
    }

    #[rstest]
    #[case("", AddressError::Form)]
    #[case("10.0.0.0/33", AddressError::Form)]
    #[case("010.0.0.0/24", AddressError::Form)]
    #[case("10.0.0.0/+8", AddressError::Form)]
    #[case("10.0.0.0/08", AddressError::Form)]
    #[case("10.0.0.1", AddressError::Form)]
    #[case("10.0.0.1-", AddressError::Form)]
    #[case("10.0.0.1 - 10.0.0.2", AddressError::Form)]
    #[case("10.0.0.1-10.0.0.2-10.0.0.3", AddressError::Form)]
    #[case("fe80::1%eth0-fe80::2%eth0", AddressError::Form)]
    #[case("2001:db8::/0", AddressError::Everything)]
    #[case("0.0.0.0/0", AddressError::Everything)]
    #[case("10.0.0.5/24", AddressError::HostBits("10.0.0.0/24".parse().unwrap()))]
    #[case("::1-10.0.0.1", AddressError::Families)]
    #[case("10.0.0.9-10.0.0.1", AddressError::Order("10.0.0.9".parse().unwrap(), "10.0.0.1".parse().unwrap()))]
    #[case("::ffff:10.0.0.0/120", AddressError::Mapped)]
    fn bad(#[case] text: &str, #[case] error: AddressError) {
        assert_eq!(parse(text), Err(error));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
