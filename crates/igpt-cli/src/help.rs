//! `igpt --help`: the verbs in groups, by what people do.

use clap::{Command, CommandFactory};

use crate::Cli;

/// Titles, and the verbs below them.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Start", &["demo", "doctor", "plan"]),
    ("Train", &["pretrain", "finetune"]),
    ("Use a model", &["sample", "complete", "classify", "embed", "score", "inspect", "serve"]),
    ("Understand a model", &["eval", "probe", "audit", "report"]),
    ("Data", &["data", "palette"]),
    ("Runs", &["watch", "checkpoints"]),
    ("For developers", &["bench", "parity", "verify-resume", "completions"]),
];
/// Columns before a verb's line.
const MARGIN: usize = 16;

/// The program's flags and verbs.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let groups = groups(&command);
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
    ))
}

/// Each group with its verbs, a line each.
fn groups(command: &Command) -> String {
    let line = |name: &&str| {
        let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
        format!("  {name:<width$}{}\n", about.unwrap_or_default(), width = MARGIN - 2)
    };
    let group =
        |(title, verbs): &(&str, &[&str])| format!("{title}:\n{}\n", verbs.iter().map(line).collect::<String>());
    GROUPS.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_in_one_group_with_a_line_that_fits_a_terminal() {
        let command = Cli::command();
        let mut verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        verbs.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, verbs);
        for line in groups(&command).lines() {
            assert!(line.len() <= 100, "{line}");
        }
        let help = super::command().render_help().to_string();
        assert!(help.contains("Train:\n  pretrain      Pretrain a model") && help.contains("--version"), "{help}");
    }
}
