//! Where a value comes from: the command line, else the environment, else the file, else the default.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::ConfigError;
use super::table::{self, KEYS, Key, VARIABLE_PREFIX};
use super::values::Value;

/// Searched in this order when `--config` is not given.
pub const FILES: [&str; 2] = ["./lectern.toml", "/etc/lectern/lectern.toml"];

/// The flag and the key's neighbour that name the file itself.
const CONFIG: &str = "config";

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// One value before it is understood.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which.
    pub key: &'static Key,
    /// The value; empty when there is none.
    pub text: String,
    /// Who set it.
    pub origin: Origin,
}

impl Setting {
    /// The place to change the value, as an operator would look for it.
    fn place(&self) -> String {
        match &self.origin {
            Origin::Default => format!("the default of `{}`", self.key.name),
            Origin::File(path) => format!("`{}` in {}", self.key.name, path.display()),
            Origin::Environment => self.key.variable(),
            Origin::Flag => format!("--{}", self.key.flag()),
        }
    }
}

/// What the command line sets: one optional `--flag` for every key of the table, and `--config`.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// The flags that were given.
    pub values: Vec<(&'static Key, String)>,
}

impl Flags {
    /// The same flags with `name` set to `text`.
    ///
    /// # Panics
    /// When the table has no such key.
    #[must_use]
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Flags {
        let key = table::find(name).expect("invariant: only keys of the table are set");
        self.values.push((key, text.into()));
        self
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .help(
                    "Configuration file [default: ./lectern.toml, else /etc/lectern/lectern.toml]",
                )
                .help_heading("Configuration"),
        );
        KEYS.iter().fold(command, |command, key| {
            let default = if key.default.is_empty() {
                key.unset
            } else {
                key.default
            };
            let mut arg = Arg::new(key.name)
                .long(key.flag())
                .value_name(key.value_name)
                .help(format!(
                    "{} [default: {default}] [env: {}]",
                    key.help,
                    key.variable()
                ))
                .help_heading("Configuration")
                .allow_hyphen_values(true)
                .action(ArgAction::Set);
            if key.value_name == "BOOL" {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, clap::Error> {
        let values = KEYS
            .iter()
            .filter_map(|key| Some((key, matches.get_one::<String>(key.name)?.clone())))
            .collect();
        Ok(Flags {
            config: matches.get_one::<String>(CONFIG).map(PathBuf::from),
            values,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Flags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Every setting with its origin, and the file that was read.
#[derive(Clone, Debug)]
pub struct Layers {
    settings: Vec<Setting>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// `LECTERN_` variables that name no setting, with the setting that was probably meant. Not an
    /// error: other programs of a deployment may have variables beginning alike.
    pub strangers: Vec<(String, Option<&'static Key>)>,
}

impl Layers {
    /// Puts the layers together.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML or holds an unknown key.
    pub fn gather(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Layers, ConfigError> {
        let mut layers = Layers {
            settings: KEYS
                .iter()
                .map(|key| Setting {
                    key,
                    text: key.default.to_owned(),
                    origin: Origin::Default,
                })
                .collect(),
            file: None,
            strangers: Vec::new(),
        };
        let environment: Vec<(String, String)> = environment
            .into_iter()
            .filter_map(|(name, text)| {
                Some((
                    name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase(),
                    text,
                ))
            })
            .collect();
        let named = |name: &str| {
            environment
                .iter()
                .find(|(variable, _)| variable == name)
                .map(|(_, text)| text)
        };
        let chosen = flags
            .config
            .clone()
            .or_else(|| named(CONFIG).map(PathBuf::from));
        layers.read_file(chosen)?;
        for (name, text) in &environment {
            match table::find(name) {
                Some(key) => layers.set(key, text.clone(), Origin::Environment),
                None if name == CONFIG => {}
                None => layers.strangers.push((
                    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase()),
                    table::nearest(name),
                )),
            }
        }
        for (key, text) in &flags.values {
            layers.set(key, text.clone(), Origin::Flag);
        }
        Ok(layers)
    }

    /// Every setting, in the table's order.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The setting of this name.
    ///
    /// # Panics
    /// When the table has no such key.
    #[must_use]
    pub fn setting(&self, name: &str) -> &Setting {
        self.settings
            .iter()
            .find(|setting| setting.key.name == name)
            .expect("invariant: only keys of the table are asked for")
    }

    /// The setting of this name, understood.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the place, the text and what was expected.
    pub fn parse<T: Value>(&self, name: &str) -> Result<T, ConfigError> {
        let setting = self.setting(name);
        T::from_text(&setting.text).ok_or_else(|| ConfigError::Value {
            place: setting.place(),
            text: setting.text.clone(),
            expected: T::EXPECTED,
        })
    }

    /// A value that cannot be used together with others; `fix` says what to do.
    pub(super) fn conflict(&self, name: &str, fix: impl Into<String>) -> ConfigError {
        let setting = self.setting(name);
        ConfigError::Conflict {
            place: setting.place(),
            text: setting.text.clone(),
            fix: fix.into(),
        }
    }

    fn set(&mut self, key: &'static Key, text: String, origin: Origin) {
        if let Some(setting) = self
            .settings
            .iter_mut()
            .find(|setting| setting.key.name == key.name)
        {
            setting.text = text;
            setting.origin = origin;
        }
    }

    fn read_file(&mut self, chosen: Option<PathBuf>) -> Result<(), ConfigError> {
        let Some(path) = chosen.or_else(|| {
            FILES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file())
                .map(Path::to_owned)
        }) else {
            return Ok(());
        };
        let text = std::fs::read_to_string(&path).map_err(|cause| ConfigError::Unreadable {
            path: path.clone(),
            cause,
        })?;
        let values: toml::Table =
            text.parse()
                .map_err(|error: toml::de::Error| ConfigError::NotToml {
                    path: path.clone(),
                    message: error.to_string(),
                })?;
        for (name, value) in dotted(values) {
            let Some(key) = table::find(&name) else {
                return Err(ConfigError::UnknownKey {
                    path,
                    nearest: table::nearest(&name).map(|key| key.name),
                    name,
                });
            };
            let text = flat(&value).ok_or_else(|| ConfigError::Value {
                place: format!("`{}` in {}", key.name, path.display()),
                text: value.to_string(),
                expected: "text, a number, true, false, or a list of texts",
            })?;
            self.set(key, text, Origin::File(path.clone()));
        }
        self.file = Some(path);
        Ok(())
    }
}

/// The file's keys with those of tables by their dotted names. A table that no setting stands in is a
/// value of the wrong kind, and is left for the caller to refuse.
fn dotted(values: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::with_capacity(values.len());
    for (name, value) in values {
        if let toml::Value::Table(inner) = &value
            && table::find(&name).is_none()
        {
            let of =
                |(key, value): (&String, &toml::Value)| (format!("{name}.{key}"), value.clone());
            flat.extend(inner.iter().map(of));
        } else {
            flat.push((name, value));
        }
    }
    flat
}

/// The value as flag and environment would spell it.
fn flat(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(flat)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
