//! `docs/api-reference.md`: every field of the CRDs, with what the schemas say of it and an example.

use serde_json::Value;

use crate::{
    Error, Files, Source,
    yaml::{at, part},
};

const EXAMPLES: &str = "docs/examples/reference";

pub fn add(source: &Source, files: &mut Files) -> Result<(), Error> {
    let mut page = "# API reference\n\nThe kinds of `clarionlb.io/v1beta1`. Generated from the CRDs, and from `docs/examples/reference`.\n\n\
         `kubectl explain lbpool.spec` shows the same in a terminal.\n"
        .to_owned();
    for crd in &source.crds {
        page.push_str(&kind(source, crd)?);
    }
    files.add("docs/api-reference.md", page);
    Ok(())
}

fn kind(source: &Source, crd: &Value) -> Result<String, Error> {
    let (name, singular) = (at(crd, "/spec/names/kind"), at(crd, "/spec/names/singular"));
    let missing = || Error::Missing("example".to_owned(), format!("{EXAMPLES}/{singular}.yaml"));
    let examples = source.reference.get(singular).ok_or_else(missing)?;
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let scope = match at(crd, "/spec/scope") {
        "Cluster" => "Of the cluster",
        _ => "In a namespace",
    };
    let short: Vec<_> = part(crd, "/spec/names/shortNames").as_array().into_iter().flatten().map(code).collect();
    let mut page = format!(
        "\n## {name}\n\n{}\n\n{scope}; for short {}.\n\n```yaml\n",
        at(crd, &format!("{schema}/description")),
        short.join(", ")
    );
    page.push_str(&examples.text);
    page.push_str("```\n\n| field of `spec` | type | | example |\n|---|---|---|---|\n");
    let specs: Vec<Value> = examples.objects.iter().map(|example| part(example, "/spec")).collect();
    for field in fields(&part(crd, &format!("{schema}/properties/spec")), "", &specs.iter().collect::<Vec<_>>()) {
        let Some(example) = field.examples.first() else {
            return Err(Error::Missing(
                format!("example of spec.{}", field.path),
                format!("{EXAMPLES}/{singular}.yaml"),
            ));
        };
        page.push_str(&format!("| `{}` | {} | {} | {} |\n", field.path, field.kind, field.meaning, code(example)));
    }
    let status = part(crd, &format!("{schema}/properties/status"));
    page.push_str("\n| field of `status` | type | |\n|---|---|---|\n");
    for field in fields(&status, "", &[]) {
        page.push_str(&format!("| `{}` | {} | {} |\n", field.path, field.kind, field.meaning));
    }
    Ok(page)
}

/// A field of a schema.
struct Field<'a> {
    /// As `bfd.echoMode`, and `quotas[].namespace` in a list.
    path: String,
    kind: String,
    meaning: String,
    /// What examples have there.
    examples: Vec<&'a Value>,
}

/// The fields of an object and of what is in them, each before its own.
fn fields<'a>(schema: &Value, prefix: &str, objects: &[&'a Value]) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let examples: Vec<_> = objects.iter().filter_map(|object| object.get(name)).collect();
        found.push(Field {
            path: path.clone(),
            kind: kind_of(field),
            meaning: meaning(schema, name, field),
            examples: examples.clone(),
        });
        if is_selector(field) || name == "conditions" {
            continue;
        }
        found.extend(fields(field, &format!("{path}."), &examples));
        if let Some(items) = field.get("items").filter(|items| !is_selector(items)) {
            let items_of: Vec<_> = examples.iter().filter_map(|list| list.as_array()).flatten().collect();
            found.extend(fields(items, &format!("{path}[]."), &items_of));
        }
    }
    found
}

/// Label selectors are those of Kubernetes: nobody needs to read their fields here.
fn is_selector(schema: &Value) -> bool {
    schema.pointer("/properties/matchExpressions").is_some()
}

fn kind_of(schema: &Value) -> String {
    match (at(schema, "/type"), at(schema, "/format")) {
        _ if is_selector(schema) => "label selector".to_owned(),
        ("array", _) => format!("list of {}", kind_of(&part(schema, "/items"))),
        ("string", "date-time") => "time".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

/// What the schema says of a field: in words, then what it may be.
fn meaning(parent: &Value, name: &str, schema: &Value) -> String {
    let mut meaning = at(schema, "/description").replace('\n', " ").replace('|', "\\|");
    let mut bounds = Vec::new();
    let required = parent.get("required").and_then(Value::as_array);
    if required.is_some_and(|required| required.iter().any(|field| field == name)) {
        bounds.push("required".to_owned());
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> = values.iter().filter(|value| !value.is_null()).map(code).collect();
        bounds.push(format!("one of {}", values.join(", ")));
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => bounds.push(format!("{least} to {most}")),
        (Some(least), None) => bounds.push(format!("at least {least}")),
        _ => {}
    }
    if let Some(most) = number("maxItems") {
        bounds.push(format!("at most {most}"));
    }
    if let Some(default) = schema.get("default").filter(|_| name != "conditions") {
        bounds.push(format!("default {}", code(default)));
    }
    if !bounds.is_empty() {
        meaning.push_str(&format!(" *({})*", bounds.join("; ")));
    }
    meaning
}

/// A value on one line.
fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_has_its_kind_bounds_and_example() {
        let schema = json!({"required": ["a"], "properties": {
            "a": {"type": "array", "description": "The a.", "maxItems": 4, "items": {"type": "object", "properties": {
                "b": {"type": "integer", "description": "A b.", "minimum": 1.0, "maximum": 3.0, "default": 2},
            }}},
            "selector": {"type": "object", "properties": {"matchExpressions": {"type": "array"}}},
        }});
        let example = json!({"a": [{}, {"b": 3}], "selector": {"matchLabels": {"x": "y"}}});
        let found = fields(&schema, "", &[&example]);
        let shown: Vec<_> = found
            .iter()
            .map(|field| format!("{}: {} {} {}", field.path, field.kind, field.meaning, code(field.examples[0])))
            .collect();
        assert_eq!(
            shown,
            [
                "a: list of object The a. *(required; at most 4)* `[{},{\"b\":3}]`",
                "a[].b: integer A b. *(1 to 3; default `2`)* `3`",
                "selector: label selector  `{\"matchLabels\":{\"x\":\"y\"}}`",
            ]
        );
    }
}
