//! `lectern check`: the effective configuration, value by value, with origins.

use serde_json::{Map, Value, json};

use super::print;
use crate::auth::{Keys, stream_key};
use crate::config::layers::Setting;
use crate::config::{Config, Flags, absolute};

/// Prints every setting. Secrets live in files of their own; what is said of them here is their names.
pub(super) fn run(flags: &Flags, as_json: bool) -> anyhow::Result<()> {
    let (config, layers) = Config::load(flags)?;
    if let Some(path) = &config.ice_servers {
        crate::ice_servers::load(path)?;
    }
    for (name, nearest) in &layers.strangers {
        let hint = nearest.map_or_else(String::new, |key| {
            format!(": did you mean {}?", key.variable())
        });
        eprintln!("lectern: the environment variable {name} sets nothing{hint}");
    }
    let keys = config.keys_file();
    let keys = if keys.exists() {
        Some(Keys::load(keys)?.list())
    } else {
        None
    };
    let stream_keys = stream_key::check(&config.data_dir)?;
    if as_json {
        let settings: Map<String, Value> = layers
            .settings()
            .iter()
            .map(|setting| {
                let value = effective(&config, setting);
                (
                    setting.key.name.to_owned(),
                    json!({"value": value, "origin": setting.origin.to_string()}),
                )
            })
            .collect();
        let document = json!({
            "file": layers.file,
            "settings": settings,
            "keys": keys,
            "stream_keys": stream_keys,
        });
        return print(&serde_json::to_string_pretty(&document)?);
    }
    let rows: Vec<[String; 3]> = layers
        .settings()
        .iter()
        .map(|setting| {
            let value =
                effective(&config, setting).unwrap_or_else(|| format!("({})", setting.key.unset));
            [
                setting.key.name.to_owned(),
                value,
                setting.origin.to_string(),
            ]
        })
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (names, values) = (width(0), width(1));
    let mut lines: Vec<String> = rows
        .iter()
        .map(|[name, value, origin]| format!("{name:names$}  {value:values$}  {origin}"))
        .collect();
    lines.push(String::new());
    let file = absolute(&config.keys_file());
    match keys {
        None => lines.push(format!("{} is made at the first start", file.display())),
        Some(keys) => {
            for key in keys {
                let use_ = if key.signs {
                    "verifies and signs"
                } else {
                    "verifies"
                };
                lines.push(format!(
                    "key {} ({}) {use_}; its secret is in {}",
                    key.kid,
                    key.algorithm,
                    file.display()
                ));
            }
        }
    }
    if stream_keys > 0 {
        lines.push(format!(
            "{stream_keys} stream keys; only their hashes are kept"
        ));
    }
    print(&lines.join("\n"))
}

/// The value in force, `None` when there is none.
fn effective(config: &Config, setting: &Setting) -> Option<String> {
    match setting.key.name {
        // Their defaults depend on the environment, so the table cannot hold them.
        "data_dir" => Some(config.data_dir.display().to_string()),
        "link" => Some(config.link.display().to_string()),
        _ => Some(setting.text.clone()).filter(|text| !text.is_empty()),
    }
}
