//! What stands behind the words of scripts: records of zones, questions, reasons.

use std::sync::Arc;

use privatelink_dns::dns::{Name, Rcode, RecordType};
use privatelink_dns::respond::Transport;
use privatelink_dns::zone::{Change, Claim, Origin};

use super::message::{AD, Ask, CD, QR, RD, word};
use super::world::{endpoint_id, put, set};

/// The record sets of lines `name ttl TYPE data [@endpoint NAME VNET [SINCE [RESOURCE]]]`.
pub fn puts(apex: &Name, lines: &[(usize, String)]) -> Result<Vec<Change>, String> {
    let mut sets: Vec<(Name, RecordType, u32, Vec<&str>, Origin)> = Vec::new();
    for (_, line) in lines {
        let (record, claim) = line
            .split_once(" @endpoint ")
            .map_or((line.as_str(), None), |(record, claim)| (record, Some(claim)));
        let (owner, rest) = word(record)?;
        let (ttl, rest) = word(rest)?;
        let (rtype, data) = word(rest)?;
        let owner = Name::parse(owner, apex.borrow()).map_err(|error| error.to_string())?;
        let ttl = ttl.parse().map_err(|_| format!("`{ttl}` is no TTL"))?;
        let (rtype, origin) = (record_type(rtype)?, claim.map_or(Ok(Origin::File), endpoint)?);
        match sets.iter_mut().find(|set| (&set.0, set.1, set.2, &set.4) == (&owner, rtype, ttl, &origin)) {
            Some(set) => set.3.push(data),
            None => sets.push((owner, rtype, ttl, vec![data], origin)),
        }
    }
    let change = |(owner, rtype, ttl, data, origin): (_, _, _, Vec<&str>, _)| {
        Ok(put(apex, owner, set(rtype, ttl, &data, apex.borrow())?, origin))
    };
    sets.into_iter().map(change).collect()
}

/// Lines `name TYPE [@endpoint NAME VNET]`.
pub fn removals(apex: &Name, lines: &[(usize, String)]) -> Result<Vec<Change>, String> {
    let removal = |line: &str| {
        let (what, claim) =
            line.split_once(" @endpoint ").map_or((line, None), |(what, claim)| (what, Some(claim)));
        let (owner, rtype) = word(what)?;
        let name = Name::parse(owner, apex.borrow()).map_err(|error| error.to_string())?;
        let origin = claim.map_or(Ok(Origin::File), endpoint)?;
        Ok(Change::Remove { zone: apex.clone(), name, rtype: record_type(rtype.trim())?, origin })
    };
    lines.iter().map(|(_, line)| removal(line)).collect()
}

/// `NAME VNET [SINCE [RESOURCE]]`.
fn endpoint(text: &str) -> Result<Origin, String> {
    let mut words = text.split_whitespace();
    let endpoint = words.next().ok_or("an endpoint has a name")?;
    Ok(Origin::Endpoint(Arc::new(Claim {
        endpoint: endpoint_id(endpoint),
        virtual_network: words.next().map(Arc::from),
        subscription: "s".into(),
        source: "arm".into(),
        since_secs: words.next().map_or(Ok(0), str::parse).map_err(|_| "the time is no number")?,
        resource: words.next().map(Arc::from),
    })))
}

/// `NAME TYPE [words]`.
pub fn question(text: &str) -> Result<Ask, String> {
    let mut words = text.split_whitespace();
    let asked = words.next().ok_or("a question has a name")?;
    let mut ask = Ask::new(asked, record_type(words.next().ok_or("a question has a type")?)?);
    while let Some(word) = words.next() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u16>().map_err(|_| format!("`{word}` wants a number"));
        if word == "noedns" {
            ask.edns = None;
            continue;
        }
        match key {
            "from" => ask.from = words.next().and_then(|ip| ip.parse().ok()).ok_or("from whom?")?,
            "udp" => ask.transport = Some(Transport::Udp),
            "tcp" => ask.transport = Some(Transport::Tcp),
            "-rd" => ask.flags &= !RD,
            "+ad" => ask.flags |= AD,
            "+cd" => ask.flags |= CD,
            "+qr" => ask.flags |= QR,
            "+do" => ask.edns.as_mut().ok_or("DO needs EDNS")?.dnssec_ok = true,
            "edns" => ask.edns.as_mut().ok_or("noedns or edns")?.payload_bytes = number()?,
            "version" => ask.edns.as_mut().ok_or("noedns or version")?.version = number()? as u8,
            "cookie" => {
                let cookie = data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_bytes());
                ask.edns.as_mut().ok_or("noedns or cookie")?.cookie =
                    cookie.map_err(|error| error.to_string())?;
            }
            "opcode" => ask.opcode = number()? as u8,
            "class" => {
                ask.class = match value {
                    "CH" => 3,
                    "HS" => 4,
                    "NONE" => 254,
                    "ANY" => 255,
                    _ => number()?,
                }
            }
            _ => return Err(format!("`{word}` is no word of questions")),
        }
    }
    Ok(ask)
}

/// `CODE "text"`.
pub fn extended_error(text: &str) -> Result<(u16, String), String> {
    let (code, text) = word(text)?;
    let text =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("the text stands in quotes")?;
    Ok((code.parse().map_err(|_| format!("`{code}` is no code"))?, text.to_owned()))
}

/// An absolute name.
pub fn name(text: &str) -> Result<Name, String> {
    if !text.ends_with('.') {
        return Err(format!("`{text}` does not end with a dot"));
    }
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// A type by its mnemonic or number.
pub fn record_type(text: &str) -> Result<RecordType, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// A response code by its mnemonic.
pub fn rcode(text: &str) -> Result<Rcode, String> {
    let all = (0..24).map(Rcode);
    all.into_iter().find(|rcode| rcode.to_string() == text).ok_or_else(|| format!("`{text}` is no rcode"))
}
