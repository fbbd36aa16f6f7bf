//! The files of a description: places in them, and where references lead.
//!
//! A description may be of several files: its document, and files in the document's directory and below. A file is read when a
//! reference leads into it. No reference leads to the network, to an absolute path, or out of that directory.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_json::{Map, Value};

use super::{
    ImportProblem, MAX_DOCUMENT_BYTES,
    reader::{self, Unreadable},
};

/// The longest chain of references followed. Real documents have one or two in a row; bundlers make three.
const MAX_CHAIN: usize = 32;
/// Files that hold paths and operations: more than one for each operation of the largest APIs that we know in parts.
const MAX_FILES: usize = 2_000;

/// Gives the text of a file of at most so many bytes. The path is relative to the document's directory.
type Load = dyn Fn(&Path, u64) -> Result<String, Unread>;

/// Why the text of a file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The file lies elsewhere than in the document's directory, or below.
    Outside,
    /// It is no text.
    NotText,
    /// It is not there, or cannot be read, or is too large.
    Failed(String),
}

/// Why a reference leads to no file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    why: String,
    fix: &'static str,
    /// Whether what the file says is not known.
    is_unread: bool,
    /// Where it is so for many files: what these refusals have in common.
    cause: Option<&'static str>,
}

impl Refusal {
    fn new(why: impl Into<String>, fix: &'static str) -> Self {
        Self { why: why.into(), fix, is_unread: false, cause: None }
    }

    /// The file is there, and is no part of a description.
    fn unusable(path: &Path, why: &str) -> Self {
        Self::new(
            format!("leads to {}, which is not imported: {why}", path.display()),
            "refer to a file that can be read",
        )
    }

    fn outside() -> Self {
        Self::new(
            "leads out of the document's directory",
            "import a document in a directory above all of its parts",
        )
    }

    fn unread(self) -> Self {
        Self { is_unread: true, ..self }
    }

    /// Of every file that is not read yet.
    fn of_all(self) -> Self {
        Self { cause: Some(self.fix), ..self.unread() }
    }
}

/// Every file of a description.
pub(crate) struct Files {
    /// The document's own name.
    name: PathBuf,
    load: Option<Box<Load>>,
    /// What has been asked for, also in vain.
    read: RefCell<BTreeMap<PathBuf, Result<Rc<Value>, Refusal>>>,
    /// How much may still be read.
    bytes_left: Cell<u64>,
}

impl Files {
    /// A document alone, such as one from standard input.
    pub(crate) fn none() -> Self {
        Self {
            name: PathBuf::new(),
            load: None,
            read: RefCell::default(),
            bytes_left: Cell::new(MAX_DOCUMENT_BYTES),
        }
    }

    /// A document of that name, with files beside it.
    pub(crate) fn beside(
        name: impl Into<PathBuf>,
        load: impl Fn(&Path, u64) -> Result<String, Unread> + 'static,
    ) -> Self {
        Self { name: name.into(), load: Some(Box::new(load)), ..Self::none() }
    }

    /// The tree in a file.
    fn open(&self, path: &Path) -> Result<Rc<Value>, Refusal> {
        if let Some(known) = self.read.borrow().get(path) {
            return known.clone();
        }
        if self.read.borrow().len() >= MAX_FILES {
            let why = format!("leads to one file more than {MAX_FILES}");
            return Err(Refusal::new(why, "write several parts into one file").of_all());
        }
        let read = self.load(path).map(Rc::new);
        self.read.borrow_mut().insert(path.to_owned(), read.clone());
        read
    }

    fn load(&self, path: &Path) -> Result<Value, Refusal> {
        let load = self.load.as_ref().ok_or_else(|| {
            let why = "leads to a file, and standard input has none beside it";
            Refusal::new(why, "give the document as a file").of_all()
        })?;
        let text = load(path, self.bytes_left.get()).map_err(|why| match why {
            Unread::Outside => Refusal::outside(),
            Unread::NotText => Refusal::unusable(path, "it is not UTF-8 text"),
            Unread::Failed(why) => Refusal::unusable(path, &why).unread(),
        })?;
        self.take_bytes(&text);
        reader::tree(&text).map_err(|error| {
            let refusal = Refusal::unusable(path, &error.to_string());
            Refusal { fix: error.fix().unwrap_or(refusal.fix), ..refusal }
        })
    }

    fn take_bytes(&self, text: &str) {
        self.bytes_left.set(self.bytes_left.get().saturating_sub(text.len() as u64));
    }
}

/// A value of a description.
#[derive(Clone)]
pub(super) struct Place {
    files: Rc<Files>,
    file: Rc<Path>,
    document: Rc<Value>,
    pointer: String,
}

impl Place {
    /// The whole document of that text.
    pub(super) fn root(text: &str, files: Files) -> Result<Self, Unreadable> {
        let document = Rc::new(reader::tree(text)?);
        files.take_bytes(text);
        files.read.borrow_mut().insert(files.name.clone(), Ok(document.clone()));
        Ok(Self {
            file: files.name.as_path().into(),
            files: Rc::new(files),
            document,
            pointer: String::new(),
        })
    }

    /// What is there.
    pub(super) fn value(&self) -> &Value {
        self.document.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    /// Whether it is a whole file.
    pub(super) fn is_file(&self) -> bool {
        self.pointer.is_empty()
    }

    /// The place of a member, whether it is there or not.
    pub(super) fn below(&self, key: &str) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("{}/{key}", self.pointer), ..self.clone() }
    }

    /// The members. A place that says nothing has none.
    pub(super) fn members(&self) -> Result<impl Iterator<Item = (&str, Self)>, ImportProblem> {
        /// For values that say nothing.
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let members = match self.value() {
            Value::Object(members) => members,
            Value::Null => &*NONE,
            _ => return Err(ImportProblem::new(self, "is no mapping", "write its members there")),
        };
        Ok(members.keys().map(|key| (key.as_str(), self.below(key))))
    }

    /// The items of a list. What is no list has none.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> {
        let count = self.value().as_array().map_or(0, Vec::len);
        (0..count).map(|index| self.below(&index.to_string()))
    }

    /// The text there. A place that says nothing has none.
    pub(super) fn text(&self) -> Result<Option<&str>, ImportProblem> {
        match self.value() {
            Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty()).map(String::as_str)),
            Value::Null => Ok(None),
            _ => Err(ImportProblem::new(self, "is not text", "write one line of text there")),
        }
    }

    /// The mappings that say together what this one is: itself, and what its `$ref`s lead to. The first to say something wins.
    pub(super) fn layers(&self) -> Result<Vec<Self>, ImportProblem> {
        match self.reached() {
            (layers, None) => Ok(layers),
            (_, Some(problem)) => Err(problem),
        }
    }

    /// As [`layers`](Self::layers), as far as `$ref`s lead, and why they lead no further.
    pub(super) fn reached(&self) -> (Vec<Self>, Option<ImportProblem>) {
        let (mut layers, mut problem) = self.follow();
        // Each one but the last has a `$ref`, and so is a mapping.
        if let Some(Err(end)) = layers.last().map(|layer| layer.members().map(drop)) {
            problem = Some(end);
            layers.pop();
        }
        (layers, problem)
    }

    /// The member of that key of what layers say together.
    pub(super) fn member(layers: &[Self], key: &str) -> Option<Self> {
        layers.iter().map(|layer| layer.below(key)).find(|member| !member.value().is_null())
    }

    /// This place and every one its `$ref`s lead to, in order, and why they lead no further: the last one is no reference, unless
    /// there is a problem.
    fn follow(&self) -> (Vec<Self>, Option<ImportProblem>) {
        let mut layers = vec![self.clone()];
        loop {
            match layers[layers.len() - 1].next(&layers) {
                Ok(Some(target)) => layers.push(target),
                Ok(None) => return (layers, None),
                Err(problem) => return (layers, Some(problem)),
            }
        }
    }

    /// Where this place, the last of `before`, refers to.
    fn next(&self, before: &[Self]) -> Result<Option<Self>, ImportProblem> {
        let Some(reference) = self.reference() else { return Ok(None) };
        let target = self.target(reference)?;
        if before.iter().any(|seen| seen.is(&target)) {
            let why = format!("$ref {reference:?} leads back to where it came from");
            return Err(ImportProblem::new(self, why, "let it end at something that is no $ref"));
        }
        if before.len() > MAX_CHAIN {
            let why = format!("more than {MAX_CHAIN} $refs in a row");
            return Err(ImportProblem::new(&before[0], why, "refer to their end"));
        }
        Ok(Some(target))
    }

    /// What a `$ref` into the same file leads to, or the place itself. No file is read for it.
    pub(super) fn within_file(&self) -> Self {
        let pointer = self.reference().and_then(|reference| reference.strip_prefix('#'));
        pointer.map_or_else(
            || self.clone(),
            |pointer| Self { pointer: percent_decoded(pointer).into_owned(), ..self.clone() },
        )
    }

    fn is(&self, other: &Self) -> bool {
        self.file == other.file && self.pointer == other.pointer
    }

    /// What it refers to, if it is a reference. A property named `$ref` whose value is a schema is none.
    fn reference(&self) -> Option<&str> {
        self.value().as_object()?.get("$ref")?.as_str()
    }

    fn target(&self, reference: &str) -> Result<Self, ImportProblem> {
        let refused = |refusal: Refusal| {
            let problem =
                ImportProblem::new(self, format!("$ref {reference:?} {}", refusal.why), refusal.fix);
            let problem = if refusal.is_unread { problem.unread() } else { problem };
            match refusal.cause {
                Some(cause) => problem.because(cause),
                None => problem,
            }
        };
        let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let mut target = self.clone();
        if !file.is_empty() {
            let path = beside(&self.file, &percent_decoded(file)).map_err(refused)?;
            target.document = self.files.open(&path).map_err(refused)?;
            target.file = path.into();
        }
        target.pointer = percent_decoded(fragment).into_owned();
        match target.document.pointer(&target.pointer) {
            Some(_) => Ok(target),
            None => Err(refused(Refusal::new("leads nowhere", "name a place that is there"))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self.file == *self.files.name, self.pointer.as_str()) {
            (true, pointer) => f.write_str(pointer),
            (false, "") => write!(f, "{}", self.file.display()),
            (false, pointer) => write!(f, "{}#{pointer}", self.file.display()),
        }
    }
}

/// The file that a reference in the file `from` leads to, relative to the document's directory.
fn beside(from: &Path, reference: &str) -> Result<PathBuf, Refusal> {
    let before_slash = reference.split('/').next().unwrap_or_default();
    if before_slash.contains(':') || reference.starts_with("//") {
        return Err(Refusal::new(
            "is a URL, and none is fetched",
            "save it beside the document and refer to the file",
        ));
    }
    if reference.starts_with(['/', '\\']) {
        return Err(Refusal::new("has an absolute path", "write the path from the file that refers to it"));
    }
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." if path.pop() => {}
            ".." => return Err(Refusal::outside()),
            part => path.push(part),
        }
    }
    Ok(path)
}

/// A reference may be percent-encoded (RFC 3986; RFC 6901 §6).
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}
