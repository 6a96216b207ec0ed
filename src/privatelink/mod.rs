//! The catalogue of Azure Private Link: which public names lead into which private zone. Floor 2.

mod carried;
mod catalogue;
mod data;
mod describe;
mod geo;
mod lines;
mod mapping;
mod nearest;
mod placing;
#[cfg(test)]
mod recorded;
mod selecting;
mod suffixes;
mod template;
#[cfg(test)]
mod traps;

pub use carried::{carried_zone, is_carried_zone};
pub use catalogue::{Catalogue, CatalogueError, Cloud};
pub use data::{Block, RowError, Service, Status};
pub use describe::{Description, Kind};
pub use geo::Region;
pub use lines::ServiceLines;
pub use placing::{Hint, Place};
pub use suffixes::Suffixes;
pub use template::{Template, TemplateError};
