//! One query as a line.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::super::moment::Moment;
use super::super::{Kind, Seen};
use super::settings::Format;
use crate::dns::header::HEADER_BYTES;
use crate::dns::{Gist, RawQuestion};
use crate::telemetry::{Quoted, when};

/// What is told of a query. As JSON it is one object.
#[derive(Serialize)]
pub(super) struct Line {
    time: String,
    client: Option<String>,
    transport: &'static str,
    /// Absent where the message has no question that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    rtype: Option<String>,
    /// `null` where there was no reply.
    rcode: Option<String>,
    path: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<SocketAddr>,
    duration_ms: Option<f64>,
    reply_bytes: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extended_errors: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    code: u16,
    text: String,
}

impl Line {
    /// The line of a client's query; `None` for others.
    pub fn of(seen: Seen<'_>, gist: Option<&Gist<'_>>, moment: &Moment) -> Option<Line> {
        let Kind::Client { path, upstream } = seen.event.kind else { return None };
        let asked = RawQuestion::read(seen.query, HEADER_BYTES);
        let errors = gist.iter().flat_map(|gist| &gist.extended_errors);
        Some(Line {
            time: when::rfc3339(moment.time_of(seen.event.asked)),
            client: seen.event.from.map(|from| shown(from.address, from.port)),
            transport: seen.event.transport.word(),
            name: asked.map(|asked| asked.name.to_buf().to_string()),
            rtype: asked.map(|asked| asked.rtype.to_string()),
            rcode: gist.map(|gist| gist.rcode.to_string()),
            path: path.word(),
            upstream,
            // To the microsecond: more digits tell of the clock alone.
            duration_ms: seen.event.took().map(|took| took.as_micros() as f64 / 1000.0),
            reply_bytes: seen.reply.len(),
            extended_errors: errors
                .map(|(code, text)| Reason { code: *code, text: String::from_utf8_lossy(text).into_owned() })
                .collect(),
        })
    }

    /// Appends it, with its end.
    pub fn write(&self, format: Format, bytes: &mut Vec<u8>) {
        let written = match format {
            Format::Json => serde_json::to_writer(&mut *bytes, self).map_err(Into::into),
            Format::Text => self.write_text(bytes),
        };
        written.expect("memory takes what is written");
        bytes.push(b'\n');
    }

    fn write_text(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let Line { time, transport, path, .. } = self;
        let [client, name, rtype, rcode] = [&self.client, &self.name, &self.rtype, &self.rcode].map(or_dash);
        write!(out, "{time} {client} {transport} {name} {rtype} {rcode} {path}")?;
        if let Some(ms) = self.duration_ms {
            write!(out, " {ms}ms")?;
        }
        write!(out, " {} bytes", self.reply_bytes)?;
        if let Some(upstream) = self.upstream {
            write!(out, " upstream={upstream}")?;
        }
        for Reason { code, text } in &self.extended_errors {
            write!(out, " ede={code}")?;
            if !text.is_empty() {
                write!(out, " ({})", Quoted(text))?;
            }
        }
        Ok(())
    }
}

fn shown(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::made::{event, query};
    use super::super::super::{AnswerPath, Event};
    use super::*;

    /// A reply that failed for two reasons.
    fn failed(query: &[u8]) -> Vec<u8> {
        let mut reply = query.to_vec();
        (reply[2], reply[3], reply[11]) = (0x81, 0x82, 1);
        let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\x13\0\x0f\0\x09\0\x16no\x1b[2J\0\x0f\0\x02\0\x00";
        reply.extend_from_slice(opt);
        let bytes = opt.len() - 11;
        let at = reply.len() - opt.len() + 9;
        reply[at..at + 2].copy_from_slice(&(bytes as u16).to_be_bytes());
        let text = at + 4;
        reply[text..text + 2].copy_from_slice(&8_u16.to_be_bytes());
        reply
    }

    fn line(event: &Event, query: &[u8], reply: &[u8], format: Format) -> String {
        let seen = Seen { event, query, reply, zone: &[] };
        let line = Line::of(seen, Gist::read(reply).as_ref(), &Moment::now()).unwrap();
        let mut bytes = Vec::new();
        line.write(format, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    fn failing() -> Event {
        let upstream = Some("192.0.2.53:53".parse().unwrap());
        Event { kind: Kind::Client { path: AnswerPath::Error, upstream }, ..event() }
    }

    #[test]
    fn a_line_of_json_tells_all_there_is_of_a_failing_query() {
        let query = query("app.corp.example.");
        let text = line(&failing(), &query, &failed(&query), Format::Json);
        assert_eq!(text.matches('\n').count(), 1);
        let mut value: Value = serde_json::from_str(&text).unwrap();
        let time = value.as_object_mut().unwrap().remove("time").unwrap();
        assert!(when::parse(time.as_str().unwrap()).is_some(), "{time}");
        let expected = json!({
            "client": "10.0.0.5:4242", "transport": "udp", "name": "app.corp.example.", "type": "A",
            "rcode": "SERVFAIL", "path": "error", "upstream": "192.0.2.53:53", "duration_ms": 1.5,
            "reply_bytes": failed(&query).len(),
            "extended_errors": [{ "code": 22, "text": "no\u{1b}[2J" }, { "code": 0, "text": "" }],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_line_of_text_says_the_same_and_steers_no_terminal() {
        let query = query("app.corp.example.");
        let text = line(&failing(), &query, &failed(&query), Format::Text);
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(when::parse(time).is_some(), "{time}");
        let bytes = failed(&query).len();
        assert_eq!(
            rest,
            format!(
                "10.0.0.5:4242 udp app.corp.example. A SERVFAIL error 1.5ms {bytes} bytes upstream=192.0.2.53:53 \
                 ede=22 (no\u{fffd}[2J) ede=0\n"
            )
        );
    }

    #[test]
    fn what_is_no_question_and_what_got_no_reply_has_a_line_too() {
        let dropped = Event { answered: None, ..event() };
        let text = line(&dropped, b"\0", &[], Format::Text);
        assert!(text.ends_with(" 10.0.0.5:4242 udp - - - authoritative 0 bytes\n"), "{text}");
        let value: Value = serde_json::from_str(&line(&dropped, b"\0", &[], Format::Json)).unwrap();
        assert_eq!((&value["rcode"], &value["duration_ms"]), (&Value::Null, &Value::Null));
        assert!(value.get("name").is_none() && value.get("upstream").is_none());
    }
}
