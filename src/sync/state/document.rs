//! What one source has published as a document that instances share: the lines of the file, compressed.

use std::io::{self, Read};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::file::{self, Damage, LastGood, Saved};
use super::reading::{self, Unread};

/// Bytes of the lines at most, as of the file: what unpacks to more is none of ours.
const LINES_BYTES_MAX: u64 = super::FILE_BYTES_MAX;

/// Why a document is not used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("it cannot be unpacked: {0}")]
    Packing(#[from] io::Error),
    #[error("it unpacks to more than {LINES_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("it is not of source `{0}` alone")]
    OtherSource(String),
}

/// Packs what a source has published.
pub fn document(saved: &Saved<'_>) -> io::Result<Vec<u8>> {
    // Names repeat each other so much that the fastest level takes nine tenths away.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    file::write(&[*saved], &mut packed)?;
    packed.finish()
}

/// Unpacks what was packed of this source: all of it or nothing.
pub fn read_document(source: &str, packed: &[u8]) -> Result<LastGood, DocumentError> {
    let mut lines = GzDecoder::new(packed).take(LINES_BYTES_MAX + 1);
    let read = reading::read(&mut lines);
    if lines.limit() == 0 {
        return Err(DocumentError::TooLarge);
    }
    let mut sources = read.map_err(|unread| match unread {
        Unread::Input(cause) => DocumentError::Packing(cause),
        Unread::Damage(cause) => DocumentError::Damage(cause),
    })?;
    match sources.pop() {
        Some(last) if *last.source == *source && sources.is_empty() => Ok(last),
        _ => Err(DocumentError::OtherSource(source.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::time::{time_of, unix_secs};
    use super::*;
    use crate::sync::Desired;

    fn packed(source: &str) -> Vec<u8> {
        let read_at = time_of(unix_secs(SystemTime::now()));
        document(&Saved { source, read_at, desired: &Desired::default() }).unwrap()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let last = read_document("azure", &packed("azure")).unwrap();
        assert_eq!((&*last.source, last.desired), ("azure", Desired::default()));
    }

    #[test]
    fn what_is_cut_changed_or_of_others_is_refused() {
        let whole = packed("azure");
        for length in 0..whole.len() {
            assert!(read_document("azure", &whole[..length]).is_err(), "{length} bytes");
        }
        for at in 10..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            // A byte that nothing depends on may change; what is read is then the same.
            if let Ok(last) = read_document("azure", &changed) {
                assert_eq!(last.desired, Desired::default());
            }
        }
        assert!(matches!(read_document("other", &whole), Err(DocumentError::OtherSource(_))));
        let newer = gzip("{\"sync_state\":{\"version\":2}}\n");
        assert!(matches!(read_document("azure", &newer), Err(DocumentError::Damage(_))));
    }
}
