//! The recorded frames: a folder a release, a line a frame.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use dataplane_api::wire::Frame;

use crate::samples::samples;

/// What one release wrote.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Its version.
    pub(crate) release: String,
    /// By name.
    pub(crate) frames: BTreeMap<String, Vec<u8>>,
    /// What each says, as the release's own `Debug` said it.
    pub(crate) meanings: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frames")
}

/// Every release, oldest first.
pub(crate) fn releases() -> Vec<Corpus> {
    let entries = fs::read_dir(folder()).unwrap().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| {
        let numbers = name.split('.').map(|number| number.parse::<u32>().unwrap());
        numbers.collect::<Vec<_>>()
    });
    names.into_iter().map(Corpus::read).collect()
}

/// The lines of a file of `name value`, without comments.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a name and a value"))
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).expect("a digit")).unwrap())
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "an even number of digits");
    pairs.iter().map(|[hi, lo]| hi * 16 + lo).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

impl Corpus {
    fn read(release: String) -> Corpus {
        let file = |name: &str| fs::read_to_string(folder().join(&release).join(name)).unwrap();
        let (frames, meanings) = (file("frames.txt"), file("meanings.txt"));
        let corpus = Corpus {
            frames: lines(&frames)
                .map(|(name, value)| (name.to_owned(), unhex(value)))
                .collect(),
            meanings: lines(&meanings)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            release,
        };
        assert!(
            corpus.frames.keys().eq(corpus.meanings.keys()),
            "{}: every frame has a meaning",
            corpus.release
        );
        corpus
    }

    /// What this build writes.
    pub(crate) fn of_samples() -> Corpus {
        let samples = samples();
        let count = samples.len();
        let corpus = Corpus {
            release: String::new(),
            frames: samples
                .iter()
                .map(|(name, frame)| ((*name).to_owned(), frame.encode().unwrap()))
                .collect(),
            meanings: samples
                .iter()
                .map(|(name, frame): &(_, Frame)| ((*name).to_owned(), format!("{frame:?}")))
                .collect(),
        };
        assert_eq!(corpus.frames.len(), count, "names differ");
        corpus
    }

    /// Writes the folder of its release.
    pub(crate) fn record(&self) {
        let folder = folder().join(&self.release);
        fs::create_dir_all(&folder).unwrap();
        let frames = self.frames.iter();
        let frames = frames.map(|(name, bytes)| format!("{name} {}\n", hex(bytes)));
        fs::write(folder.join("frames.txt"), frames.collect::<String>()).unwrap();
        let meanings = self.meanings.iter();
        let meanings = meanings.map(|(name, meaning)| format!("{name} {meaning}\n"));
        fs::write(folder.join("meanings.txt"), meanings.collect::<String>()).unwrap();
    }
}
