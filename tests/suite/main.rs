//! The integration tests, one binary: building many takes longer than running them.

mod packets;
