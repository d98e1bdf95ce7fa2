//! What commands print with `-o json`, by the schemas that `clarion schema` prints: judged by the `jsonschema` of Python, which
//! the tools for packages bring along.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use clarion_envtest::tools;
use serde_json::{Value, json};

use crate::*;

/// Reads pairs of a schema and what is to be as it says; writes what is wrong with each, or null.
const JUDGE: &str = "
import json, sys, jsonschema
def fault(schema, printed):
    return next((error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(printed)), None)
json.dump([fault(*case) for case in json.load(sys.stdin)], sys.stdout)
";

fn judge(cases: &[(Value, Value)]) -> Vec<Option<String>> {
    let mut python = Command::new(tools("packaging").unwrap().join("python/bin/python"))
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(json!(cases).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A schema that allows no field that it does not have.
fn strict(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        let fields = object.values().cloned().map(strict).collect::<Vec<_>>();
        object.values_mut().zip(fields).for_each(|(field, strict)| *field = strict);
        if object.get("properties").is_some_and(Value::is_object) {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(|item| *item = strict(item.take()));
    }
    schema
}

/// Of what is printed, the same without each field of the outermost object that must be there; of a list, of its first item.
fn without_what_is_required(schema: &Value, printed: &Value) -> Vec<Value> {
    let of = match schema["items"]["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let required = of["required"].as_array().unwrap();
    let without = required.iter().map(|field| {
        let mut less = printed.clone();
        let object = if less.is_array() { less.get_mut(0).unwrap() } else { &mut less };
        assert!(object.as_object_mut().unwrap().remove(field.as_str().unwrap()).is_some(), "there is no {field}");
        less
    });
    without.collect()
}

/// Fails unless something printed has all that the schema of its command requires, and nothing that it does not have; and unless
/// the schema tells when something is missing.
#[track_caller]
pub(crate) fn assert_as_its_schema_says(command: &str, printed: &Value) {
    let schema: Value = serde_json::from_str(&text(&run(&["schema", command]))).unwrap();
    let mut cases = vec![(strict(schema.clone()), printed.clone())];
    let less = without_what_is_required(&schema, printed);
    assert!(!less.is_empty(), "clarion schema {command} requires nothing");
    cases.extend(less.into_iter().map(|less| (schema.clone(), less)));
    let faults = judge(&cases);
    assert_eq!(faults[0], None, "clarion {command} -o json: {printed:#}");
    assert!(faults[1..].iter().all(Option::is_some), "clarion schema {command} does not miss all that it requires");
}

/// What `clarion schema` calls a command.
pub(crate) fn name(arguments: &[&str]) -> String {
    match arguments {
        ["explain", what, ..] => format!("explain-{what}"),
        [command, ..] => (*command).to_owned(),
        [] => String::new(),
    }
}

#[test]
fn of_a_version() {
    let printed = serde_json::from_str(&text(&run(&["version", "-o", "json"]))).unwrap();
    assert_as_its_schema_says("version", &printed);
}

#[test]
fn all_commands_have_one_that_says_whose_it_is() {
    let directory = tempfile::tempdir().unwrap();
    text(&run(&["schema", "--dir", directory.path().to_str().unwrap()]));
    let mut titles = Vec::new();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let schema: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        titles.push(schema["title"].as_str().unwrap().to_owned());
    }
    // Those whose help has JSON among the forms of what they print. `import` and `reserve` print manifests.
    let mut commands = Vec::new();
    for command in subcommands(&[]).into_iter().filter(|command| *command != ["reserve"]) {
        if help(&command).contains("- json:  JSON") {
            commands.push(format!("clarion {} -o json", command.join(" ")));
        }
    }
    titles.sort();
    commands.sort();
    assert_eq!(titles, commands);
}
