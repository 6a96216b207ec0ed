//! A source that is a folder of exported JSON: every `*.json` below it, in whatever layout.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::arm::{ArmError, Body};
use super::inventory::Inventory;
use super::listing::{Incomplete, Listings};

/// Files of a folder: a zone group each for the 64,000 endpoints that a subscription may have, and room.
pub const FILES_MAX: usize = 100_000;
/// Folders in folders: deeper than subscription, resource group, endpoint, and shallow enough to end.
pub const DEPTH_MAX: usize = 16;
/// Bytes of one file: 64,000 endpoints in one list are about 200 MB.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of all files: an inventory of them still fits into memory.
pub const FOLDER_BYTES_MAX: u64 = 1 << 30;

/// Faults listed of one folder: so many have few causes.
const FAULTS_MAX: usize = 100;

/// A folder to read and what its records are called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub path: PathBuf,
}

/// Why a folder gives no inventory; what was read before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}", path.display())]
    File { path: PathBuf, line: usize, column: usize, source: ArmError },
    #[error("{} is not text in UTF-8 or UTF-16", path.display())]
    Encoding { path: PathBuf },
    #[error("{}", path.display())]
    Incomplete { path: PathBuf, source: Incomplete },
    #[error("{} holds no *.json file: an unmounted folder is no empty inventory", path.display())]
    Empty { path: PathBuf },
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{} lies more than {DEPTH_MAX} folders deep", path.display())]
    TooDeep { path: PathBuf },
    #[error("{} holds more than {FILES_MAX} files", path.display())]
    TooMany { path: PathBuf },
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { name: "inventory".to_owned(), path: PathBuf::from("inventory") }
    }
}

/// Reads the whole folder or nothing; of two files with the same resource, the one whose path sorts last counts.
// It blocks: callers on the async runtime use a blocking thread.
pub fn read(settings: &Settings) -> Result<Inventory, DirectoryError> {
    let mut listings = Listings::default();
    let mut bytes_left = FOLDER_BYTES_MAX;
    for path in files_below(&settings.path)? {
        let (body, length) = read_body(&path)?;
        let too_large = || DirectoryError::TooLarge { path: settings.path.clone(), max: FOLDER_BYTES_MAX };
        bytes_left = bytes_left.checked_sub(length).ok_or_else(too_large)?;
        listings.add(path.to_string_lossy(), body);
    }
    listings
        .into_inventory()
        .map_err(|source| DirectoryError::Incomplete { path: PathBuf::from(&*source.origin), source })
}

/// All that keeps a folder from being read, file by file; nothing if it can be.
pub fn faults(settings: &Settings) -> Vec<DirectoryError> {
    let Err(first) = read(settings) else { return Vec::new() };
    let files = files_below(&settings.path).unwrap_or_default();
    let faults: Vec<_> = files.iter().filter_map(|path| read_body(path).err()).take(FAULTS_MAX).collect();
    if faults.is_empty() { vec![first] } else { faults }
}

/// What a file says, and its length in bytes.
fn read_body(path: &Path) -> Result<(Body, u64), DirectoryError> {
    let bytes = read_file(path)?;
    let text = decode(&bytes).ok_or_else(|| DirectoryError::Encoding { path: path.to_owned() })?;
    let body = Body::read(text.as_bytes()).map_err(|source| {
        let (line, column) = source.place();
        DirectoryError::File { path: path.to_owned(), line, column, source }
    })?;
    Ok((body, bytes.len() as u64))
}

/// All `*.json` files below a folder, each once however many links lead to it, in the order of their paths.
pub fn files_below(root: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    collect(root, 0, &mut seen, &mut files)?;
    if files.is_empty() {
        return Err(DirectoryError::Empty { path: root.to_owned() });
    }
    Ok(files)
}

fn collect(
    folder: &Path,
    depth: usize,
    seen: &mut HashSet<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), DirectoryError> {
    if depth > DEPTH_MAX {
        return Err(DirectoryError::TooDeep { path: folder.to_owned() });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DirectoryError::Read { path, source }
    };
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed(folder))?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A ConfigMap's `..data` is reached by links beside it; other hidden files are editors' and git's.
        if name.starts_with('.') {
            continue;
        }
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let kind = match fs::metadata(&path) {
            Ok(kind) if kind.is_dir() || (kind.is_file() && is_json) => kind,
            Err(source) if is_json => return Err(failed(&path)(source)),
            _ => continue,
        };
        if !seen.insert(fs::canonicalize(&path).map_err(failed(&path))?) {
            continue;
        }
        if kind.is_dir() {
            collect(&path, depth + 1, seen, files)?;
        } else if files.len() == FILES_MAX {
            return Err(DirectoryError::TooMany { path: folder.to_owned() });
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| DirectoryError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(DirectoryError::TooLarge { path: path.to_owned(), max: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

/// Text without its byte order mark. `az … > file` in Windows PowerShell writes UTF-16.
fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| bytes.len().is_multiple_of(2)).map(Cow::Owned)
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => std::str::from_utf8(rest).ok().map(Cow::Borrowed),
        bytes => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str =
        r#"{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateEndpoints/pe"}"#;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &[u8])]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            for (name, bytes) in files {
                let path = folder.0.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            folder
        }

        fn read(&self) -> Result<Inventory, DirectoryError> {
            read(&Settings { path: self.0.path().to_owned(), ..Settings::default() })
        }
    }

    #[test]
    fn json_files_are_read_in_any_layout_and_others_are_not() {
        let second = ENDPOINT.replace("/pe", "/pe2");
        let folder = Folder::with(&[
            ("a/b/one.json", ENDPOINT.as_bytes()),
            ("two.JSON", second.as_bytes()),
            ("README.md", b"# no inventory"),
            (".hidden.json", b"{"),
        ]);
        assert_eq!(folder.read().unwrap().endpoints().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_config_map_is_read_once_through_its_links() {
        let folder = Folder::with(&[("..2026_10_02/a.json", ENDPOINT.as_bytes())]);
        let at = |name: &str| folder.0.path().join(name);
        std::os::unix::fs::symlink("..2026_10_02", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.json", at("a.json")).unwrap();
        std::os::unix::fs::symlink(".", at("loop")).unwrap();
        std::os::unix::fs::symlink("a.json", at("again.json")).unwrap();
        assert_eq!(files_below(folder.0.path()).unwrap(), [at("a.json")]);
        assert_eq!(folder.read().unwrap().endpoints().len(), 1);
    }

    #[test]
    fn text_may_carry_a_byte_order_mark() {
        let utf16: Vec<u8> =
            "\u{FEFF}".chars().chain(ENDPOINT.chars()).flat_map(|it| (it as u16).to_le_bytes()).collect();
        let utf8 = format!("\u{FEFF}{ENDPOINT}").into_bytes();
        for bytes in [utf16, utf8] {
            assert_eq!(Folder::with(&[("a.json", &bytes)]).read().unwrap().endpoints().len(), 1);
        }
        for bytes in [&b"\xFF\xFE{"[..], b"\xFF\xFE\x00\xD8", b"\"\xE9\""] {
            let error = Folder::with(&[("a.json", bytes)]).read().unwrap_err();
            assert!(matches!(error, DirectoryError::Encoding { .. }), "{error}");
        }
    }

    #[test]
    fn one_broken_file_is_no_inventory_and_tells_its_place() {
        let folder = Folder::with(&[
            ("a.json", ENDPOINT.as_bytes()),
            ("b/broken.json", b"{\"value\": [\n{\"id\": \"/sub"),
        ]);
        let error = folder.read().unwrap_err();
        let DirectoryError::File { path, line: 2, column: 12, .. } = &error else { panic!("{error}") };
        assert!(path.ends_with("b/broken.json"));
        assert!(error.to_string().ends_with("b/broken.json:2:12"));
    }

    #[test]
    fn all_broken_files_are_listed() {
        let folder =
            Folder::with(&[("a.json", b"[{"), ("b.json", ENDPOINT.as_bytes()), ("c.json", b"\xFF\xFE{")]);
        let settings = Settings { path: folder.0.path().to_owned(), ..Settings::default() };
        let told: Vec<String> = faults(&settings).iter().map(ToString::to_string).collect();
        let [first, second] = &told[..] else { panic!("{told:?}") };
        assert!(
            first.ends_with("a.json:1:2") && second.ends_with("c.json is not text in UTF-8 or UTF-16"),
            "{told:?}"
        );
        fs::remove_file(folder.0.path().join("a.json")).unwrap();
        fs::remove_file(folder.0.path().join("c.json")).unwrap();
        assert_eq!(faults(&settings).len(), 0);
        assert!(faults(&Settings::default())[0].to_string().starts_with("cannot read"));
    }

    #[test]
    fn a_folder_without_files_is_an_error_and_not_an_empty_inventory() {
        assert!(matches!(Folder::with(&[]).read(), Err(DirectoryError::Empty { .. })));
        assert!(matches!(read(&Settings::default()), Err(DirectoryError::Read { .. })));
        assert!(Folder::with(&[("a.json", b"[]")]).read().unwrap().endpoints().is_empty());
    }

    #[test]
    fn the_depth_of_folders_is_bounded() {
        let deep = "d/".repeat(DEPTH_MAX + 1) + "a.json";
        assert!(matches!(Folder::with(&[(&deep, b"[]")]).read(), Err(DirectoryError::TooDeep { .. })));
    }
}
