use super::*;

/// Little-endian TIFF of one strip; values of 1 or 2 numbers of 16 bits go into the entry itself.
fn file(width: u32, height: u32, tags: &[(u16, &[u16])], data: &[u8]) -> Vec<u8> {
    let mut all: Vec<(u16, Vec<u16>)> = tags.iter().map(|(tag, values)| (*tag, values.to_vec())).collect();
    all.push((tag::WIDTH, vec![width as u16]));
    all.push((tag::HEIGHT, vec![height as u16]));
    all.push((tag::STRIP_BYTES, vec![data.len() as u16]));
    all.push((tag::STRIP_OFFSETS, vec![8]));
    all.sort();
    let mut bytes = b"II*\0".to_vec();
    bytes.extend((8 + data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend((all.len() as u16).to_le_bytes());
    let mut beyond = bytes.len() + 12 * all.len() + 4;
    let mut values = Vec::new();
    for (tag, numbers) in &all {
        bytes.extend(tag.to_le_bytes());
        bytes.extend([3, 0]);
        bytes.extend((numbers.len() as u32).to_le_bytes());
        let own: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        if own.len() <= 4 {
            bytes.extend(own.iter().copied().chain([0; 4]).take(4));
        } else {
            bytes.extend((beyond as u32).to_le_bytes());
            beyond += own.len();
            values.extend(own);
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(values);
    bytes
}

fn pixels(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    decode(bytes, &Limit::NONE).map(|(raw, _)| raw.on_white().data)
}

fn unsupported(bytes: &[u8], words: &str) {
    match pixels(bytes) {
        Err(Problem::Unsupported(what)) => assert!(what.contains(words), "{what}"),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn colours_multiplied_by_alpha_are_laid_on_white_once() {
    let rgba = [(tag::BITS, &[8u16; 4][..]), (tag::PHOTOMETRIC, &[2]), (tag::SAMPLES, &[4])];
    let with = |kind: &'static [u16]| [&rgba[..], &[(tag::EXTRA_SAMPLES, kind)]].concat();
    let data = [100, 30, 10, 127, 0, 0, 0, 0, 9, 8, 7, 255];
    assert_eq!(pixels(&file(3, 1, &with(&[1]), &data)).unwrap(), [228, 158, 138, 255, 255, 255, 9, 8, 7]);
    // 100 of half opacity beside 255 of white; the fourth sample of unknown meaning is left alone.
    assert_eq!(pixels(&file(3, 1, &with(&[2]), &data)).unwrap()[..3], [178, 143, 133]);
    assert_eq!(pixels(&file(3, 1, &with(&[0]), &data)).unwrap()[..3], [100, 30, 10]);
    let deep: Vec<u8> = data.iter().flat_map(|&v| (u16::from(v) * 257).to_le_bytes()).collect();
    let mut tags = with(&[1]);
    tags[0].1 = &[16; 4];
    assert_eq!(pixels(&file(3, 1, &tags, &deep)).unwrap(), [228, 158, 138, 255, 255, 255, 9, 8, 7]);
}

#[test]
fn grey_with_a_second_sample_is_read() {
    let grey = [(tag::BITS, &[8u16, 8][..]), (tag::PHOTOMETRIC, &[1]), (tag::SAMPLES, &[2])];
    let with = |kind: &'static [u16]| [&grey[..], &[(tag::EXTRA_SAMPLES, kind)]].concat();
    let data = [10, 255, 20, 0];
    assert_eq!(pixels(&file(2, 1, &grey, &data)).unwrap(), [10, 20]);
    assert_eq!(pixels(&file(2, 1, &with(&[0]), &data)).unwrap(), [10, 20]);
    assert_eq!(pixels(&file(2, 1, &with(&[2]), &data)).unwrap(), [10, 255]);
    assert_eq!(pixels(&file(2, 1, &with(&[1]), &[10, 255, 0, 55])).unwrap(), [10, 200]);
    let inverted = [(tag::BITS, &[8u16][..]), (tag::PHOTOMETRIC, &[0])];
    assert_eq!(pixels(&file(2, 1, &inverted, &[10, 255])).unwrap(), [245, 0]);
}

#[test]
fn palettes_and_few_bits_are_read() {
    let map: Vec<u16> = (0..3).flat_map(|c| (0..16).map(move |i| (c * 16 + i) << 8)).collect();
    let tags = [(tag::BITS, &[4u16][..]), (tag::PHOTOMETRIC, &[3]), (tag::COLOR_MAP, &map)];
    assert_eq!(pixels(&file(3, 1, &tags, &[0x1f, 0x20])).unwrap(), [1, 17, 33, 15, 31, 47, 2, 18, 34]);
    assert_eq!(has_color(&file(3, 1, &tags, &[0x1f, 0x20])), Some(true));
    let grey = [(tag::BITS, &[4u16][..]), (tag::PHOTOMETRIC, &[1])];
    assert_eq!(pixels(&file(3, 1, &grey, &[0x1f, 0x20])).unwrap(), [17, 255, 34]);
    let bits = [(tag::BITS, &[1u16][..]), (tag::PHOTOMETRIC, &[0])];
    assert_eq!(pixels(&file(3, 1, &bits, &[0b1010_0000])).unwrap(), [0, 255, 0]);
}

#[test]
fn floating_point_values_are_read_or_refused_by_their_range() {
    let tags = [(tag::BITS, &[32u16][..]), (tag::PHOTOMETRIC, &[1]), (tag::SAMPLE_FORMAT, &[3])];
    let float = |values: [f32; 3]| file(3, 1, &tags, &values.map(f32::to_le_bytes).concat());
    assert_eq!(pixels(&float([0.0, 0.5, 1.0])).unwrap(), [0, 128, 255]);
    assert_eq!(pixels(&float([0.0, 7.0, 255.0])).unwrap(), [0, 7, 255]);
    unsupported(&float([0.0, 0.5, 7.0]), "from 0 to 7");
    unsupported(&float([-1.0, 0.5, 0.0]), "from -1 to 0.5");
    unsupported(&float([f32::NAN, 0.5, 0.0]), "no numbers");
    let half = [(tag::BITS, &[16u16][..]), (tag::PHOTOMETRIC, &[1]), (tag::SAMPLE_FORMAT, &[3])];
    let data: Vec<u8> = [0.0, 0.5, 1.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    assert_eq!(pixels(&file(3, 1, &half, &data)).unwrap(), [0, 128, 255]);
}

#[test]
fn kinds_that_are_not_read_are_told_from_damage() {
    let cmyk = [(tag::BITS, &[8u16; 4][..]), (tag::PHOTOMETRIC, &[5]), (tag::SAMPLES, &[4])];
    assert_eq!(pixels(&file(1, 1, &cmyk, &[0, 255, 0, 0])).unwrap(), [255, 0, 255]);
    let lab = [(tag::BITS, &[8u16; 3][..]), (tag::PHOTOMETRIC, &[8]), (tag::SAMPLES, &[3])];
    unsupported(&file(1, 1, &lab, &[0; 3]), "Lab");
    let signed = [(tag::BITS, &[16u16][..]), (tag::PHOTOMETRIC, &[1]), (tag::SAMPLE_FORMAT, &[2])];
    unsupported(&file(1, 1, &signed, &[0; 2]), "sign");
    let long = [(tag::BITS, &[32u16][..]), (tag::PHOTOMETRIC, &[1])];
    unsupported(&file(1, 1, &long, &[0; 4]), "32 bits");
    let twelve = [(tag::BITS, &[12u16][..]), (tag::PHOTOMETRIC, &[1])];
    unsupported(&file(2, 1, &twelve, &[0; 3]), "12");
    let bands = [(tag::BITS, &[8u16; 3][..]), (tag::PHOTOMETRIC, &[1]), (tag::SAMPLES, &[3])];
    unsupported(&file(1, 1, &bands, &[0; 3]), "3 bands");
    let planes = [(tag::BITS, &[8u16; 3][..]), (tag::PHOTOMETRIC, &[2]), (tag::SAMPLES, &[3]), (tag::PLANAR, &[2])];
    let tiles = [&planes[..], &[(tag::TILE_WIDTH, &[16]), (tag::TILE_HEIGHT, &[16])]].concat();
    unsupported(&file(20, 20, &tiles, &[0; 3]), "tiles with a plane");
    let grey = [(tag::BITS, &[8u16][..]), (tag::PHOTOMETRIC, &[1])];
    let whole = file(40, 40, &grey, &[7; 1600]);
    assert_eq!(pixels(&whole).unwrap(), [7; 1600]);
    for part in [whole.len() / 2, whole.len() - 30, 4, 9] {
        assert!(matches!(pixels(&whole[..part]), Err(Problem::Damaged(_))), "{part} bytes");
    }
    // Fewer bytes than the picture takes, and a count of values beyond the file.
    assert!(matches!(pixels(&file(40, 4000, &grey, &[7; 1600])), Err(Problem::Damaged(_))));
    let mut absurd = whole;
    let entry = absurd.windows(4).rposition(|w| w == [0x11, 1, 3, 0]).unwrap();
    absurd[entry + 4..entry + 8].fill(0x7f);
    assert!(matches!(pixels(&absurd), Err(Problem::Damaged(_))));
}

#[test]
fn whole_lzw_tiles_over_the_edge_are_read_or_not_supported_but_never_damaged() {
    // Made by testdata/tiff/make.py.
    let bytes = include_bytes!("../../../../../../testdata/tiff/lzw-tiles.tif");
    if let Err(error) = crate::formats::decode::from_bytes(bytes, 1, usize::MAX) {
        assert!(error.to_string().contains(crate::formats::decode::NOT_SUPPORTED), "{error}");
    }
}
