//! The lode binary: from the command line to the command.

mod commands;

use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use lode::cli::{self, Cli, Command, ConfigCommand};
use lode::config::{self, ConfigError, Resolved, Surroundings};
use lode::explain::{Exit, Explain, Explanation};

fn main() -> ExitCode {
    let args = cli::with_command(std::env::args_os());
    match Cli::try_parse_from(&args) {
        Ok(cli) => run(cli.command),
        Err(error) => usage(error),
    }
}

fn run(command: Command) -> ExitCode {
    let around = Surroundings::of_process();
    match command {
        Command::Mine(args) => {
            if args.report.no_color {
                anstream::ColorChoice::Never.write_global();
            }
            with(config::mine(&args, &around), commands::mine)
        }
        Command::Bench(args) => with(config::bench(&args, &around), commands::bench),
        Command::Devices(args) => finish(commands::devices(args.json)),
        Command::Pool(args) => with(config::pool_server(&args, &around), commands::pool),
        Command::ProbeKernel(args) => print(&commands::probe_kernel(&args)).into(),
        Command::Config(ConfigCommand::Check(args)) => {
            let mut mine = args.mine;
            if let Some(file) = args.file {
                mine.config = Some(file);
            }
            match config::mine(&mine, &around) {
                Ok(resolved) => {
                    tell(&resolved);
                    print(&config::print(&resolved.facts)).into()
                }
                Err(errors) => refuse(&errors),
            }
        }
        Command::Config(ConfigCommand::Example) => print(config::EXAMPLE).into(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lode", &mut script);
            print(&String::from_utf8_lossy(&script)).into()
        }
    }
}

/// A command, to be run with its settings.
type Run<T> = fn(T) -> Result<Exit, Explanation>;

/// Runs a command with its settings, or says what is wrong with them.
fn with<T>(resolved: Result<Resolved<T>, Vec<ConfigError>>, command: Run<T>) -> ExitCode {
    match resolved {
        Ok(resolved) => {
            tell(&resolved);
            finish(command(resolved.settings))
        }
        Err(errors) => refuse(&errors),
    }
}

fn finish(ended: Result<Exit, Explanation>) -> ExitCode {
    ended
        .unwrap_or_else(|explanation| {
            complain(&explanation.to_string());
            explanation.exit
        })
        .into()
}

fn refuse(errors: &[ConfigError]) -> ExitCode {
    for error in errors {
        complain(&error.explain().to_string());
    }
    Exit::Usage.into()
}

fn tell<T>(resolved: &Resolved<T>) {
    for notice in &resolved.notices {
        say("warning", AnsiColor::Yellow, &notice.to_string());
    }
}

fn complain(text: &str) {
    say("error", AnsiColor::Red, text);
}

/// Writes to standard error, which may be closed: then nobody listens.
fn say(kind: &str, color: AnsiColor, text: &str) {
    let style = Style::new().bold().fg_color(Some(color.into()));
    let _ = writeln!(anstream::stderr(), "{style}{kind}:{style:#} {text}");
}

/// Writes to standard output.
fn print(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Ok,
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            Exit::Failed
        }
    }
}

/// Prints what clap has to say: help, the version, or what is wrong with the command line.
fn usage(mut error: clap::Error) -> ExitCode {
    let kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => ContextKind::InvalidArg,
    };
    let given = match error.get(kind) {
        Some(ContextValue::String(given)) => given.clone(),
        _ => String::new(),
    };
    if given.contains('@') {
        // A misplaced URL may carry a password.
        error.insert(kind, ContextValue::String(config::without_credentials(&given)));
    }
    let _ = error.print();
    let misplaced = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    if let Some(hint) = cli::hint(&given).filter(|_| misplaced) {
        say("hint", AnsiColor::Cyan, hint);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}
