//! The catalogue of Azure Private Link: which public names lead into which private zone. Floor 2.

mod carried;
mod catalogue;
mod cloud;
mod data;
mod describe;
mod error;
mod geo;
mod lines;
mod mapping;
mod placing;
#[cfg(test)]
mod recorded;
mod row;
mod selecting;
mod suffixes;
mod template;
#[cfg(test)]
mod traps;

pub use carried::{carried_zone, is_carried_zone};
pub use catalogue::Catalogue;
pub use cloud::Cloud;
pub use data::{Block, RowError, Service};
pub use describe::{Description, Kind};
pub use error::CatalogueError;
pub use geo::Region;
pub use lines::ServiceLines;
pub use placing::{Hint, Placement};
pub use row::Status;
pub use suffixes::Suffixes;
pub use template::{Template, TemplateError};
