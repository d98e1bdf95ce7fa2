//! Names of fields, as people would write them.

/// Words that are not written like others.
const ACRONYMS: [&str; 9] = ["AS", "ASN", "BFD", "BGP", "ID", "IPs", "IPv4", "IPv6", "VRF"];

/// `peerASN` is `Peer ASN`, `aggregationLengthV6` is `Aggregation Length V6`.
pub fn title(field: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut upper_before = true;
    let characters: Vec<char> = field.chars().collect();
    for (index, character) in characters.iter().enumerate() {
        let lower_after = characters.get(index + 1).is_some_and(|next| next.is_lowercase());
        // A word starts at an upper-case letter after a lower-case one, and at the last of several if a word follows.
        let starts = character.is_uppercase() && (!upper_before || (lower_after && !field.ends_with("IPs")));
        match words.last_mut() {
            Some(word) if !starts => word.push(*character),
            _ => words.push(character.to_string()),
        }
        upper_before = character.is_uppercase();
    }
    words.iter().map(|word| capital(word)).collect::<Vec<_>>().join(" ")
}

fn capital(word: &str) -> String {
    if let Some(acronym) = ACRONYMS.iter().find(|acronym| acronym.eq_ignore_ascii_case(word)) {
        return (*acronym).to_owned();
    }
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("addresses", "Addresses")]
    #[case("myASN", "My ASN")]
    #[case("bfd", "BFD")]
    #[case("vrf", "VRF")]
    #[case("routerID", "Router ID")]
    #[case("avoidBuggyIPs", "Avoid Buggy IPs")]
    #[case("aggregationLengthV6", "Aggregation Length V6")]
    #[case("asPathPrepend", "AS Path Prepend")]
    #[case("ipv4", "IPv4")]
    fn titles(#[case] field: &str, #[case] expected: &str) {
        assert_eq!(title(field), expected);
    }
}
