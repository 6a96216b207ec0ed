//! What operators wrote that looks cut: earlier versions left out what followed a `;`, and made a string of each word.

use super::Finding;
use crate::config::Config;
use crate::dns::{RecordSet, RecordType, rdata};
use crate::persist::{self, Entry, Stored};
use crate::telemetry::command;

/// Sets told one by one; of more the number is told.
const SETS_TOLD_MAX: usize = 20;

/// Looks into the store, beside a server that runs.
pub(super) async fn of_store(config: &Config) -> Vec<Finding> {
    // Looking at a store makes none.
    if config.admin.store.file().is_some_and(|file| !file.exists()) || !config.admin.has_store() {
        return Vec::new();
    }
    match persist::look(&config.admin.store).await {
        Ok(stored) => of_stored(&stored),
        Err(error) => vec![Finding::note(
            format!("the store cannot be looked at for text that was cut: {error}"),
            "run this as the server's user, where the store can be reached",
        )],
    }
}

fn of_stored(stored: &Stored) -> Vec<Finding> {
    let mut cut: Vec<(String, &str)> = Vec::new();
    for (entry, _) in &stored.entries {
        if let Entry::RecordSet { zone, name, set } = entry
            && let Some(why) = suspicion(set)
        {
            let data: Vec<String> = set.records().map(|data| rdata::to_text(set.rtype, data)).collect();
            let place = name.borrow().relative_to(zone.borrow());
            cut.push((format!("{zone} {place} {} {}", set.rtype, data.join(", ")), why));
        }
    }
    cut.sort_unstable();
    let more = cut.len().saturating_sub(SETS_TOLD_MAX);
    let mut findings: Vec<Finding> = cut
        .iter()
        .take(SETS_TOLD_MAX)
        .map(|(what, why)| {
            let put = command("records put ZONE NAME TYPE DATA");
            let advice = format!("if that is not what was meant, write it again: {put}");
            Finding::note(format!("{what}: {why}"), advice)
        })
        .collect();
    if more > 0 {
        findings.push(Finding::note(
            format!("{more} more TXT and CAA record sets look cut"),
            "write those above again, and run doctor once more",
        ));
    }
    findings
}

/// Why a set may not be what its operator wrote.
fn suspicion(set: &RecordSet) -> Option<&'static str> {
    let of_record: fn(&[u8]) -> Option<&'static str> = match set.rtype {
        RecordType::TXT | RecordType::SPF => of_text,
        RecordType::CAA => of_caa,
        _ => return None,
    };
    set.records().find_map(of_record)
}

/// Tags that are followed by more in every text that has them (RFC 7489, 6376, 8461, 8460).
const BEGINNINGS: [&str; 6] = ["v=DMARC1", "v=DKIM1", "v=STSv1", "v=TLSRPTv1", "v=BIMI1", "k=rsa"];

fn of_text(data: &[u8]) -> Option<&'static str> {
    let strings = strings(data);
    let first = strings.first()?;
    if strings.len() == 1
        && BEGINNINGS.iter().any(|beginning| beginning.as_bytes().eq_ignore_ascii_case(first))
    {
        return Some("it ends where a `;` may have stood");
    }
    // Strings that were split by hand keep their blanks.
    let is_word = |string: &&[u8]| !string.is_empty() && string.len() < 255 && !string.contains(&b' ');
    let is_tagged = first.starts_with(b"v=");
    (is_tagged && strings.len() > 1 && strings.iter().all(is_word))
        .then_some("it is a string for each word, which readers join without blanks")
}

fn of_caa(data: &[u8]) -> Option<&'static str> {
    let (length, rest) = data.get(1..)?.split_first()?;
    let (tag, value) = rest.split_at_checked(usize::from(*length))?;
    let has_parameters = [&b"issue"[..], b"issuewild", b"issuemail", b"issuevmc"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(tag));
    (has_parameters && !value.contains(&b';'))
        .then_some("it has no parameters; any that stood behind a `;` were left out")
}

fn strings(data: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut strings) = (data, Vec::new());
    while let Some((length, behind)) = rest.split_first()
        && let Some((string, behind)) = behind.split_at_checked(usize::from(*length))
    {
        strings.push(string);
        rest = behind;
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{NameRef, Ttl};

    #[test]
    fn what_looks_cut_is_told_and_what_is_whole_is_not() {
        for (rtype, text, is_cut) in [
            ("TXT", "v=DMARC1", true),
            ("TXT", "v=DKIM1", true),
            ("TXT", "v=spf1 include:x -all", true),
            ("TXT", "\"v=spf1 include:x -all\"", false),
            ("TXT", "\"v=spf1 include:x\" \" -all\"", false),
            ("TXT", "\"v=DMARC1; p=none\"", false),
            ("TXT", "hello world", false),
            ("TXT", "\"\"", false),
            ("CAA", "0 issue ca.example", true),
            ("CAA", "0 issue \"ca.example; accounturi=x\"", false),
            ("CAA", "0 iodef mailto:a@b.example", false),
            ("A", "10.0.0.1", false),
        ] {
            let rtype: RecordType = rtype.parse().unwrap();
            let data = rdata::from_text(rtype, text, NameRef::ROOT).unwrap();
            let set = RecordSet::new(rtype, Ttl::from_secs(60).unwrap(), [data]).unwrap();
            assert_eq!(suspicion(&set).is_some(), is_cut, "{rtype} {text}");
        }
    }

    #[tokio::test]
    async fn the_store_of_a_running_server_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let settings = persist::Settings { state_dir: folder.path().into(), ..Default::default() };
        let store = persist::Persist::open(&settings).await.unwrap();
        let data = rdata::from_text(RecordType::TXT, "v=DMARC1", NameRef::ROOT).unwrap();
        let set = RecordSet::new(RecordType::TXT, Ttl::from_secs(60).unwrap(), [data]).unwrap();
        let zone: crate::dns::Name = "corp.internal".parse().unwrap();
        let name: crate::dns::Name = "_dmarc.corp.internal".parse().unwrap();
        let change = persist::StoredChange::Put(Entry::RecordSet { zone, name, set });
        let audit = persist::Audit {
            source: persist::Source::Rest,
            actor: "test".into(),
            remote: None,
            request_id: None,
            comment: None,
        };
        store.commit(persist::Commit { changes: vec![change], ..persist::Commit::by(audit) }).await.unwrap();
        let findings = of_stored(&persist::look(&settings).await.unwrap());
        let [finding] = &findings[..] else { panic!("one finding") };
        assert!(
            finding.what.starts_with("corp.internal. _dmarc TXT \"v=DMARC1\": it ends"),
            "{}",
            finding.what
        );
        store.close().await;
    }
}
