use super::*;
use crate::model::ImageSize;
use crate::report::chart::Level;
use crate::report::not_given;

fn image(seed: usize) -> Pixels {
    let size = ImageSize::square(16);
    Pixels::new(size, 3, (0..768).map(|i| (i * (seed + 3) / 5 % 256) as u8).collect())
}

fn page() -> Page {
    let colors = vec![[0, 0, 0], [255, 128, 0], [255, 255, 255]];
    let completion = |i| Completion {
        name: format!("<script>{i}"),
        input: not_given(&image(i), 128),
        completions: vec![image(i + 1), image(i + 2)],
        original: image(i),
    };
    Page {
        title: "Emoji & more".into(),
        lead: "A model \"learned\".".into(),
        headline: vec![("1.234".into(), "nats per pixel".into())],
        samples: (0..6).map(image).collect(),
        samples_caption: "seed 42".into(),
        animation: Some((b"GIF89a".to_vec(), image(9))),
        completions: (0..3).map(completion).collect(),
        completions_caption: "half".into(),
        chart: Chart {
            train: (1..100).map(|i| (i as f64, 4.0 / (i as f64).sqrt() + 1.0)).collect(),
            validation: vec![(50.0, 1.5), (99.0, 1.4)],
            levels: vec![Level { name: "context".into(), value: 1.6, own: false }],
        },
        chart_caption: "loss".into(),
        swatch: Swatch { colors, caption: "3 colours".into() },
        figures: vec![Figure { name: "loss".into(), value: "1.4 nats".into(), meaning: "lower is better".into() }],
        commands: vec![Command { purpose: "More".into(), line: "igpt sample --out a.png".into() }],
        footer: "igpt".into(),
    }
}

/// The values of an attribute.
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
    // Samples, the strip, and three completions of four pictures.
    assert_eq!(html.matches("<img ").count(), 6 + 1 + 3 * 4);
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
        html.contains("Emoji &amp; more") && html.contains("&quot;learned&quot;") && html.contains("&lt;script&gt;1")
    );
}

#[test]
fn parts_without_content_leave_no_heading() {
    let mut page = page();
    page.samples.clear();
    page.completions.clear();
    page.commands.clear();
    page.chart = Chart::default();
    let html = page.html();
    for heading in ["Drawn from nothing", "Completed", "Learning", "Going on"] {
        assert!(!html.contains(heading), "{heading}");
    }
}
