//! Private DNS zones as Azure Resource Manager lists them: zones, their links, their record sets.

use std::sync::Arc;

use super::object::{Json, Object, printable};
use super::resource::id_of;
use super::{ArmError, ArmId, next_link, refused};

/// One page of a listing, its items as they are.
#[derive(Debug)]
pub struct ItemPage {
    pub items: Vec<Item>,
    /// Where the next page is; `None` on the last.
    pub next_link: Option<String>,
}

/// An item of a listing and its id.
#[derive(Debug)]
pub struct Item {
    pub id: ArmId,
    body: Object<'static>,
}

/// `Microsoft.Network/privateDnsZones/virtualNetworkLinks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneLink {
    pub virtual_network: ArmId,
    /// `Default` or `NxDomainRedirect`; older versions of the API do not tell it.
    pub resolution_policy: Option<Arc<str>>,
}

/// `Microsoft.Network/privateDnsZones/{type}`: one record set, nothing of it judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRecordSet {
    /// Relative to the zone; `@` is its apex.
    pub name: Arc<str>,
    /// `A`, as the resource's type ends.
    pub record_type: Arc<str>,
    pub ttl_secs: u64,
    /// Who wrote it, where that tells of itself: zone groups do.
    pub creator: Option<Arc<str>>,
    pub records: Vec<ZoneRecord>,
}

/// One record in ARM's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneRecord {
    Address(String),
    Name(String),
    Mx { preference: u64, exchange: String },
    Srv { priority: u64, weight: u64, port: u64, target: String },
    Text(Vec<String>),
}

impl ItemPage {
    /// Reads one page, the whole of it or nothing.
    pub fn read(bytes: &[u8]) -> Result<ItemPage, ArmError> {
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(ArmError::Html);
        }
        let body = serde_json::from_slice::<Json<'_>>(bytes)?;
        let body = body.as_object().ok_or(ArmError::Unrecognised)?;
        if let Some(error) = body.own("error") {
            return Err(refused(error));
        }
        let next_link = next_link(body);
        let listed = body.own("value").and_then(Json::as_list).ok_or(ArmError::Unrecognised)?;
        let mut items = Vec::with_capacity(listed.len());
        for item in listed {
            let body = item.as_object().ok_or(ArmError::Unrecognised)?;
            let id = id_of(body).map_err(|message| ArmError::Syntax { line: 1, column: 1, message })?;
            items.push(Item { id, body: body.to_owned() });
        }
        Ok(ItemPage { items, next_link })
    }
}

impl Item {
    /// The item's name as Azure writes it.
    pub fn name(&self) -> Arc<str> {
        let name = self.body.own("name").and_then(Json::as_text);
        Arc::from(printable(name.unwrap_or(self.id.name())))
    }

    /// The item as a link; `None` for one that leads to no virtual network.
    pub fn link(&self) -> Result<Option<ZoneLink>, String> {
        let network = self.body.object("virtualNetwork")?;
        let network = network.and_then(|network| network.own("id")).and_then(Json::as_text);
        let policy = self.body.text("resolutionPolicy")?;
        Ok(network.map(|id| ZoneLink {
            virtual_network: ArmId::new(id),
            resolution_policy: policy.map(|policy| Arc::from(printable(policy))),
        }))
    }

    /// The item as a record set.
    pub fn record_set(&self) -> Result<ZoneRecordSet, String> {
        let item = &self.body;
        let told = item.own("type").and_then(Json::as_text).map(str::to_owned);
        let kind = told.or_else(|| self.id.resource_type()).unwrap_or_default();
        let record_type = kind.rsplit('/').next().unwrap_or_default().to_ascii_uppercase();
        let mut records = Vec::new();
        match record_type.as_str() {
            "A" => read_all(item, "aRecords", "ipv4Address", ZoneRecord::Address, &mut records)?,
            "AAAA" => read_all(item, "aaaaRecords", "ipv6Address", ZoneRecord::Address, &mut records)?,
            "PTR" => read_all(item, "ptrRecords", "ptrdname", ZoneRecord::Name, &mut records)?,
            "CNAME" => {
                let target = item.object("cnameRecord")?.map(|record| text(record, "cname")).transpose()?;
                records.extend(target.map(ZoneRecord::Name));
            }
            "MX" => {
                for record in item.objects("mxRecords")? {
                    let preference = number(record, "preference")?;
                    records.push(ZoneRecord::Mx { preference, exchange: text(record, "exchange")? });
                }
            }
            "SRV" => {
                for record in item.objects("srvRecords")? {
                    let (priority, weight) = (number(record, "priority")?, number(record, "weight")?);
                    let (port, target) = (number(record, "port")?, text(record, "target")?);
                    records.push(ZoneRecord::Srv { priority, weight, port, target });
                }
            }
            "TXT" => {
                for record in item.objects("txtRecords")? {
                    let texts = record.texts("value")?.into_iter().map(str::to_owned).collect();
                    records.push(ZoneRecord::Text(texts));
                }
            }
            _ => {}
        }
        let creator = item.object("metadata")?.and_then(|metadata| metadata.own("creator"));
        Ok(ZoneRecordSet {
            // Not cleaned: what is no name must be seen to be none.
            name: item.own("name").and_then(Json::as_text).map_or_else(|| self.id.name().into(), Arc::from),
            record_type: Arc::from(printable(&record_type)),
            ttl_secs: number(item, "ttl")?,
            creator: creator.and_then(Json::as_text).map(|creator| Arc::from(printable(creator))),
            records,
        })
    }
}

fn read_all(
    item: &Object<'_>,
    list: &str,
    key: &str,
    record: fn(String) -> ZoneRecord,
    records: &mut Vec<ZoneRecord>,
) -> Result<(), String> {
    for object in item.objects(list)? {
        records.push(record(text(object, key)?));
    }
    Ok(())
}

fn text(record: &Object<'_>, key: &str) -> Result<String, String> {
    record.text(key)?.map(str::to_owned).ok_or_else(|| format!("`{key}` is missing"))
}

fn number(record: &Object<'_>, key: &str) -> Result<u64, String> {
    record.member(key).and_then(Json::as_number).ok_or_else(|| format!("`{key}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<ItemPage, ArmError> {
        ItemPage::read(text.as_bytes())
    }

    #[test]
    fn every_type_is_read_in_arms_shape() {
        let item = |rtype: &str, records: &str| {
            let text = format!(
                r#"{{"value": [{{"id": "/subscriptions/S/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/z/{rtype}/x",
                "name": "x", "type": "Microsoft.Network/privateDnsZones/{rtype}", "properties": {{"ttl": 5, {records}}}}}]}}"#
            );
            page(&text).unwrap().items.remove(0).record_set().map(|set| set.records)
        };
        let name = |text: &str| ZoneRecord::Name(text.to_owned());
        assert_eq!(item("CNAME", r#""cnameRecord": {"cname": "a.b"}"#).unwrap(), [name("a.b")]);
        assert_eq!(item("PTR", r#""ptrRecords": [{"ptrdname": "a.b"}]"#).unwrap(), [name("a.b")]);
        assert_eq!(
            item("MX", r#""mxRecords": [{"preference": 10, "exchange": "m"}]"#).unwrap(),
            [ZoneRecord::Mx { preference: 10, exchange: "m".to_owned() }]
        );
        assert_eq!(
            item("SRV", r#""srvRecords": [{"priority": 1, "weight": 2, "port": 3, "target": "t"}]"#).unwrap(),
            [ZoneRecord::Srv { priority: 1, weight: 2, port: 3, target: "t".to_owned() }]
        );
        assert_eq!(
            item("TXT", r#""txtRecords": [{"value": ["a", "b"]}]"#).unwrap(),
            [ZoneRecord::Text(vec!["a".to_owned(), "b".to_owned()])]
        );
        assert!(item("A", r#""aRecords": [{"ipv4Address": 5}]"#).is_err());
        assert!(item("A", r#""aRecords": {}"#).is_err());
        assert!(item("SRV", r#""srvRecords": [{"priority": -1}]"#).is_err());
        assert_eq!(item("A", r#""aRecords": null"#).unwrap(), []);
    }

    #[test]
    fn what_is_no_page_is_none() {
        for text in ["", "[]", "{}", "<html>", r#"{"value": [1]}"#, r#"{"value": [{}]}"#, r#"{"error": {}}"#]
        {
            assert!(page(text).is_err(), "{text}");
        }
        let good = page(r#"{"value": [], "nextLink": "https://x"}"#).unwrap();
        assert_eq!((good.items.len(), good.next_link.as_deref()), (0, Some("https://x")));
        // What comes behind a page is none of it.
        assert!(page("{\"value\": []} x").is_err());
    }
}
