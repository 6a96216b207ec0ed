//! `records`: record sets of a running server.

use std::io::Write;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Outcome;
use super::client::{
    Call, Client, Form, Output, Refused, ServerOptions, cell, write_json, write_plan, write_table,
};

/// List, read, write and take back record sets of a running server.
#[derive(Args)]
#[command(after_help = "\
What is written upon a record set of a private endpoint or a file goes before it, until it is taken back.

Exit status: 0 = done, 1 = there is no such record set, 2 = an error.

Examples:
  privatelink-dns records list corp.internal --type A
  privatelink-dns records put corp.internal www A 10.0.0.4 10.0.0.5 --ttl 300
  privatelink-dns records put corp.internal @ MX '10 mail1' '20 mail2.example.net.'
  privatelink-dns records put corp.internal @ TXT 'v=spf1 include:spf.example -all' --dry-run
  privatelink-dns records get corp.internal www A -o json
  privatelink-dns records delete corp.internal www A")]
pub(super) struct Records {
    #[command(subcommand)]
    verb: RecordsVerb,
}

#[derive(Subcommand)]
enum RecordsVerb {
    List(List),
    Get(Get),
    Put(Put),
    Delete(Delete),
}

/// List a zone's record sets.
#[derive(Args)]
struct List {
    /// The zone's name.
    zone: String,
    /// A name; with a `*`, which stands for any run of characters, all names like it.
    #[arg(long)]
    name: Option<String>,
    #[arg(long = "type", value_name = "TYPE")]
    rtype: Option<String>,
    /// rest, file, endpoint, update, transfer, azure-zone or built-in.
    #[arg(long)]
    origin: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// One record set.
#[derive(Args)]
struct Place {
    /// The zone's name.
    zone: String,
    /// Relative to the zone, `@` for its apex; or absolute, with a final dot.
    name: String,
    /// A, AAAA, CNAME, …
    #[arg(value_name = "TYPE")]
    rtype: String,
}

/// Print a record set, and what it goes before.
#[derive(Args)]
struct Get {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Write a record set, in the place of one that is there.
#[derive(Args)]
struct Put {
    #[command(flatten)]
    place: Place,
    /// The data of each record in master-file form without comments, one word of the shell each: '10 mail1'. TXT without
    /// quotes of its own is one text, blanks and `;` included.
    #[arg(required = true)]
    data: Vec<String>,
    /// Seconds.
    #[arg(long, default_value_t = 300)]
    ttl: u32,
    /// Only if nothing is there.
    #[arg(long)]
    new: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Take back a record set that operators wrote; what an endpoint or a file says there is served again.
#[derive(Args)]
struct Delete {
    #[command(flatten)]
    place: Place,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

impl Records {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let done = match self.verb {
            RecordsVerb::List(verb) => verb.run(out),
            RecordsVerb::Get(verb) => verb.run(out),
            RecordsVerb::Put(verb) => verb.run(out),
            RecordsVerb::Delete(verb) => verb.run(out),
        };
        match done {
            Err(error) if Refused::of(&error).is_some_and(|refused| refused.is(StatusCode::NOT_FOUND)) => {
                // An answer, and no error; nothing can be done about a closed stderr.
                let _ = writeln!(std::io::stderr(), "{error}");
                Ok(Outcome::Found)
            }
            done => done,
        }
    }
}

impl List {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let filters = [("name", &self.name), ("type", &self.rtype), ("origin", &self.origin)];
        let filters: Vec<(&str, &str)> =
            filters.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
        let client = Client::of(&self.server)?;
        let mut sets: Vec<Value> = Vec::new();
        client.each(&["zones", &self.zone, "record-sets"], &filters, |items| {
            sets.extend(items);
            Ok(())
        })?;
        match self.output.form {
            Form::Json => write_json(&Value::Array(sets), out)?,
            Form::Table => write_sets(&sets, out)?,
        }
        Ok(Outcome::Well)
    }
}

impl Place {
    fn call<'c>(&self, client: &'c Client, method: Method) -> Call<'c> {
        client.call(method, &["zones", &self.zone, "record-sets", &self.name, &self.rtype])
    }
}

impl Get {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let set = self.place.call(&client, Method::GET).send()?;
        match self.output.form {
            Form::Json => write_json(&set, out)?,
            Form::Table => {
                write_sets(std::slice::from_ref(&set), out)?;
                for offer in set["overrides"].as_array().into_iter().flatten() {
                    let (origin, records) = (origin(&offer["origin"]), cell(&offer["records"]));
                    writeln!(out, "it goes before {origin}: {} {records}", cell(&offer["ttl"]))?;
                }
            }
        }
        Ok(Outcome::Well)
    }
}

impl Put {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let call = || {
            let call = self.place.call(&client, Method::PUT);
            let call = if self.dry_run { call.query("dry_run", "true") } else { call };
            call.json(json!({"ttl": self.ttl, "records": self.data}))
        };
        let done = if self.new { call().header("if-none-match", "*").send() } else { call().send() };
        self.tell_quoting(done.is_err());
        let set = match done {
            // It is there: this takes its place, in whatever state it is.
            Err(error)
                if Refused::of(&error)
                    .is_some_and(|refused| refused.is(StatusCode::PRECONDITION_REQUIRED)) =>
            {
                call().header("if-match", "*").send()?
            }
            done => done?,
        };
        write_done(&set, self.dry_run, self.output.form, out)
    }
}

impl Put {
    /// Tells how records are quoted where words of one look like records of their own.
    fn tell_quoting(&self, is_refused: bool) {
        let Some(whole) = quoted_whole(&self.place.rtype, &self.data, is_refused) else { return };
        // Nothing can be done about a closed stderr.
        let _ = writeln!(
            std::io::stderr(),
            "note: these are {} records, one a word; is one meant? A record with blanks in it is written in quotes: {whole}",
            self.data.len()
        );
    }
}

/// The words that a shell made of one record, as one word again; `None` if they may well be records.
fn quoted_whole(rtype: &str, data: &[String], is_refused: bool) -> Option<String> {
    const OF_SEVERAL_WORDS: [&str; 12] =
        ["CAA", "DS", "HTTPS", "MX", "NAPTR", "SOA", "SRV", "SSHFP", "SVCB", "TLSA", "URI", "CERT"];
    let is_text = ["TXT", "SPF"].iter().any(|it| it.eq_ignore_ascii_case(rtype));
    let has_words = OF_SEVERAL_WORDS.iter().any(|it| it.eq_ignore_ascii_case(rtype));
    let is_bare = |word: &String| !word.contains([' ', '"']);
    let looks_split = data.len() > 1 && data.iter().all(is_bare) && (is_text || has_words && is_refused);
    looks_split.then(|| format!("'{}'", data.join(" ").replace('\'', "'\\''")))
}

impl Delete {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let call = self.place.call(&client, Method::DELETE).header("if-match", "*");
        let call = if self.dry_run { call.query("dry_run", "true") } else { call };
        let set = call.send()?;
        match set {
            Value::Null => Ok(Outcome::Well),
            set => write_done(&set, self.dry_run, self.output.form, out),
        }
    }
}

fn write_done(done: &Value, is_plan: bool, form: Form, out: &mut impl Write) -> anyhow::Result<Outcome> {
    match form {
        Form::Json => write_json(done, out)?,
        Form::Table if is_plan => write_plan(done, out)?,
        Form::Table => write_sets(std::slice::from_ref(done), out)?,
    }
    Ok(Outcome::Well)
}

fn write_sets(sets: &[Value], out: &mut impl Write) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for set in sets {
        let mut origin = origin(&set["origin"]);
        if set["served"] == false {
            origin += &format!(", not served: {}", cell(&set["why_not_served"]));
        }
        for record in set["records"].as_array().into_iter().flatten() {
            rows.push(vec![
                cell(&set["name"]),
                cell(&set["ttl"]),
                cell(&set["type"]),
                cell(record),
                std::mem::take(&mut origin),
            ]);
        }
    }
    Ok(write_table(&["NAME", "TTL", "TYPE", "DATA", "ORIGIN"], &rows, out)?)
}

fn origin(origin: &Value) -> String {
    match origin["endpoint"]["id"].as_str() {
        Some(id) => format!("endpoint {}", super::words::last_segment(id)),
        None => cell(&origin["kind"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_look_like_one_record_are_put_together() {
        let whole = |rtype, data: &[&str], is_refused| {
            let data: Vec<String> = data.iter().map(|word| (*word).to_owned()).collect();
            quoted_whole(rtype, &data, is_refused)
        };
        assert_eq!(whole("MX", &["10", "mail"], true).as_deref(), Some("'10 mail'"));
        assert_eq!(whole("txt", &["v=spf1", "-all"], false).as_deref(), Some("'v=spf1 -all'"));
        assert_eq!(whole("TXT", &["it's", "so"], false).as_deref(), Some("'it'\\''s so'"));
        for (rtype, data, is_refused) in [
            ("A", &["10.0.0.4", "10.0.0.5"][..], true),
            ("MX", &["10 a", "20 b"], true),
            ("MX", &["10 a"], true),
            ("TXT", &["\"a b\"", "c"], false),
            ("TXT", &["a"], false),
        ] {
            assert_eq!(whole(rtype, data, is_refused), None, "{rtype} {data:?}");
        }
    }
}
