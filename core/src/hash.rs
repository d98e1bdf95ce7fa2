//! Names that follow from content.

/// A short name for a text that is the same in every build, in hexadecimal.
pub fn hash(text: &str) -> String {
    format!("{:016x}", hash_of(text))
}

/// A number for a text that is the same in every build: FNV-1a, 64 bit.
pub fn hash_of(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
