//! The report: one JSON object, or a table for a person.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::machine::{self, Machine};
use crate::stats::rounded;

/// Everything a run found out. The field names are the file format of committed results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Which measurement, and the version of its fields.
    pub(crate) schema: &'static str,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// Of which source.
    pub(crate) commit: String,
    /// How to run it again.
    pub(crate) command: String,
    /// Every round, the discarded one included and marked.
    pub(crate) rounds: Vec<Value>,
    /// Medians over the rounds kept, with the conditions they hold for.
    pub(crate) medians: Map<String, Value>,
    /// What was promised.
    pub(crate) gates: Vec<Gate>,
    /// Lines of the table for a person; not part of the JSON.
    #[serde(skip)]
    pub(crate) table: Vec<String>,
}

/// Which side of a bound is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Good {
    /// A cost.
    Below,
    /// A yield.
    Above,
}

/// One promise and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Gate {
    /// The name it has in the data path's table, or a word.
    pub(crate) id: String,
    /// The bound that must hold.
    pub(crate) must: f64,
    /// The bound that would lead the field; informative.
    pub(crate) lead: f64,
    /// The median found.
    pub(crate) value: f64,
    /// What the three are counted in.
    pub(crate) unit: &'static str,
    /// Whether `value` is on the good side of `must`.
    pub(crate) pass: bool,
    /// A person is shown it only when it is missed.
    #[serde(skip)]
    quiet: bool,
}

impl Gate {
    /// Judges `value`. A value that is not a number never passes.
    pub(crate) fn judge(
        id: &str,
        good: Good,
        must: f64,
        lead: f64,
        value: f64,
        unit: &'static str,
    ) -> Gate {
        let pass = match good {
            Good::Below => value <= must,
            Good::Above => value >= must,
        };
        Gate {
            id: id.to_owned(),
            must,
            lead,
            value: rounded(value, 5),
            unit,
            pass,
            quiet: false,
        }
    }

    /// Shown to a person only when it is missed; in the JSON it stands always.
    pub(crate) fn quietly(self) -> Gate {
        Gate {
            quiet: true,
            ..self
        }
    }
}

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    GateMissed,
}

impl Report {
    /// An empty report of this machine, source and command line.
    pub(crate) fn new(schema: &'static str) -> Report {
        Report {
            schema,
            machine: Machine::this(),
            commit: machine::commit(),
            command: command_line(std::env::args()),
            rounds: Vec::new(),
            medians: Map::new(),
            gates: Vec::new(),
            table: Vec::new(),
        }
    }

    /// Whether every gate holds.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.gates.iter().all(|gate| gate.pass) {
            Verdict::Pass
        } else {
            Verdict::GateMissed
        }
    }

    /// Writes the report to standard output.
    #[expect(clippy::print_stdout, reason = "the report is this program's output")]
    pub(crate) fn print(&self, json: bool) {
        if json {
            let text = serde_json::to_string_pretty(self).expect(
                "invariant: a report holds only strings, finite numbers and maps with string keys",
            );
            println!("{text}");
        } else {
            println!("{}", self.human());
        }
    }

    fn human(&self) -> String {
        let machine = &self.machine;
        let mut lines = vec![
            format!(
                "{}, {} cores, {}, {} GiB, commit {}",
                machine.cpu,
                machine.cores,
                machine.kernel,
                machine.memory >> 30,
                self.commit
            ),
            String::new(),
        ];
        lines.extend(self.table.iter().cloned());
        if !self.gates.is_empty() {
            lines.push(String::new());
            lines.push(format!(
                "{:<24}{:>10}{:>10}{:>12}  {:<10}",
                "gate", "must", "lead", "value", "unit"
            ));
        }
        let (quiet, shown): (Vec<_>, Vec<_>) =
            self.gates.iter().partition(|gate| gate.quiet && gate.pass);
        for gate in shown {
            lines.push(format!(
                "{:<24}{:>10}{:>10}{:>12}  {:<10}{}",
                gate.id,
                gate.must,
                gate.lead,
                gate.value,
                gate.unit,
                if gate.pass { "pass" } else { "MISSED" }
            ));
        }
        if !quiet.is_empty() {
            lines.push(format!("and {} more that pass", quiet.len()));
        }
        lines.join("\n")
    }
}

/// The command line with tokens replaced: a committed result must not carry a credential.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut secret_follows = false;
    for argument in arguments {
        if secret_follows {
            words.push("***".to_owned());
            secret_follows = false;
            continue;
        }
        match argument.split_once('=') {
            Some((name @ ("--token" | "--publish-token"), _)) => words.push(format!("{name}=***")),
            Some(_) | None => {
                secret_follows = argument == "--token" || argument == "--publish-token";
                words.push(argument);
            }
        }
    }
    // The program's directory says nothing about the measurement.
    if let Some(program) = words.first_mut()
        && let Some((_, name)) = program.rsplit_once('/')
    {
        *program = name.to_owned();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(gates: Vec<Gate>) -> Report {
        Report {
            gates,
            ..Report::new("lectern-perf/test/1")
        }
    }

    #[test]
    fn the_json_has_exactly_the_agreed_fields_in_order() {
        let gate = Gate::judge("A1", Good::Below, 1.25, 1.15, 1.2, "ratio");
        let text = serde_json::to_string(&report(vec![gate])).unwrap();
        let order: Vec<usize> = [
            "schema", "machine", "commit", "command", "rounds", "medians", "gates",
        ]
        .iter()
        .map(|name| text.find(&format!("\"{name}\":")).unwrap())
        .collect();
        assert!(order.is_sorted());

        let value: Value = serde_json::from_str(&text).unwrap();
        let keys = |value: &Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(
            keys(&value),
            [
                "command", "commit", "gates", "machine", "medians", "rounds", "schema"
            ]
        );
        assert_eq!(
            keys(&value["machine"]),
            ["cores", "cpu", "kernel", "memory"]
        );
        assert_eq!(
            value["gates"][0],
            json!({"id": "A1", "must": 1.25, "lead": 1.15, "value": 1.2, "unit": "ratio", "pass": true})
        );
    }

    #[test]
    fn one_missed_gate_misses_the_run_and_no_gate_passes_it() {
        let pass = Gate::judge("delivered", Good::Above, 0.999, 1.0, 0.9995, "fraction");
        let miss = Gate::judge("A4", Good::Above, 5.5, 6.2, 5.4, "ratio");
        assert!(pass.pass);
        assert!(!miss.pass);
        assert_eq!(report(vec![pass.clone()]).verdict(), Verdict::Pass);
        assert_eq!(report(vec![pass, miss]).verdict(), Verdict::GateMissed);
        assert_eq!(report(Vec::new()).verdict(), Verdict::Pass);
    }

    #[test]
    fn a_value_that_is_not_a_number_never_passes() {
        assert!(!Gate::judge("A1", Good::Below, 1.25, 1.15, f64::NAN, "ratio").pass);
        assert!(!Gate::judge("A4", Good::Above, 5.5, 6.2, f64::NAN, "ratio").pass);
    }

    #[test]
    fn no_token_reaches_a_report() {
        let words = [
            "/usr/bin/lectern-perf",
            "forward",
            "--token",
            "s3cret",
            "--publish-token=s3cret",
            "--burst",
            "5",
        ];
        let line = command_line(words.iter().map(ToString::to_string));
        assert_eq!(
            line,
            "lectern-perf forward --token *** --publish-token=*** --burst 5"
        );
    }

    #[test]
    fn the_table_shows_each_gate_with_its_verdict() {
        let text = report(vec![Gate::judge(
            "A3",
            Good::Below,
            1.12,
            1.05,
            1.3,
            "ratio",
        )])
        .human();
        assert!(text.contains("A3"));
        assert!(text.contains("MISSED"));
    }
}
