//! A cloud whose names are those of the public one below suffixes of its own.

use super::template::{Template, TemplateError};

/// Public suffixes that give way whole. Of others the last label does, as `azurecr.io` is `azurecr.cn` in China.
// docs/recorded-azure-data.md, the sovereign clouds.
const WHOLE: [&str; 3] = ["azure.com", "azure.net", "windows.net"];

/// What stands in the place of the public cloud's suffixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffixes {
    /// For the last label of all other names.
    own: Template,
    /// Public suffixes and what stands for them; the longest first.
    whole: Vec<(Template, Template)>,
}

impl Suffixes {
    /// Those of a cloud with one suffix, such as `sovcloud-api.fr`.
    pub fn new(own: &str) -> Result<Suffixes, TemplateError> {
        let own = Template::parse_literal(own)?;
        let whole = WHOLE.iter().map(|public| Ok((Template::parse_literal(public)?, own.clone())));
        Ok(Suffixes { whole: whole.collect::<Result<_, TemplateError>>()?, own })
    }

    /// Puts `own` in the place of one more public suffix; it outranks what the cloud's one suffix stands for.
    pub fn replace(&mut self, public: Template, own: Template) {
        self.whole.insert(0, (public, own));
        self.whole.sort_by_key(|(public, _)| std::cmp::Reverse(public.label_count()));
    }

    /// The cloud's counterpart of a public name or zone.
    pub(super) fn of(&self, public: &Template) -> Template {
        let whole = self.whole.iter().find_map(|(suffix, own)| Some((public.strip_suffix(suffix)?, own)));
        match whole {
            Some((front, own)) => front.before(own),
            None => public.without_last().before(&self.own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn suffixes_give_way_whole_or_by_their_last_label() {
        let mut suffixes = Suffixes::new("sovcloud-api.fr").unwrap();
        suffixes.replace(template("core.windows.net"), template("storage.example"));
        for (public, own) in [
            ("privatelink.vaultcore.azure.net", "privatelink.vaultcore.sovcloud-api.fr"),
            ("privatelink.azure.com", "privatelink.sovcloud-api.fr"),
            ("privatelink.{regionName}.kusto.windows.net", "privatelink.{regionName}.kusto.sovcloud-api.fr"),
            ("privatelink.blob.core.windows.net", "privatelink.blob.storage.example"),
            ("privatelink.azconfig.io", "privatelink.azconfig.sovcloud-api.fr"),
            ("privatelink.{regionName}.azmk8s.io", "privatelink.{regionName}.azmk8s.sovcloud-api.fr"),
        ] {
            assert_eq!(suffixes.of(&template(public)), template(own));
        }
    }

    #[test]
    fn a_suffix_is_a_name() {
        for bad in ["", "a..b", "{x}.fr", "a b"] {
            assert!(Suffixes::new(bad).is_err(), "{bad}");
        }
    }
}
