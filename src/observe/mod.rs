//! What is seen of the queries that are answered. Floor 2.

mod path;

pub use path::AnswerPath;
