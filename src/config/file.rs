//! The configuration file: TOML, read strictly, into the texts of its settings and where each stands.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::origin::{ConfigText, Origin, Spot};
use super::setting::{Section, keys_of, nearest};

/// Largest configuration file in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// Most mistakes that are told at once.
const MAX_ERRORS: usize = 10;

/// One value of the file as text, and where it stands.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The value; the items of a list with commas between.
    pub text: String,
    /// Its place.
    pub spot: Spot,
}

/// The values of one part of the file by key.
pub(super) type Entries = BTreeMap<&'static str, Entry>;

/// A file that was understood, apart from whether its values make sense.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// Each `[[pool]]` with the place of its header.
    pub pools: Vec<(Entries, Option<Spot>)>,
    /// `[cpu]`.
    pub cpu: Entries,
    /// `[gpu]`.
    pub gpu: Entries,
    /// `[asic]`.
    pub asic: Entries,
    /// Each `[[device]]` with the place of its header.
    pub devices: Vec<(Entries, Option<Spot>)>,
    /// `[report]`.
    pub report: Entries,
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it as far as it can be known without looking at the values.
pub(super) fn read(path: &Path) -> Result<ConfigFile, Vec<ConfigError>> {
    let text = read_text(path).map_err(|error| vec![error])?;
    parse(ConfigText { path: path.to_owned(), text })
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable =
        |source| ConfigError::Unreadable { what: "configuration file", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::NotUtf8 { path: path.to_owned(), line }
    })
}

/// Reads a text that came from a file.
///
/// # Errors
/// Everything that is wrong with it as far as it can be known without looking at the values.
pub fn parse(text: ConfigText) -> Result<ConfigFile, Vec<ConfigError>> {
    let mut reader = Reader { file: Arc::new(text), errors: Vec::new() };
    let source = Arc::clone(&reader.file);
    let (root, syntax) = DeTable::parse_recoverable(&source.text);
    for error in syntax {
        let at = reader.spot(error.span().unwrap_or(0..0));
        reader.errors.push(ConfigError::Syntax { message: error.message().to_owned(), at });
    }
    let config = if reader.errors.is_empty() { reader.root(root.get_ref()) } else { ConfigFile::default() };
    reader.errors.truncate(MAX_ERRORS);
    if reader.errors.is_empty() { Ok(config) } else { Err(reader.errors) }
}

struct Reader {
    file: Arc<ConfigText>,
    errors: Vec<ConfigError>,
}

impl Reader {
    fn spot(&self, span: Range<usize>) -> Spot {
        Spot::new(&self.file, span)
    }

    fn root(&mut self, root: &DeTable<'_>) -> ConfigFile {
        const PARTS: [&str; 6] = ["pool", "cpu", "gpu", "asic", "device", "report"];
        let mut config = ConfigFile::default();
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "pool" => {
                    let wanted = "a list of tables: [[pool]], with two brackets";
                    config.pools = self.tables(("pool", "[[pool]]", wanted), Section::Pool, value);
                }
                "device" => {
                    let wanted = "a list of tables: [[device]], with two brackets";
                    config.devices = self.tables(("device", "[[device]]", wanted), Section::Device, value);
                }
                "cpu" => config.cpu = self.table("[cpu]", Section::Cpu, value),
                "gpu" => config.gpu = self.table("[gpu]", Section::Gpu, value),
                "asic" => config.asic = self.table("[asic]", Section::Asic, value),
                "report" => config.report = self.table("[report]", Section::Report, value),
                other => {
                    let at = self.spot(key.span());
                    let mut homes = [
                        Section::Pool,
                        Section::Cpu,
                        Section::Gpu,
                        Section::Asic,
                        Section::Device,
                        Section::Report,
                    ]
                    .into_iter();
                    let home = homes.find(|section| keys_of(*section).any(|key| key == other));
                    let (near, known) = (nearest(other, PARTS), PARTS.to_vec());
                    self.errors.push(ConfigError::UnknownKey {
                        key: other.to_owned(),
                        part: "",
                        near,
                        known,
                        home,
                        at,
                    });
                }
            }
        }
        config
    }

    fn tables(
        &mut self,
        (key, part, wanted): (&str, &'static str, &'static str),
        section: Section,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(Entries, Option<Spot>)> {
        let Some(tables) = value.get_ref().as_array() else {
            self.wrong_kind(key, value, wanted);
            return Vec::new();
        };
        tables.iter().map(|table| (self.table(part, section, table), Some(self.spot(table.span())))).collect()
    }

    fn table(&mut self, part: &'static str, section: Section, value: &Spanned<DeValue<'_>>) -> Entries {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_kind(part, value, "a table of settings");
            return Entries::new();
        };
        let mut entries = Entries::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match keys_of(section).find(|known| *known == name) {
                Some(known) => {
                    if let Some(entry) = self.entry(known, value) {
                        entries.insert(known, entry);
                    }
                }
                None => {
                    let known: Vec<_> = keys_of(section).collect();
                    let (near, at) = (nearest(name, known.iter().copied()), self.spot(key.span()));
                    self.errors.push(ConfigError::UnknownKey {
                        key: name.to_owned(),
                        part,
                        near,
                        known,
                        home: None,
                        at,
                    });
                }
            }
        }
        entries
    }

    fn entry(&mut self, key: &'static str, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let text = match value.get_ref() {
            DeValue::Array(items) => {
                let texts: Option<Vec<_>> = items.iter().map(|item| scalar(item.get_ref())).collect();
                texts.map(|texts| texts.join(","))
            }
            other => scalar(other),
        };
        if text.is_none() {
            self.wrong_kind(key, value, "a single value or a list of them");
        }
        text.map(|text| Entry { text, spot: self.spot(value.span()) })
    }

    fn wrong_kind(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &'static str) {
        let found = value.get_ref().type_str();
        let at = Origin::File(self.spot(value.span()));
        self.errors.push(ConfigError::WrongKind { key: key.to_owned(), found, wanted, at });
    }
}

/// The text of a value that is neither list nor table nor date.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
