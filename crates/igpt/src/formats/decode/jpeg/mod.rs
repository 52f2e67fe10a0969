//! Check whether a JPEG file holds the whole picture of its header.
//!
//! Decoders silently fill what is missing with grey, which would teach a model grey areas. A file is complete if its
//! blocks use up the entropy-coded data of each scan exactly, restart markers stand where they belong, all scans exist,
//! and the end-of-image marker follows. Like libjpeg, which warns of "extraneous bytes" and of a "premature end", the
//! check tolerates bytes after the end, and fill bytes and unknown segments between scans. Where libjpeg would warn, the
//! file counts as damaged, except for three bytes of zeros or ones after a scan.
//!
//! Reading order: [`mod@frame`], [`mod@bits`], [`mod@scan`], this file. Source: ITU-T T.81.

mod bits;
mod frame;
mod scan;

use self::bits::{Fault, Table};
use self::frame::Frame;
use self::scan::Scan;
use super::{Limit, Problem};

/// The header of a JPEG file: width, height, components, and whether it is progressive.
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: usize,
    pub(super) progressive: bool,
}

/// Refuses an incomplete file, and one of more pixels than `limit` before memory is allocated.
pub(super) fn check(bytes: &[u8], limit: &Limit) -> Result<Header, Problem> {
    let mut file =
        File { bytes, at: 2, dc: Default::default(), ac: Default::default(), restart: 0, tables_known: true };
    let (mut frame, mut known) = (None, Vec::new());
    loop {
        let code = file.marker()?;
        match code {
            0xd9 => break,
            // Restart markers after the last unit are tolerated, as is a second start of image.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let segment = file.segment()?;
        match code {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if frame.is_some() {
                    return Err(Problem::unsupported("a JPEG of several frames"));
                }
                let new = Frame::new(code, segment)?;
                limit.check(new.width, new.height)?;
                known = new.room()?;
                frame = Some(new);
            }
            0xc4 => file.tables(segment)?,
            0xcc => return Err(Problem::unsupported("a JPEG with arithmetic coding")),
            0xdd => match segment {
                &[high, low] => file.restart = u16::from_be_bytes([high, low]).into(),
                _ => return Err(Problem::damaged("a damaged JPEG header")),
            },
            // Frames of motion JPEG leave out the tables that all of them have.
            0xe0 if segment.starts_with(b"AVI1") => file.tables_known = false,
            0xda => {
                let Some(frame) = &mut frame else { return Err(Problem::damaged("a damaged JPEG header")) };
                file.scan(segment, frame, &mut known)?;
            }
            _ => {}
        }
    }
    let Some(frame) = frame else { return Err(Problem::damaged("the JPEG file holds no picture: copy it again")) };
    if !frame.is_complete() {
        return Err(Problem::damaged("a part of the JPEG data is missing: copy or download it again"));
    }
    let Frame { width, height, components, progressive, .. } = frame;
    Ok(Header { width, height, components: components.len(), progressive })
}

/// A file on the way from its start to its end.
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: u32,
    /// Whether the tables that are in the file are all there are.
    tables_known: bool,
}

impl<'a> File<'a> {
    /// The next marker's code. Bytes before it that are none are passed over.
    fn marker(&mut self) -> Result<u8, Problem> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(start) = rest.iter().position(|&byte| byte == 0xff) else { return Err(cut()) };
            let Some(fill) = rest[start..].iter().position(|&byte| byte != 0xff) else { return Err(cut()) };
            self.at += start + fill + 1;
            match rest[start + fill] {
                0 => {}
                code => return Ok(code),
            }
        }
    }

    /// The segment that begins here with its length.
    fn segment(&mut self) -> Result<&'a [u8], Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let &[high, low, ..] = rest else { return Err(cut()) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(Problem::damaged("a damaged JPEG header"));
        }
        self.at += length;
        rest.get(2..length).ok_or_else(cut)
    }

    /// Huffman tables.
    fn tables(&mut self, mut segment: &[u8]) -> Result<(), Problem> {
        let damaged = || Problem::damaged("a damaged JPEG table");
        while let Some((&which, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk().ok_or_else(damaged)?;
            let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let values = rest.get(16..16 + total).filter(|values| values.len() <= 256).ok_or_else(damaged)?;
            let tables = if which >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let place = tables.get_mut(usize::from(which & 15)).ok_or_else(damaged)?;
            *place = Some(Table::new(counts, values).ok_or_else(damaged)?);
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    /// A scan: its header, and the data that follow.
    fn scan(&mut self, header: &[u8], frame: &mut Frame, known: &mut [Vec<u64>]) -> Result<(), Problem> {
        let damaged = || Problem::damaged("a damaged JPEG scan header");
        let (&count, rest) = header.split_first().ok_or_else(damaged)?;
        let (named, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(damaged)?;
        let &[first, last, shift] = rest else { return Err(damaged()) };
        let (first, last) = if frame.progressive { (usize::from(first), usize::from(last)) } else { (0, 63) };
        let (high, low) = if frame.progressive { (shift >> 4, shift & 15) } else { (0, 0) };
        let band = if first == 0 { last == 0 || !frame.progressive } else { first <= last && count == 1 };
        if !band || last > 63 || !(1..=4).contains(&count) {
            return Err(damaged());
        }
        let mut parts = Vec::new();
        for pair in named.chunks_exact(2) {
            let part = frame.components.iter().position(|component| component.id == pair[0]).ok_or_else(damaged)?;
            let (dc, ac) = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            let has = |tables: &[Option<Table>; 4], which: usize| tables.get(which).is_some_and(Option::is_some);
            // What refines DC values needs no table.
            let needs_dc = first == 0 && high == 0;
            let needs_ac = last > 0;
            if (needs_dc && !has(&self.dc, dc)) || (needs_ac && !has(&self.ac, ac)) {
                if self.tables_known {
                    return Err(Problem::damaged("a JPEG table is missing"));
                }
                // They can't be checked; the picture ends at the next marker.
                frame.components.iter_mut().for_each(|component| component.missing = [Some(0); 64]);
                return Ok(());
            }
            parts.push((part, dc, ac));
            frame.components[part].missing[first..=last].fill(Some(low));
        }
        let parts = parts.into_iter().map(|(part, dc, ac)| {
            (part, self.dc.get(dc).and_then(Option::as_ref), self.ac.get(ac).and_then(Option::as_ref))
        });
        let parts = parts.collect();
        let scan = Scan { parts, first, last, refines: high > 0, restart: self.restart };
        self.at = scan::read(self.bytes, self.at, frame, &scan, known).map_err(|fault| match fault {
            Fault::Short => Problem::damaged("the JPEG data end before the picture does: copy or download it again"),
            Fault::Long => Problem::damaged(
                "the JPEG data don't end with the picture, so a part of them is damaged: copy or download it again",
            ),
            Fault::Code => Problem::damaged("the JPEG data are damaged: copy or download it again"),
        })?;
        Ok(())
    }
}

fn cut() -> Problem {
    Problem::damaged("the JPEG data are cut off")
}

#[cfg(test)]
mod tests;
