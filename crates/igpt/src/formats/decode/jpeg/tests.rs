use super::*;

/// Files that Pillow wrote: see testdata/make_jpegs.py.
const FILES: [&[u8]; 7] = [
    include_bytes!("../../../../../../testdata/jpeg/baseline.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/progressive.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/restarts.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/progressive-restarts.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/grey.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/cmyk.jpg"),
    include_bytes!("../../../../../../testdata/jpeg/flat.jpg"),
];
const FLAT: &[u8] = FILES[6];

fn problem(bytes: &[u8]) -> Option<Problem> {
    check(bytes, &Limit::NONE).err()
}

/// Where the data of the first scan begin.
fn scan(bytes: &[u8]) -> usize {
    let marker = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    marker + 2 + usize::from(u16::from_be_bytes([bytes[marker + 2], bytes[marker + 3]]))
}

/// The file with other sides in its header.
fn resized(bytes: &[u8], height: u16, width: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let frame = bytes.windows(4).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1]) && w[2] == 0).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

#[test]
fn what_encoders_write_is_whole() {
    for (i, bytes) in FILES.iter().enumerate() {
        assert_eq!(problem(bytes), None, "file {i}");
        // Bytes after the end, fill bytes before it, a word's padding, a comment between.
        let end = bytes.len() - 2;
        for extra in [&[0xff, 0xff][..], &[0xff, 0xfe, 0, 4, 1, 2], &[0, 0, 0], &[0xff, 0]] {
            let mut padded = bytes[..end].to_vec();
            padded.extend(extra);
            padded.extend([0xff, 0xd9, 1, 2, 0xff, 0xda]);
            assert_eq!(problem(&padded), None, "file {i} with {extra:?}");
        }
    }
}

#[test]
fn a_flat_picture_is_whole_though_its_data_are_zeros() {
    assert!(FLAT[scan(FLAT) + 4..FLAT.len() - 3].iter().all(|&byte| byte == 0), "zeros up to the padding");
    assert_eq!(problem(FLAT), None);
    assert!(problem(&resized(FLAT, 24, 64)).is_some() && problem(&resized(FLAT, 480, 64)).is_some());
}

#[test]
fn a_scan_that_is_cut_short_is_damage_whatever_follows() {
    for (i, bytes) in FILES[..6].iter().enumerate() {
        let start = scan(bytes);
        for k in 0..20 {
            let cut = start + (bytes.len() - start - 8) * k / 20;
            assert!(problem(&bytes[..cut]).is_some(), "file {i} cut at {cut}");
            let ended = [&bytes[..cut], &[0xff, 0xd9]].concat();
            assert!(problem(&ended).is_some(), "file {i} ended at {cut}");
        }
    }
}

#[test]
fn zeros_in_the_place_of_data_are_damage() {
    for (i, bytes) in FILES[..6].iter().enumerate() {
        let (start, end) = (scan(bytes), bytes.len() - 2);
        for k in 0..10 {
            let mut zeroed = bytes.to_vec();
            let from = start + (end - start) * k / 20;
            zeroed[from..(from + (end - start) * 2 / 5).min(end)].fill(0);
            assert!(problem(&zeroed).is_some(), "file {i} zeroed from {from}");
        }
        let mut zeroed = bytes.to_vec();
        zeroed[start..end].fill(0);
        assert!(problem(&zeroed).is_some(), "file {i} without data");
    }
}

#[test]
fn data_of_another_size_are_damage() {
    for (i, bytes) in FILES[..6].iter().enumerate() {
        for (height, width) in [(29, 60), (60, 43), (8, 8), (8000, 20000)] {
            assert!(problem(&resized(bytes, height, width)).is_some(), "file {i} as {height}×{width}");
        }
    }
}

#[test]
fn what_is_not_read_is_named() {
    let kind = |code: u8| {
        let mut bytes = FILES[0].to_vec();
        let frame = bytes.windows(3).position(|w| w == [0xff, 0xc0, 0]).unwrap();
        bytes[frame + 1] = code;
        problem(&bytes)
    };
    for (code, words) in [(0xc3, "lossless"), (0xc5, "hierarchical"), (0xc9, "arithmetic"), (0xca, "arithmetic")] {
        let Some(Problem::Unsupported(what)) = kind(code) else { panic!("{code:x}") };
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn components_may_come_in_scans_of_their_own() {
    // Grey, once more as a second component with the same tables in a scan of its own.
    let grey = FILES[4];
    let frame = grey.windows(3).position(|w| w == [0xff, 0xc0, 0]).unwrap();
    let header = grey.windows(3).position(|w| w == [0xff, 0xda, 0]).unwrap();
    let data = &grey[scan(grey)..grey.len() - 2];
    let mut bytes = grey[..frame].to_vec();
    bytes.extend([0xff, 0xc0, 0, 14, 8, 0, 29, 0, 43, 2, 1, 0x11, 0, 2, 0x11, 0]);
    bytes.extend(&grey[frame + 2 + 11..header]);
    let scan = |id: u8| [&[0xff, 0xda, 0, 8, 1, id, 0, 0, 63, 0], data].concat();
    let both = [&bytes[..], &scan(1), &scan(2), &[0xff, 0xd9]].concat();
    assert_eq!(problem(&both), None);
    let one = [&bytes[..], &scan(1), &[0xff, 0xd9]].concat();
    assert!(matches!(problem(&one), Some(Problem::Damaged(what)) if what.contains("missing")));
}
