//! How a public suffix and a private zone belong together, worked out once for each line of the catalogue.

use super::row::{Row, Status};
use super::suffixes::Suffixes;
use super::template::{Bindings, Template};
use crate::dns::{Name, NameBuf, NameRef};

/// Public names below one suffix and the private names they become.
///
/// `contosoreg.eastus.data.azurecr.io` is front `contosoreg`, public `{regionName}.data.azurecr.io`;
/// its private name is the same front before `{regionName}.data.privatelink.azurecr.io`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Mapping {
    /// What ends the public name.
    pub(super) public: Template,
    /// What ends the private name: the part of the record that `public` tells, and the zone.
    pub(super) private: Template,
    /// What ends `private`.
    pub(super) zone: Template,
    front: Front,
    way: Way,
    /// Another name of the same endpoint, which tells what `public` does not.
    beside: Option<Template>,
    /// Whether the private name is the public one with a label put in.
    pub(super) likeness: Likeness,
}

/// Whether labels stand in front of what a mapping knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Front {
    Needed,
    Allowed,
    None,
}

/// Whether a private name leads back to the public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    Both,
    Inward,
}

/// How much a private name looks like its public one; the lower the better where nothing else decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Likeness {
    /// `privatelink` put in.
    Label,
    /// Another label put in.
    OtherLabel,
    /// Another stem.
    OtherStem,
}

impl Mapping {
    /// All mappings of one line; an error names the key that is wrong.
    pub(super) fn of_row(row: &Row) -> Result<Vec<Mapping>, (&'static str, String)> {
        if row.status >= Status::None {
            return Ok(Vec::new());
        }
        let zone = row.zone.as_ref().ok_or(("zone", "is missing, and the status is not none".to_owned()))?;
        let mut mappings = Vec::new();
        for (key, suffixes, way) in [("public", &row.public, Way::Both), ("inward", &row.inward, Way::Inward)]
        {
            for suffix in suffixes {
                mappings.push((key, Mapping::of_suffix(suffix, zone, way)));
            }
        }
        for rename in &row.rename {
            let is_like = rename.public.strip_suffix(&zone.stem()).is_some();
            let mapping = Mapping {
                public: rename.public.clone(),
                private: rename.record.before(zone),
                zone: zone.clone(),
                front: Front::None,
                way: Way::Both,
                beside: rename.beside.clone(),
                likeness: if is_like { Likeness::Label } else { Likeness::OtherStem },
            };
            mappings.push(("rename", mapping));
        }
        for (key, mapping) in &mappings {
            mapping.check().map_err(|message| (*key, message))?;
        }
        Ok(mappings.into_iter().map(|(_, mapping)| mapping).collect())
    }

    fn of_suffix(suffix: &Template, zone: &Template, way: Way) -> Mapping {
        let stem = zone.stem();
        let with = |public: &Template, private: Template, front, likeness| Mapping {
            public: public.clone(),
            private,
            zone: zone.clone(),
            front,
            way,
            beside: None,
            likeness,
        };
        let likeness = match zone.marker() {
            Some((_, "privatelink")) => Likeness::Label,
            _ => Likeness::OtherLabel,
        };
        if let Some(record) = suffix.strip_suffix(&stem) {
            // What the suffix has in front of the stem belongs to the record, not to the zone.
            let whole_name = record.label_count() > 0 && record.is_literal();
            let front = if whole_name { Front::Allowed } else { Front::Needed };
            return with(suffix, record.before(zone), front, likeness);
        }
        if stem.strip_suffix(suffix).is_some() {
            // The documents print a suffix that is too short, as for Container Apps.
            return with(&stem, zone.clone(), Front::Needed, likeness);
        }
        with(suffix, zone.clone(), Front::Needed, Likeness::OtherStem)
    }

    /// The same in a cloud of other suffixes.
    pub(super) fn below(&self, suffixes: &Suffixes) -> Mapping {
        Mapping {
            public: suffixes.of(&self.public),
            private: suffixes.of(&self.private),
            zone: suffixes.of(&self.zone),
            beside: self.beside.as_ref().map(|beside| suffixes.of(beside)),
            ..self.clone()
        }
    }

    fn check(&self) -> Result<(), String> {
        let known: Vec<&str> = self
            .public
            .placeholders()
            .chain(self.beside.iter().flat_map(|beside| beside.placeholders()))
            .collect();
        if let Some(unknown) = self.private.placeholders().find(|name| !known.contains(name)) {
            return Err(format!("`{}` does not tell {{{unknown}}} of `{}`", self.public, self.private));
        }
        if self.public == self.private {
            return Err(format!("`{}` would be its own private name", self.public));
        }
        Ok(())
    }

    /// The zone and the private name of a public name; `beside` are other names of the same endpoint.
    pub(super) fn inward(&self, public: NameRef<'_>, beside: &[Name]) -> Option<(NameBuf, NameBuf)> {
        let mut bindings = Bindings::default();
        let front = self.public.match_suffix(public, &mut bindings)?;
        self.takes(front).then_some(())?;
        if let Some(template) = &self.beside {
            bindings = beside.iter().find_map(|name| {
                let mut bindings = bindings.clone();
                let front = template.match_suffix(name.borrow(), &mut bindings)?;
                front.is_empty().then_some(bindings)
            })?;
        }
        Some((self.zone.fill(b"", &bindings)?, self.private.fill(front, &bindings)?))
    }

    /// The public name of a private name.
    pub(super) fn outward(&self, private: NameRef<'_>) -> Option<Name> {
        if !self.leads_outward() {
            return None;
        }
        let mut bindings = Bindings::default();
        let front = self.private.match_suffix(private, &mut bindings)?;
        self.takes(front).then_some(())?;
        self.public.fill(front, &bindings).map(|name| name.to_name())
    }

    /// Whether private names lead back to public ones.
    pub(super) fn leads_outward(&self) -> bool {
        self.way == Way::Both
    }

    /// Whether a private name that this knows has no public name by another mapping.
    ///
    /// `acct.z12` in a blob zone is the record of `acct.z12.blob.storage.azure.net` alone; but an Azure ML workspace
    /// has its certificate's name beside the one with the label put in.
    pub(super) fn is_exclusive(&self) -> bool {
        self.front == Front::None && self.likeness == Likeness::OtherStem
    }

    /// Whether names of different resources lie directly below a private name: it is what ends them all.
    pub(super) fn is_shared(&self, private: NameRef<'_>) -> bool {
        let front = self.private.match_suffix(private, &mut Bindings::default());
        self.front != Front::None && front.is_some_and(<[u8]>::is_empty)
    }

    /// Whether it is of this one private name, and of no other.
    pub(super) fn is_of(&self, private: NameRef<'_>) -> bool {
        let front = self.private.match_suffix(private, &mut Bindings::default());
        self.front == Front::None && self.private.is_literal() && front.is_some_and(<[u8]>::is_empty)
    }

    fn takes(&self, front: &[u8]) -> bool {
        match self.front {
            Front::Needed => !front.is_empty(),
            Front::Allowed => true,
            Front::None => front.is_empty(),
        }
    }
}

#[cfg(test)]
impl Mapping {
    /// Whether it maps whole names.
    pub(super) fn is_whole(&self) -> bool {
        self.front == Front::None
    }

    /// Whether a public name alone does not tell the private one.
    pub(super) fn needs_beside(&self) -> bool {
        self.beside.is_some()
    }
}
