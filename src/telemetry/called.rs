//! How this program is called, for messages that tell which command to run next: it shall read the same config.

use std::path::Path;
use std::sync::OnceLock;

/// What a command line has once, so there is one for the process.
static OPTIONS: OnceLock<String> = OnceLock::new();

/// Has all commands that are advised from now on name this config; the first call holds.
pub fn call_with_config(file: &Path) {
    // Whoever calls again reads the same command line.
    let _ = OPTIONS.set(option(file));
}

/// A command to run, in backticks: `command("sync --once")` is `privatelink-dns sync --once -c FILE`.
pub fn command(arguments: impl std::fmt::Display) -> String {
    let options = OPTIONS.get().map(String::as_str).unwrap_or_default();
    format!("`privatelink-dns {arguments}{options}`")
}

fn option(file: &Path) -> String {
    let file = file.display().to_string();
    let is_plain = |char: char| char.is_alphanumeric() || "/._-+=:,@%".contains(char);
    match file.chars().all(is_plain) {
        true => format!(" -c {file}"),
        // As a shell takes it for one word.
        false => format!(" -c '{}'", file.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_word_of_a_shell() {
        assert_eq!(option(Path::new("config/quickstart.toml")), " -c config/quickstart.toml");
        assert_eq!(option(Path::new("it's here/c.toml")), " -c 'it'\\''s here/c.toml'");
        assert_eq!(command("doctor"), "`privatelink-dns doctor`");
    }
}
