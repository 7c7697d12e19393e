//! As much of JSON Schema as `openapi.json`, ours and SRI's, uses. Anything else fails the test.

use serde_json::Value;

/// The description.
pub(super) fn openapi() -> Value {
    serde_json::from_str(include_str!("../../../openapi.json")).unwrap()
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            let found = root.pointer(name.strip_prefix('#').unwrap());
            resolved(root, found.unwrap_or_else(|| panic!("{name} is not there")))
        }
        None => schema,
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("no such type: {kind}"),
    }
}

/// Whether a value fits into a format: integers are unsigned wherever there is one.
fn has(value: &Value, format: &str) -> bool {
    match format {
        "int32" => value.as_u64().is_none_or(|value| u32::try_from(value).is_ok()),
        "float" => value.as_f64().is_none_or(|value| value.abs() <= f64::from(f32::MAX)),
        "int64" | "double" => true,
        format => panic!("no such format: {format}"),
    }
}

/// What is wrong with a value; empty: nothing.
pub(crate) fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(root, schema);
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "type" => {
                let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !kinds.iter().any(|kind| is(value, kind.as_str().unwrap())) {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {value} is none of {rule}"));
            }
            "minimum" if value.as_f64().is_some_and(|v| v < rule.as_f64().unwrap()) => {
                found.push(format!("{at}: {value} is below {rule}"));
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{at}: lacks {name}"));
                    }
                }
            }
            "properties" => {
                for (name, of) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        found.extend(faults(root, of, value, &format!("{at}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                let others = value.as_object().into_iter().flatten();
                for (name, value) in others.filter(|(name, _)| {
                    known.is_none_or(|known| !known.contains_key(name.as_str()))
                }) {
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}: {name} is not described")),
                        of => found.extend(faults(root, of, value, &format!("{at}.{name}"))),
                    }
                }
            }
            "format" if !has(value, rule.as_str().unwrap()) => {
                found.push(format!("{at}: {value} does not fit into {rule}"));
            }
            "propertyNames" => {
                let names = value.as_object().into_iter().flatten();
                for (name, _) in names {
                    found.extend(faults(root, rule, &name.as_str().into(), at));
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(root, rule, value, &format!("{at}[{index}]")));
                }
            }
            "oneOf" => {
                let fits = rule.as_array().unwrap().iter();
                let fits = fits.filter(|of| faults(root, of, value, at).is_empty()).count();
                if fits != 1 {
                    found.push(format!("{at}: fits {fits} of {rule}"));
                }
            }
            "enum" | "minimum" | "format" | "description" => {}
            keyword => panic!("{at}: no check for {keyword}"),
        }
    }
    found
}

/// The schema of a route's answer.
pub(crate) fn of<'a>(root: &'a Value, path: &str, method: &str, status: u16) -> &'a Value {
    let answer = &root["paths"][path][method]["responses"][status.to_string()];
    let schema = &answer["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} {status} is not described");
    schema
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let root = openapi();
    let schema = &root["components"]["schemas"]["Times"];
    let good = serde_json::json!({ "count": 1, "p50_ms": 0.5, "p99_ms": null });
    assert!(faults(&root, schema, &good, "").is_empty());
    for (bad, what) in [
        (serde_json::json!({ "count": -1, "p50_ms": 0.5, "p99_ms": null }), "below"),
        (serde_json::json!({ "count": "1", "p50_ms": 0.5, "p99_ms": null }), "is no"),
        (serde_json::json!({ "count": 1, "p50_ms": 0.5 }), "lacks"),
        (serde_json::json!({ "count": 1, "p50_ms": 1, "p99_ms": 1, "x": 1 }), "not described"),
    ] {
        let found = faults(&root, schema, &bad, "");
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }
}
