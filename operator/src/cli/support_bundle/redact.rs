//! What must not leave a cluster, taken out of objects.

use serde_json::Value;

/// What stands in place of what was taken out.
pub const REMOVED: &str = "(removed)";
/// Words of FRR's configuration, and names of fields, after which something secret stands.
const SECRET_WORDS: [&str; 5] = ["password", "secret", "key-string", "authentication-key", "message-digest-key"];
/// What kubectl keeps of an earlier version of the object, as one text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes secrets out of an object: clear-text passwords of sessions, those in pieces of FRR's configuration, and older versions
/// of the object.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove(LAST_APPLIED);
            for (name, field) in fields {
                match field {
                    // `passwordSecret` and the like hold the name of a Secret.
                    Value::String(text) if name == "password" => REMOVED.clone_into(text),
                    _ => redact(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) if text.contains('\n') => *text = configuration(text),
        _ => {}
    }
}

/// A text of several lines, without what follows a secret word in any of them.
pub fn configuration(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let ends = SECRET_WORDS.iter().filter_map(|word| Some(lower.find(word)? + word.len()));
    let Some(end) = ends.min().filter(|end| !lower.split_at(*end).1.trim().is_empty()) else { return line.to_owned() };
    let (kept, _) = line.split_at(end);
    format!("{kept} {REMOVED}{}", if line.ends_with('\n') { "\n" } else { "" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_go_and_names_of_secrets_stay() {
        let mut object = json!({
            "metadata": {"annotations": {LAST_APPLIED: "{\"password\": \"hunter2\"}", "a": "b"}},
            "spec": {
                "bgp": {"routers": [{"neighbors": [{"password": "hunter2", "passwordSecret": {"name": "tor"}}]}]},
                "raw": {"rawConfig": "router bgp 1\n neighbor 192.0.2.1 password hunter2\n ip ospf Message-Digest-Key 1 md5 hunter2\nend"},
            },
            "status": {"runningConfig": "!\nkey-string hunter2\n"},
        });
        redact(&mut object);
        assert!(!object.to_string().contains("hunter2"), "{object}");
        assert_eq!(
            object,
            json!({
                "metadata": {"annotations": {"a": "b"}},
                "spec": {
                    "bgp": {"routers": [{"neighbors": [{"password": REMOVED, "passwordSecret": {"name": "tor"}}]}]},
                    "raw": {"rawConfig": "router bgp 1\n neighbor 192.0.2.1 password (removed)\n ip ospf Message-Digest-Key (removed)\nend"},
                },
                "status": {"runningConfig": "!\nkey-string (removed)\n"},
            })
        );
    }

    #[test]
    fn lines_without_a_secret_stay_as_they_are() {
        for text in ["", "\n", "no password\n", "neighbor 192.0.2.1 remote-as 64512\n", "a\r\nb"] {
            assert_eq!(configuration(text), text);
        }
    }
}
