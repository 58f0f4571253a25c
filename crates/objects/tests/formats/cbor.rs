//! A small CBOR reader of its own, and everything that is CBOR but not the one deterministic encoding of a value.

/// One CBOR item, as far as the formats use them.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A number: an integer, or a simple value with its major type.
    Head {
        major: u8,
        argument: u64,
    },
    Bytes {
        major: u8,
        bytes: Vec<u8>,
    },
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
}

/// A deviation from the deterministic encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deviation {
    LongerHead,
    Indefinite,
    Tagged,
    KeysSwapped,
    KeyTwice,
    KeyUnknown,
    ItemAdded,
    ItemMissing,
    OtherType,
}

const DEVIATIONS: [Deviation; 9] = [
    Deviation::LongerHead,
    Deviation::Indefinite,
    Deviation::Tagged,
    Deviation::KeysSwapped,
    Deviation::KeyTwice,
    Deviation::KeyUnknown,
    Deviation::ItemAdded,
    Deviation::ItemMissing,
    Deviation::OtherType,
];

pub(crate) fn parse(bytes: &[u8]) -> Item {
    let mut rest = bytes;
    let item = take(&mut rest);
    assert!(rest.is_empty(), "bytes after the item");
    item
}

fn take(rest: &mut &[u8]) -> Item {
    let first = rest[0];
    let (major, small) = (first >> 5, first & 31);
    let width = match small {
        0..=23 => 0,
        24..=27 => 1 << (small - 24),
        _ => panic!("indefinite length"),
    };
    let argument = match width {
        0 => u64::from(small),
        _ => rest[1..=width].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    };
    *rest = &rest[1 + width..];
    let length = usize::try_from(argument).unwrap();
    match major {
        2 | 3 => {
            let (bytes, after) = rest.split_at(length);
            *rest = after;
            Item::Bytes { major, bytes: bytes.to_vec() }
        }
        4 => Item::Array((0..length).map(|_| take(rest)).collect()),
        5 => Item::Map((0..length).map(|_| (take(rest), take(rest))).collect()),
        _ => Item::Head { major, argument },
    }
}

/// Writes an item, deviating at the `at`-th item (counted as they are written). Whether the deviation applied is told by `at` running out.
struct Deviating {
    out: Vec<u8>,
    at: Option<usize>,
    deviation: Deviation,
    applied: bool,
}

impl Deviating {
    fn here(&mut self) -> bool {
        match self.at {
            Some(0) => {
                self.at = None;
                true
            }
            Some(more) => {
                self.at = Some(more - 1);
                false
            }
            None => false,
        }
    }

    fn head(&mut self, major: u8, argument: u64, longer: bool) {
        let width = match argument {
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        let width = match (longer, width) {
            (false, width) => width,
            (true, 0) => 1,
            (true, 8) => 8,
            (true, width) => width * 2,
        };
        let small = match width {
            0 => u8::try_from(argument).unwrap(),
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
        self.out.push((major << 5) | small);
        self.out.extend_from_slice(&argument.to_be_bytes()[8 - width..]);
    }

    fn write(&mut self, item: &Item) {
        let deviation = if self.here() { Some(self.deviation) } else { None };
        match (deviation, item) {
            (Some(Deviation::Tagged), _) => {
                self.applied = true;
                self.head(6, 24, false);
            }
            (Some(Deviation::OtherType), _) => {
                self.applied = true;
                return self.out.push(0xf7);
            }
            _ => {}
        }
        let is = |wanted| deviation == Some(wanted);
        match item {
            Item::Head { major, argument } => {
                self.applied |= is(Deviation::LongerHead) && *major == 0 && *argument <= 0xffff_ffff;
                self.head(*major, *argument, is(Deviation::LongerHead) && *major == 0);
            }
            Item::Bytes { major, bytes } => {
                self.applied |= is(Deviation::LongerHead) || is(Deviation::Indefinite);
                if is(Deviation::Indefinite) {
                    self.out.push((major << 5) | 31);
                }
                self.head(*major, bytes.len() as u64, is(Deviation::LongerHead));
                self.out.extend_from_slice(bytes);
                if is(Deviation::Indefinite) {
                    self.out.push(0xff);
                }
            }
            Item::Array(items) => self.array(items, deviation),
            Item::Map(pairs) => self.map(pairs, deviation),
        }
    }

    fn array(&mut self, items: &[Item], deviation: Option<Deviation>) {
        let is = |wanted| deviation == Some(wanted);
        let mut items = items.to_vec();
        let changed = match deviation {
            Some(Deviation::ItemAdded) => {
                items.push(Item::Head { major: 0, argument: 0 });
                true
            }
            Some(Deviation::ItemMissing) => items.pop().is_some(),
            _ => false,
        };
        self.applied |= changed || is(Deviation::LongerHead) || is(Deviation::Indefinite);
        if is(Deviation::Indefinite) {
            self.out.push((4 << 5) | 31);
        } else {
            self.head(4, items.len() as u64, is(Deviation::LongerHead));
        }
        items.iter().for_each(|item| self.write(item));
        if is(Deviation::Indefinite) {
            self.out.push(0xff);
        }
    }

    fn map(&mut self, pairs: &[(Item, Item)], deviation: Option<Deviation>) {
        let is = |wanted| deviation == Some(wanted);
        let mut pairs = pairs.to_vec();
        let changed = match deviation {
            Some(Deviation::KeysSwapped) if pairs.len() > 1 => {
                pairs.swap(0, 1);
                true
            }
            Some(Deviation::KeyTwice) if !pairs.is_empty() => {
                pairs.push(pairs[pairs.len() - 1].clone());
                true
            }
            Some(Deviation::KeyUnknown) => {
                pairs.push((Item::Head { major: 0, argument: 63 }, Item::Head { major: 0, argument: 0 }));
                true
            }
            _ => false,
        };
        self.applied |= changed || is(Deviation::LongerHead) || is(Deviation::Indefinite);
        if is(Deviation::Indefinite) {
            self.out.push((5 << 5) | 31);
        } else {
            self.head(5, pairs.len() as u64, is(Deviation::LongerHead));
        }
        for (key, value) in &pairs {
            self.write(key);
            self.write(value);
        }
        if is(Deviation::Indefinite) {
            self.out.push(0xff);
        }
    }
}

fn count(item: &Item) -> usize {
    match item {
        Item::Head { .. } | Item::Bytes { .. } => 1,
        Item::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Item::Map(pairs) => 1 + pairs.iter().map(|(key, value)| count(key) + count(value)).sum::<usize>(),
    }
}

pub(crate) fn write(item: &Item) -> Vec<u8> {
    let mut writer = Deviating { out: Vec::new(), at: None, deviation: Deviation::Tagged, applied: false };
    writer.write(item);
    writer.out
}

/// Every encoding that deviates from a deterministic one in one way at one item, with what was done to it.
pub(crate) fn deviations(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let item = parse(bytes);
    assert_eq!(write(&item), bytes, "the encoding is not deterministic to begin with");
    let mut found = vec![("a byte after the end".to_owned(), [bytes, &[0]].concat())];
    found.extend((0..bytes.len()).map(|cut| (format!("cut at {cut}"), bytes[..cut].to_vec())));
    for at in 0..count(&item) {
        for deviation in DEVIATIONS {
            let mut writer = Deviating { out: Vec::new(), at: Some(at), deviation, applied: false };
            writer.write(&item);
            if writer.applied && !(deviation == Deviation::ItemMissing && writer.out == bytes) {
                found.push((format!("{deviation:?} at item {at}"), writer.out));
            }
        }
    }
    found
}
