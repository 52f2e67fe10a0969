//! Frame header of a JPEG file: size, components and their sampling (ITU-T T.81, B.2.2).

use crate::formats::decode::Problem;

/// A frame header.
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
    /// Columns and rows of the units in which several components come (MCU).
    pub(super) units: (u32, u32),
}

/// One component: brightness or a colour.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of a unit, across and down.
    pub(super) sampling: [u32; 2],
    /// Columns and rows of blocks that it has in a scan of its own.
    pub(super) blocks: (u32, u32),
    /// Blocks of a row when rows are whole units.
    pub(super) stride: usize,
    /// For each coefficient the bits that are still missing; none before the first scan that brings it.
    pub(super) missing: [Option<u8>; 64],
}

impl Frame {
    /// Reads a frame header's segment, which begins with marker `code`.
    pub(super) fn new(code: u8, segment: &[u8]) -> Result<Self, Problem> {
        let kind = match code {
            0xc0..=0xc2 => "",
            0xc3 => "a lossless JPEG",
            0xc5..=0xc7 => "a hierarchical JPEG",
            _ => "a JPEG with arithmetic coding",
        };
        if !kind.is_empty() {
            return Err(Problem::unsupported(kind));
        }
        let damaged = || Problem::damaged("a damaged JPEG header");
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = segment else { return Err(damaged()) };
        if precision != 8 {
            return Err(Problem::unsupported(format!("a JPEG of {precision} bits")));
        }
        let (width, height) = (u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0])));
        if height == 0 && width > 0 {
            return Err(Problem::unsupported("a JPEG that says its height after the picture"));
        }
        let sampled: Vec<(u8, u32, u32)> =
            rest.chunks_exact(3).map(|c| (c[0], u32::from(c[1] >> 4), u32::from(c[1] & 15))).collect();
        let sides = || sampled.iter().flat_map(|&(_, h, v)| [h, v]);
        if width == 0 || !(1..=4).contains(&count) || rest.len() != 3 * usize::from(count) {
            return Err(damaged());
        }
        if sides().any(|side| !(1..=4).contains(&side)) {
            return Err(damaged());
        }
        let most = |side: fn(&(u8, u32, u32)) -> u32| sampled.iter().map(side).max().unwrap_or(1);
        let (most_h, most_v) = (most(|s| s.1), most(|s| s.2));
        let units = (width.div_ceil(8 * most_h), height.div_ceil(8 * most_v));
        let component = |&(id, h, v): &(u8, u32, u32)| Component {
            id,
            sampling: [h, v],
            blocks: ((width * h).div_ceil(most_h).div_ceil(8), (height * v).div_ceil(most_v).div_ceil(8)),
            stride: (units.0 * h) as usize,
            missing: [None; 64],
        };
        let components = sampled.iter().map(component).collect();
        Ok(Self { progressive: code == 0xc2, width, height, components, units })
    }

    /// Room for which coefficients are not zero, a bit for each.
    pub(super) fn room(&self) -> Result<Vec<Vec<u64>>, Problem> {
        let component = |component: &Component| {
            let mut known = Vec::new();
            if self.progressive {
                let blocks = component.stride * (self.units.1 * component.sampling[1]) as usize;
                known.try_reserve_exact(blocks).map_err(|_| Problem::no_memory(8 * blocks as u64))?;
                known.resize(blocks, 0);
            }
            Ok(known)
        };
        self.components.iter().map(component).collect()
    }

    /// Whether all scans were there that the picture is made of.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.missing.iter().all(|&missing| missing == Some(0)))
    }
}
