//! Event files of TensorBoard: records of a length, its checksum, a protocol buffer, and its checksum.
//!
//! ```text
//! record   length u64 | masked crc32c of it u32 | event | masked crc32c of it u32            all little-endian
//! event    1: wall time f64   2: step i64   3: "brain.Event:2" (the first)   5: summary
//! summary  1: value, each of  1: tag   2: number f32
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Observer, file};
use crate::{Report, Result};

/// Appends the numbers of every step to an event file in a folder, one folder a run.
///
/// It is read while it is written, and whole records are all that readers take; so it has its name from the start.
///
/// ```
/// use osculate_optim::observe::{Events, Observer};
/// let folder = std::env::temp_dir().join(format!("osculate-doc-events-{}", std::process::id()));
/// let mut events = Events::create(&folder)?;
/// events.scalar("test/accuracy", 100, 0.97)?; // any number besides those of reports
/// events.finish()?;
/// assert!(events.path().starts_with(&folder));
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    to: BufWriter<File>,
    /// The record that is being made.
    event: Vec<u8>,
    summary: Vec<u8>,
    unflushed: u32,
}

/// Steps that may be lost if the program is killed.
const UNFLUSHED: u32 = 100;

impl Events {
    /// Begins a file in a folder, which is made if there is none.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(folder: &Path) -> Result<Events> {
        std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
        let now = now();
        let name = format!("events.out.tfevents.{:010}.osculate.{}.{:09}", now as u64, std::process::id(), nanos(now));
        let path = folder.join(name);
        // Never another run's.
        let to = File::create_new(&path).map_err(|error| file(&path, error))?;
        let mut events = Events { path, to: BufWriter::new(to), event: Vec::new(), summary: Vec::new(), unflushed: 0 };
        events.begin(0);
        bytes(&mut events.event, 3, b"brain.Event:2");
        events.write()?;
        Ok(events)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a number under a name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, number: f64) -> Result<()> {
        self.begin(step);
        value(&mut self.summary, tag, number);
        self.end()
    }

    fn begin(&mut self, step: u64) {
        self.event.clear();
        self.summary.clear();
        self.event.push(1 << 3 | 1);
        self.event.extend(now().to_le_bytes());
        self.event.push(2 << 3);
        varint(&mut self.event, step);
    }

    fn end(&mut self) -> Result<()> {
        bytes(&mut self.event, 5, &self.summary);
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let length = (self.event.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked(&length), &self.event, &masked(&self.event)];
        let written = parts.into_iter().try_for_each(|part| self.to.write_all(part));
        written.map_err(|error| file(&self.path, error))?;
        self.unflushed += 1;
        if self.unflushed >= UNFLUSHED { self.finish() } else { Ok(()) }
    }
}

impl Observer for Events {
    fn see(&mut self, step: u64, report: &Report) -> Result<()> {
        self.begin(step);
        for (name, number) in Report::NUMBERS.iter().zip(report.numbers()) {
            if let Some(number) = number {
                value(&mut self.summary, name, number);
            }
        }
        value(&mut self.summary, "not taken", f64::from(u8::from(report.status != crate::Status::Stepped)));
        self.end()
    }

    fn finish(&mut self) -> Result<()> {
        self.unflushed = 0;
        self.to.flush().map_err(|error| file(&self.path, error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn nanos(seconds: f64) -> u32 {
    (seconds.fract() * 1e9) as u32
}

/// A number in groups of seven bits, the lowest first.
fn varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// A field of bytes.
fn bytes(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    to.push(field << 3 | 2);
    varint(to, content.len() as u64);
    to.extend(content);
}

/// A value of a summary: a field of bytes whose length is known beforehand.
fn value(to: &mut Vec<u8>, tag: &str, number: f64) {
    let tag = tag.as_bytes();
    // Bytes of the tag's own length.
    let groups = (64 - (tag.len() as u64 | 1).leading_zeros()).div_ceil(7) as u64;
    to.push(1 << 3 | 2);
    varint(to, 1 + groups + tag.len() as u64 + 5);
    bytes(to, 1, tag);
    to.push(2 << 3 | 5);
    to.extend((number as f32).to_le_bytes());
}

/// The checksum as records carry it.
fn masked(content: &[u8]) -> [u8; 4] {
    (crc32c(content).rotate_right(15).wrapping_add(0xa282_ead8)).to_le_bytes()
}

/// Castagnoli's CRC.
fn crc32c(content: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    !content.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Reads fields: number, and content or varint.
    fn fields(mut at: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        let read = |at: &mut &[u8]| {
            let (mut number, mut shift) = (0u64, 0);
            loop {
                let byte = at[0];
                *at = &at[1..];
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return number;
                }
            }
        };
        while !at.is_empty() {
            let key = read(&mut at) as u8;
            let length = match key & 7 {
                0 => {
                    let number = read(&mut at);
                    all.push((key >> 3, number.to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => read(&mut at) as usize,
                _ => 4,
            };
            all.push((key >> 3, at[..length].to_vec()));
            at = &at[length..];
        }
        all
    }

    #[test]
    fn records_can_be_read() {
        let folder = std::env::temp_dir().join(format!("osculate-events-{}", std::process::id()));
        let mut events = Events::create(&folder).unwrap();
        let long = "x".repeat(300);
        events.scalar(&long, 1 << 40, 2.5).unwrap();
        let report = Report { gain: Some(0.25), ..Report::new(crate::Status::Fallback, 3.0, 0.5) };
        events.see(300, &report).unwrap();
        events.finish().unwrap();
        let file = std::fs::read(events.path()).unwrap();
        std::fs::remove_dir_all(&folder).ok();

        let mut rest = &file[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked(&rest[..8]));
            let event = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked(event));
            records.push(fields(event));
            rest = &rest[16 + length..];
        }
        assert_eq!(records.len(), 3);
        assert_eq!(records[0][2], (3, b"brain.Event:2".to_vec()));
        assert_eq!(records[1][1], (2, (1u64 << 40).to_le_bytes().to_vec()));
        let values = |record: &[(u8, Vec<u8>)]| -> Vec<(String, f32)> {
            (fields(&record[2].1).iter())
                .map(|(_, value)| {
                    let value = fields(value);
                    let number = f32::from_le_bytes(value[1].1[..].try_into().unwrap());
                    (String::from_utf8(value[0].1.clone()).unwrap(), number)
                })
                .collect()
        };
        assert_eq!(values(&records[1]), [(long, 2.5)]);
        let want = [("loss", 3.0), ("step size", 0.5), ("gain", 0.25), ("not taken", 1.0)];
        assert_eq!(values(&records[2]), want.map(|(name, number)| (name.to_string(), number)));
    }
}
