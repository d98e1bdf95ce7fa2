//! Names that follow from content.

use std::net::IpAddr;

use ipnet::IpNet;

/// A short name for a text that is the same in every build, in hexadecimal.
pub fn hash(text: &str) -> String {
    format!("{:016x}", hash_of(text))
}

/// A number for a text that is the same in every build: FNV-1a, 64 bit.
pub fn hash_of(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A number for a prefix that is the same in every build.
pub fn hash_of_prefix(prefix: &IpNet) -> u64 {
    let address = match prefix.addr() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the number")]
    mix(u64::from(prefix.prefix_len()), [(address >> 64) as u64, address as u64])
}

/// Stirs numbers into a value, so that each bit of them decides about every bit of the outcome: the finalizer of SplitMix64
/// (Steele, Lea, Flood 2014).
pub fn mix(value: u64, parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(value, |value, part| {
        let value = value.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    })
}
