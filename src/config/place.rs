//! Which part of Azure a `[[sync.source]]` is: subscriptions, resource groups, a management group.

use std::sync::Arc;

use super::assembly::{Assembly, is_guid};
use super::file;
use crate::sync::Scope;
use crate::sync::arm::ArmId;

/// The longest names that Azure gives to resource groups and management groups.
const NAME_LEN_MAX: usize = 90;

/// What a source lists.
pub(super) struct Places {
    /// With resource groups: theirs.
    pub subscriptions: Vec<Arc<str>>,
    pub resource_groups: Vec<Scope>,
    pub management_group: Option<String>,
    pub exclude_subscriptions: Vec<Arc<str>>,
}

impl Assembly<'_> {
    pub(super) fn places(&mut self, key: &str, source: &mut file::Source) -> Places {
        let ids = source.subscriptions.take().unwrap_or_default();
        let mut subscriptions = self.subscriptions(&format!("{key}.subscriptions"), &ids);
        let groups = source.resource_groups.take().unwrap_or_default();
        let resource_groups = self.resource_groups(key, &groups, &subscriptions);
        let management_group = source.management_group.take();
        let excluded = source.exclude_subscriptions.take().unwrap_or_default();
        let exclude_subscriptions = self.subscriptions(&format!("{key}.exclude_subscriptions"), &excluded);
        let named = match (ids.is_empty(), groups.is_empty()) {
            (false, _) => Some("subscriptions"),
            (true, false) => Some("resource_groups"),
            (true, true) => None,
        };
        if let Some(named) = named {
            if management_group.is_some() {
                let message = format!("{named} tells already what is listed: one of them is enough");
                self.error(format!("{key}.management_group"), message);
            }
            if !excluded.is_empty() {
                let message =
                    format!("is for subscriptions that are found, but {named} names what is listed");
                self.error(format!("{key}.exclude_subscriptions"), message);
            }
        }
        let management_group = management_group.map(|text| self.management_group(key, &text));
        for group in &resource_groups {
            if !subscriptions.contains(&group.subscription) {
                subscriptions.push(Arc::clone(&group.subscription));
            }
        }
        Places { subscriptions, resource_groups, management_group, exclude_subscriptions }
    }

    fn subscriptions(&mut self, key: &str, ids: &[String]) -> Vec<Arc<str>> {
        let mut subscriptions: Vec<Arc<str>> = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let bare = id.to_ascii_lowercase();
            let bare: Arc<str> = bare.strip_prefix("/subscriptions/").unwrap_or(&bare).into();
            if !is_guid(&bare) {
                let message = format!(
                    "`{id}` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1"
                );
                self.error(format!("{key}[{at}]"), message);
            } else if subscriptions.contains(&bare) {
                self.error(format!("{key}[{at}]"), format!("subscription {bare} is there already"));
            }
            subscriptions.push(bare);
        }
        subscriptions
    }

    /// Resource groups by ARM id, or by name in each of the subscriptions.
    fn resource_groups(&mut self, source: &str, texts: &[String], subscriptions: &[Arc<str>]) -> Vec<Scope> {
        let mut groups: Vec<Scope> = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let key = format!("{source}.resource_groups[{at}]");
            let (subscriptions, name) = match self.resource_group(&key, text) {
                None => continue,
                Some((Some(subscription), name)) => {
                    if !subscriptions.is_empty() && !subscriptions.contains(&subscription) {
                        self.error(&key, format!("subscriptions leaves out {subscription}"));
                    }
                    (vec![subscription], name)
                }
                Some((None, name)) => {
                    if subscriptions.is_empty() {
                        let message = format!(
                            "`{text}` is a resource group of which subscription? Name it in subscriptions, or the \
                             group as /subscriptions/…/resourceGroups/{text}"
                        );
                        self.error(&key, message);
                    }
                    (subscriptions.to_vec(), name)
                }
            };
            for subscription in subscriptions {
                let group = Scope { subscription, resource_group: Some(Arc::clone(&name)) };
                if groups.contains(&group) {
                    self.error(
                        &key,
                        format!("resource group {name} of {} is there already", group.subscription),
                    );
                }
                groups.push(group);
            }
        }
        let is_used = |id: &Arc<str>| groups.iter().any(|group| group.subscription == *id);
        for (at, id) in subscriptions.iter().enumerate().filter(|(_, id)| !groups.is_empty() && !is_used(id))
        {
            let message = format!("resource_groups names none of {id}");
            self.error(format!("{source}.subscriptions[{at}]"), message);
        }
        groups
    }

    fn resource_group(&mut self, key: &str, text: &str) -> Option<(Option<Arc<str>>, Arc<str>)> {
        let id = ArmId::new(text);
        let parts: Vec<&str> = id.as_str().split('/').collect();
        let (subscription, name) = match parts.as_slice() {
            ["", "subscriptions", subscription, "resourcegroups", name] if is_guid(subscription) => {
                (Some(Arc::from(*subscription)), *name)
            }
            [name] => (None, *name),
            _ => (None, ""),
        };
        if !is_name(name) {
            let message = format!(
                "`{text}` is no name of a resource group, and no ARM id of one: /subscriptions/…/resourceGroups/…"
            );
            self.error(key, message);
            return None;
        }
        Some((subscription, Arc::from(name)))
    }

    fn management_group(&mut self, source: &str, text: &str) -> String {
        let lowered = text.to_ascii_lowercase();
        let prefix = "/providers/microsoft.management/managementgroups/";
        let name = if lowered.starts_with(prefix) { &text[prefix.len()..] } else { text };
        if !is_name(name) {
            let message = format!("`{text}` is no name of a management group");
            self.error(format!("{source}.management_group"), message);
        }
        name.to_owned()
    }
}

/// Whether Azure could call a group so.
fn is_name(name: &str) -> bool {
    let fits = |character: char| character.is_alphanumeric() || "-_.()".contains(character);
    !name.is_empty() && name.chars().count() <= NAME_LEN_MAX && name.chars().all(fits) && !name.ends_with('.')
}
