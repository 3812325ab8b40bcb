//! The command line of `lectern`.

mod check;
mod controlplane;
mod dataplane;
mod doctor;
mod inspect;
mod ops;
mod token;
mod up;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

/// A media node for live classes.
///
/// `lectern up` starts a whole node in the foreground and prints where to open it. On a server, systemd runs
/// `lectern controlplane` and `lectern dataplane` apart, so that one can be restarted without the other.
#[derive(Debug, Parser)]
#[command(name = "lectern", version = version(), max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole node: both processes, in the foreground
    ///
    /// Prints where to open the page, with fresh links to publish and to watch. A process that dies is
    /// started again. SIGTERM drains: nobody new is let in, and the node ends with its last session. Ctrl-C or
    /// a second SIGTERM stops both within two seconds.
    #[command(after_help = "Example:\n  lectern up --http 127.0.0.1:8080 --open-tokens")]
    Up(NodeArgs),
    /// Run the control plane: HTTP, rooms, tokens
    ///
    /// It finds the data plane at the link socket and waits for it; either may be restarted at any time.
    Controlplane(ControlplaneArgs),
    /// Run the data plane: the media process (`lectern-dataplane`)
    ///
    /// All arguments are passed on; `lectern dataplane --help` shows them.
    #[command(disable_help_flag = true)]
    Dataplane {
        /// Arguments of lectern-dataplane
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<std::ffi::OsString>,
    },
    /// Make a room token
    ///
    /// Prints the token and nothing else. Whoever has it may do what it grants until it expires.
    #[command(
        after_help = "Examples:\n  lectern token --role teacher --room math-7\n  lectern token --role student --room math-7 --publish --name Ada --ttl 90m\n  lectern token --stream-key --room math-7 --sub u-17"
    )]
    Token(token::TokenArgs),
    /// Print the effective configuration and where each value comes from
    Check(NodeArgs),
    /// Test whether this host can serve, and say what to do where it cannot
    ///
    /// Exits with 1 when a test fails; warnings do not count.
    Doctor(NodeArgs),
    /// Show what a running node holds, as JSON
    Inspect(inspect::InspectArgs),
}

/// Arguments of the commands that concern a whole node.
#[derive(Debug, Args)]
struct NodeArgs {
    /// Machine-readable output on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
struct ControlplaneArgs {
    /// Print one line of JSON on standard output once the data plane is linked
    #[arg(long)]
    json: bool,
    /// Stop when standard input reaches its end: the supervisor that held it is gone
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
    #[command(flatten)]
    flags: Flags,
}

/// `0.1.0 (commit)`.
fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("LECTERN_COMMIT"), ")")
}

/// Runs `lectern` with the arguments of this process.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(args) => up::run(&args.flags, args.json),
        Command::Controlplane(args) => controlplane::run(&args),
        Command::Dataplane { args } => dataplane::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Check(args) => check::run(&args.flags, args.json),
        Command::Doctor(args) => match doctor::run(&args.flags, args.json) {
            Ok(doctor::Verdict::Fail) => return ExitCode::FAILURE,
            Ok(doctor::Verdict::Ok | doctor::Verdict::Warn) => Ok(()),
            Err(error) => Err(error),
        },
        Command::Inspect(args) => inspect::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line: into the log when there is one, else to people.
fn complain(error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{error:#}");
    } else {
        // Nothing is left to say it with when standard error is closed.
        let _ = writeln!(io::stderr(), "lectern: {error:#}");
    }
}

/// Prints a result on standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // `lectern check | head` is no failure of ours.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::KEYS;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_of_every_command_that_runs_a_node() {
        for name in ["up", "controlplane", "check", "doctor"] {
            let command = Cli::command();
            let command = command.find_subcommand(name).unwrap();
            for key in KEYS {
                assert!(
                    command
                        .get_arguments()
                        .any(|arg| arg.get_long() == Some(&key.flag())),
                    "{name} --{}",
                    key.flag()
                );
            }
        }
    }

    #[test]
    fn a_bare_open_tokens_means_true_and_takes_no_word_from_the_next_flag() {
        let cli = Cli::try_parse_from(["lectern", "up", "--open-tokens", "--http", "127.0.0.1:0"])
            .unwrap();
        let Command::Up(args) = cli.command else {
            panic!("{cli:?}")
        };
        let values: Vec<(&str, &str)> = args
            .flags
            .values
            .iter()
            .map(|(key, text)| (key.name, text.as_str()))
            .collect();
        assert_eq!(values, [("http", "127.0.0.1:0"), ("open_tokens", "true")]);
    }

    #[test]
    fn what_follows_dataplane_is_passed_on_untouched() {
        let cli = Cli::try_parse_from(["lectern", "dataplane", "--help", "--shards", "2"]).unwrap();
        let Command::Dataplane { args } = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(args, ["--help", "--shards", "2"]);
    }
}
