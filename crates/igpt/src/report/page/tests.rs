use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::formats::png::{self, TextChunks};
use crate::image::{ImageSize, mask_after};
use crate::report::Chart;
use crate::report::chart::{ReferenceLine, Series, SeriesStyle};

fn image(seed: usize) -> Pixels {
    let size = ImageSize::square(16);
    Pixels::new(size, 3, (0..768).map(|i| (i * (seed + 3) / 5 % 256) as u8).collect())
}

fn page() -> Page {
    let colors = vec![[0, 0, 0], [255, 128, 0], [255, 255, 255]];
    let completion = |i| Completion {
        name: format!("<script>{i}"),
        input: mask_after(&image(i), 128),
        completions: vec![image(i + 1), image(i + 2)],
        original: image(i),
    };
    let chart = Chart {
        series: vec![
            Series::new(
                "train",
                SeriesStyle::Noisy,
                (1..100).map(|i| (i as f64, 4.0 / (i as f64).sqrt() + 1.0)).collect(),
            ),
            Series::new("validation", SeriesStyle::Line, vec![(50.0, 1.5), (99.0, 1.4)]),
        ],
        levels: vec![ReferenceLine { name: "context".into(), value: 1.6, own: false }],
        ..Chart::default()
    };
    let pair = ImageWithMap { name: "<odd>".into(), image: image(1), map: image(2) };
    let file = png::encode(&image(3), &TextChunks::none());
    let table = Table { head: vec!["run".into(), "<nats>".into()], rows: vec![vec!["a".into(), "1.4".into()]] };
    let matrix = ConfusionMatrix { names: vec!["<cats>".into()], counts: vec![vec![1]] };
    let figure = Figure { name: "loss".into(), value: "1.4 nats".into(), meaning: "lower is better".into() };
    let sections = vec![
        Section::new("Drawn from nothing", vec![Block::Images((0..6).map(image).collect())]),
        Section::new(
            "Drawing",
            vec![Block::Animation { gif: b"GIF89a".to_vec(), still: image(9), alt: "drawing".into() }],
        ),
        Section::new("Completed", vec![Block::Completions((0..3).map(completion).collect()), Block::caption("half")]),
        Section::new("Odd", vec![Block::Heading("run & run".into()), Block::Pairs(vec![pair])]),
        Section::new("Over time", vec![Block::Timeline(vec![("step 1".into(), file)])]),
        Section::new("Learning", vec![Block::Chart(chart)]),
        Section::new("Figures", vec![Block::Figures(vec![figure]), Block::Table(table), Block::Matrix(matrix)]),
        Section::new("Palette", vec![Block::Swatch(Swatch { colors, caption: "3 colours".into() })]),
        Section::new("Nothing", vec![]),
        Section::new(
            "Going on",
            vec![
                Block::Command("igpt eval".into()),
                Block::Commands(vec![Command { purpose: "More".into(), line: "igpt sample --out a.png".into() }]),
            ],
        ),
    ];
    Page {
        title: "Emoji & more".into(),
        lead: "A model \"learned\".".into(),
        headline: vec![("1.234".into(), "nats per pixel".into())],
        icon: Some(image(0)),
        sections,
        footer: "igpt".into(),
    }
}

/// Values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}='");
    html.split(&start).skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_no_scripts() {
    let html = page().html();
    for name in ["src", "srcset", "href"] {
        let found = attributes(&html, name);
        assert!(!found.is_empty(), "{name}");
        assert!(found.iter().all(|value| value.starts_with("data:image/")), "{name}: {found:?}");
    }
    for word in ["http:", "https:", "url(", "@import", "<script", "<link rel='stylesheet'", "<iframe"] {
        assert!(!html.contains(word), "{word}");
    }
    // Samples, the strip, three completions of four pictures, a pair, and one sheet.
    assert_eq!(html.matches("<img ").count(), 6 + 1 + 3 * 4 + 2 + 1);
}

#[test]
fn every_picture_on_the_page_reads_back() {
    let html = page().html();
    let uris = attributes(&html, "src");
    let bytes = STANDARD.decode(uris[2].strip_prefix("data:image/png;base64,").unwrap()).unwrap();
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut data).unwrap();
    assert_eq!(data, image(2).data);
}

#[test]
fn words_from_outside_are_escaped() {
    let html = page().html();
    assert!(
        html.contains("Emoji &amp; more")
            && html.contains("&quot;learned&quot;")
            && html.contains("&lt;script&gt;1")
            && html.contains("&lt;odd&gt;")
            && html.contains("&lt;nats&gt;")
            && html.contains("&lt;cats&gt;")
    );
}

#[test]
fn sections_without_content_leave_no_heading() {
    let html = page().html();
    assert!(html.contains("<h2>Learning</h2>") && !html.contains("Nothing"));
}
