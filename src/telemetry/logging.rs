//! Logs: text for people or JSON for collectors, on stderr.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::filter::{Filter, FilterError};

/// The variable that overrides `log_level`.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// How much is logged, and in what form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    pub log_format: LogFormat,
    /// `RUST_LOG` outranks it.
    pub log_level: Filter,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Time, level, message, fields.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{FILTER_VARIABLE}: {0}")]
    Variable(#[source] FilterError),
    #[error("`{0}` is not a log format: text or json")]
    Format(String),
    #[error("logging has begun already")]
    Begun,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<LogFormat, LoggingError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(LoggingError::Format(other.to_owned())),
        }
    }
}

/// How lines come to be; a reload exchanges it.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// The log of the process, if it has begun.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    lines: reload::Handle<Lines, Registry>,
    style: Style,
}

/// Sends the logs of the whole process to stderr, once.
pub fn init(settings: &Settings) -> Result<(), LoggingError> {
    // https://no-color.org
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = if io::stderr().is_terminal() && !no_color { Style::Coloured } else { Style::Plain };
    let filter = filter(env::var(FILTER_VARIABLE).ok().as_deref(), settings)?;
    let (layer, lines) = reload::Layer::new(lines(settings.log_format, filter, style, io::stderr));
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LoggingError::Begun)?;
    LOG.set(Log { lines, style }).map_err(|_| LoggingError::Begun)
}

/// Goes on with other settings; without [`init`] there is no log of ours, and nothing to do.
pub fn reload(settings: &Settings) -> Result<(), LoggingError> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let filter = filter(env::var(FILTER_VARIABLE).ok().as_deref(), settings)?;
    // It fails for a subscriber that is gone, and that of the process never is.
    log.lines
        .reload(lines(settings.log_format, filter, log.style, io::stderr))
        .map_err(|_| LoggingError::Begun)
}

/// Whether the environment says what is logged, whatever config says.
pub fn is_outranked() -> bool {
    env::var(FILTER_VARIABLE).is_ok_and(|text| !text.trim().is_empty())
}

/// Whether lines carry colours, which only a terminal understands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Coloured,
    Plain,
}

fn filter(variable: Option<&str>, settings: &Settings) -> Result<EnvFilter, LoggingError> {
    match variable.and_then(Filter::of_variable) {
        Some(filter) => filter.map_err(LoggingError::Variable),
        None => Ok(settings.log_level.to_env()),
    }
}

fn lines<W>(format: LogFormat, filter: EnvFilter, style: Style, writer: W) -> Lines
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(style == Style::Coloured).with_target(false);
            let lines = lines.with_writer(OneLine { writer, style });
            Box::new(filter.and_then(lines).and_then(filter_fn(is_no_echo)))
        }
        LogFormat::Json => {
            let lines = lines.with_writer(writer).json().flatten_event(true);
            let lines = lines.with_current_span(false).with_span_list(false);
            Box::new(filter.and_then(lines).and_then(filter_fn(is_no_echo)))
        }
    }
}

/// Whether an event is one that writing it does not cause again.
// What watches files tells of each change, that of the log itself included where it lies beside them.
fn is_no_echo(event: &Metadata<'_>) -> bool {
    let is_watching = event.target().split("::").next() == Some("notify");
    !is_watching || *event.level() <= Level::INFO
}

/// Writes each event as one line: what stands in a file's or an endpoint's name forges no event and steers no terminal.
struct OneLine<W> {
    writer: W,
    style: Style,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLine { writer: self.writer.make_writer(), style: self.style }
    }
}

impl<W: Write> Write for OneLine<W> {
    // The formatter writes an event at once, with the one line break that is its own at the end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        let mut whole = String::with_capacity(text.len());
        for (at, char) in line.char_indices() {
            let is_colour = self.style == Style::Coloured && begins_with_colour(&line[at..]);
            match char.is_control() && !is_colour {
                true => whole.extend(char.escape_default()),
                false => whole.push(char),
            }
        }
        whole.push_str(end);
        self.writer.write_all(whole.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether a text begins with an escape sequence that does no more than to change colours.
fn begins_with_colour(text: &str) -> bool {
    let behind = text
        .strip_prefix("\x1b[")
        .map(|codes| codes.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    behind.is_some_and(|behind| behind.starts_with('m'))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: &Settings, variable: Option<&str>, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = filter(variable, settings).unwrap();
        let lines_of = lines(settings.log_format, filter, Style::Plain, move || writer.clone());
        tracing::subscriber::with_default(Registry::default().with(lines_of), log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_has_time_level_message_and_fields() {
        let text = logged(&Settings::default(), None, || {
            tracing::debug!("not seen");
            tracing::info!(zone.apex = "corp.internal.", changes = 3, "Synced");
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(rest.trim(), "INFO Synced zone.apex=\"corp.internal.\" changes=3");
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        for format in ["text", "json"] {
            let settings = Settings { log_format: format.parse().unwrap(), ..Settings::default() };
            let forged = "pe\n2026-01-01T00:00:00Z ERROR All is lost\r\x1b[2K";
            let text = logged(&settings, None, || tracing::info!(name = %forged, "Synced {forged}"));
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && !text.contains(['\r', '\x1b']), "{text:?}");
        }
    }

    #[test]
    fn colours_are_all_that_an_escape_sequence_may_do() {
        let mut line = OneLine { writer: Vec::new(), style: Style::Coloured };
        line.write_all(b"\x1b[1;32mINFO\x1b[0m \x1b[2J\x1b]0;x\x07\n").unwrap();
        assert_eq!(line.writer, b"\x1b[1;32mINFO\x1b[0m \\u{1b}[2J\\u{1b}]0;x\\u{7}\n");
    }

    #[test]
    fn json_has_the_fields_at_its_top() {
        let settings = Settings { log_format: "json".parse().unwrap(), ..Settings::default() };
        let text = logged(&settings, None, || tracing::warn!(changes = 3, "Synced"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["changes"]),
            (&"WARN".into(), &"Synced".into(), &3.into())
        );
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn the_variable_outranks_the_setting_unless_it_is_empty() {
        let warn = Settings { log_level: "warn".parse().unwrap(), ..Settings::default() };
        assert_eq!(logged(&warn, None, || tracing::info!("quiet")), "");
        assert_eq!(logged(&warn, Some(" "), || tracing::info!("quiet")), "");
        assert!(logged(&warn, Some("info"), || tracing::info!("loud")).contains("loud"));
    }

    #[test]
    fn what_watches_files_does_not_tell_of_the_log_s_own_growth() {
        for format in ["text", "json"] {
            let settings = Settings { log_format: format.parse().unwrap(), ..Settings::default() };
            let text = logged(&settings, Some("trace,notify=trace"), || {
                tracing::trace!(target: "notify::inotify", "the log was written");
                tracing::info!(target: "notify::inotify", "told");
                tracing::trace!(target: "notifying", "told as well");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
        }
    }

    #[test]
    fn level_and_format_are_exchanged_while_the_log_goes_on() {
        let kept = Kept::default();
        let writer = kept.clone();
        let of = |format: LogFormat, level: &str| {
            let (writer, level) = (writer.clone(), level.parse::<Filter>().unwrap());
            lines(format, level.to_env(), Style::Plain, move || writer.clone())
        };
        let (layer, handle) = reload::Layer::new(of(LogFormat::Text, "info"));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let tell = |round: u8| {
                tracing::info!(round, "told");
                tracing::debug!(round, "told at length");
            };
            tell(1);
            handle.reload(of(LogFormat::Json, "debug")).unwrap();
            tell(2);
            handle.reload(of(LogFormat::Text, "off")).unwrap();
            tell(3);
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 3 && lines[0].ends_with("INFO told round=1"), "{text}");
        assert!(lines[1].starts_with('{') && lines[2].contains("told at length"), "{text}");
    }

    #[test]
    fn bad_settings_are_named() {
        let settings = Settings::default();
        let error = filter(Some("verbose"), &settings).unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG: `verbose` is no log level"), "{error}");
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("`xml`"));
    }
}
