//! Reading and writing YAML as plain values.

use std::path::Path;

use serde_json::Value;

use crate::Error;

/// A file's text.
pub fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error::Io(path.to_owned(), error))
}

/// The documents of a YAML text, without empty ones.
pub fn parse(name: &str, text: &str) -> Result<Vec<Value>, Error> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| Error::Yaml(name.to_owned(), error.to_string()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The documents of a YAML file.
pub fn documents(path: &Path) -> Result<Vec<Value>, Error> {
    parse(&path.display().to_string(), &read(path)?)
}

/// One document.
pub fn text(value: &Value) -> Result<String, Error> {
    let mut text = serde_saphyr::to_string(value)
        .map_err(|error| Error::Yaml("a generated file".to_owned(), error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Several documents, with a comment above each that has one.
pub fn texts(parts: &[(&str, Value)]) -> Result<String, Error> {
    let mut out = String::new();
    for (comment, value) in parts {
        out.push_str("---\n");
        for line in comment.lines() {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&text(value)?);
    }
    Ok(out)
}

/// The text at a path of keys, or nothing.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The value at a path of keys, `null` if there is none.
pub fn part(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}

/// Takes away a field of an object's metadata.
pub fn without_metadata(mut value: Value, field: &str) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
    value
}
