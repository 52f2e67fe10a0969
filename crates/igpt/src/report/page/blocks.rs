//! Blocks of a page's section, and their HTML.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::formats::png::{self, TextChunks};
use crate::image::Pixels;
use crate::report::Chart;
use crate::report::html::escape;

/// Block: an element of a section, such as a caption, images, a chart or a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Block {
    /// Heading within the section, such as a run's name.
    Heading(String),
    /// Caption of the blocks before it.
    Caption(String),
    /// Command that makes the blocks before it again.
    Command(String),
    /// Small images in rows.
    Images(Vec<Pixels>),
    /// Animated GIF, with a still picture for readers who prefer no motion.
    Animation {
        /// GIF file.
        gif: Vec<u8>,
        /// Still picture.
        still: Pixels,
        /// Description for screen readers.
        alt: String,
    },
    /// PNG files from left to right, each under its name.
    Timeline(Vec<(String, Vec<u8>)>),
    /// Completions of images.
    Completions(Vec<Completion>),
    /// Images beside their maps.
    Pairs(Vec<ImageWithMap>),
    /// Pairs of similar images.
    Alike(Vec<ImagePair>),
    /// Chart of curves or point clouds.
    Chart(Chart),
    /// Figures: lines of (name, value, meaning).
    Figures(Vec<Figure>),
    /// Table of values.
    Table(Table),
    /// Confusion matrix.
    Matrix(ConfusionMatrix),
    /// Colours of a palette.
    Swatch(Swatch),
    /// Commands for next steps.
    Commands(Vec<Command>),
}

/// Completion of an image: the given part, the model's completions, and the original.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Name of the image.
    pub name: String,
    /// Given rows, with the rest marked as missing.
    pub input: Pixels,
    /// Completions by the model.
    pub completions: Vec<Pixels>,
    /// Original image.
    pub original: Pixels,
}

impl Completion {
    /// Pictures of the completion from left to right: input, completions, original.
    pub fn cells(&self) -> Vec<Pixels> {
        std::iter::once(&self.input).chain(&self.completions).chain([&self.original]).cloned().collect()
    }
}

/// Image beside a map of it.
#[derive(Clone, Debug)]
pub struct ImageWithMap {
    /// Name of the image, and a remark on it.
    pub name: String,
    /// Image itself.
    pub image: Pixels,
    /// Map of the image, such as a surprise map.
    pub map: Pixels,
}

/// Pair of similar images, side by side.
#[derive(Clone, Debug)]
pub struct ImagePair {
    /// Caption of the pair.
    pub caption: String,
    /// Both images, each with its name.
    pub images: [(String, Pixels); 2],
}

/// Figure: one line of a table of measured values.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of the measured quantity.
    pub name: String,
    /// Value with its unit.
    pub value: String,
    /// Meaning of the value, in a sentence.
    pub meaning: String,
}

/// Table of values under column heads; the first column names the row.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// Confusion matrix: images by (true class, predicted class), shown as shares of each true class.
#[derive(Clone, Debug)]
pub struct ConfusionMatrix {
    /// Names of the classes.
    pub names: Vec<String>,
    /// Counts of images: one row per true class, with one count per predicted class.
    pub counts: Vec<Vec<usize>>,
}

/// Suggested command for a next step.
#[derive(Clone, Debug)]
pub struct Command {
    /// Purpose of the command.
    pub purpose: String,
    /// Command line.
    pub line: String,
}

/// Colours of a palette, with a caption about its distortion.
#[derive(Clone, Debug)]
pub struct Swatch {
    /// Colours, in an order that reads well.
    pub colors: Vec<[u8; 3]>,
    /// Caption about the palette: its size and distortion.
    pub caption: String,
}

impl Block {
    /// Caption block of a text.
    pub fn caption(text: impl Into<String>) -> Self {
        Block::Caption(text.into())
    }

    /// Appends the block's HTML.
    pub(super) fn html(&self, out: &mut String) {
        match self {
            Block::Heading(text) => _ = writeln!(out, "<h3>{}</h3>", escape(text)),
            Block::Caption(text) => caption(text, out),
            Block::Command(line) => _ = writeln!(out, "<pre class='made'><code>{}</code></pre>", escape(line)),
            Block::Images(images) => {
                out.push_str("<div class='samples'>\n");
                for (i, image) in images.iter().enumerate() {
                    let _ = writeln!(out, "{}", image_tag(image, &format!("Sample {i}")));
                }
                out.push_str("</div>\n");
            }
            Block::Animation { gif, still, alt } => animation(gif, still, alt, out),
            Block::Timeline(pictures) => {
                out.push_str("<div class='timeline'>\n");
                for (name, png) in pictures {
                    let (name, png) = (escape(name), STANDARD.encode(png));
                    let _ = writeln!(
                        out,
                        "<figure><img src='data:image/png;base64,{png}' alt='Samples, {name}'>\
                         <figcaption>{name}</figcaption></figure>"
                    );
                }
                out.push_str("</div>\n");
            }
            Block::Completions(rows) => completions(rows, out),
            Block::Pairs(pairs) => {
                out.push_str("<div class='pairs'>\n");
                for ImageWithMap { name, image, map } in pairs {
                    let (image, map) = (image_tag(image, name), image_tag(map, &format!("{name}: map")));
                    let _ = writeln!(out, "<figure>{image}{map}<figcaption>{}</figcaption></figure>", escape(name));
                }
                out.push_str("</div>\n");
            }
            Block::Alike(pairs) => {
                out.push_str("<div class='pairs'>\n");
                for ImagePair { caption, images } in pairs {
                    let [a, b] = images.each_ref().map(|(name, image)| image_tag(image, name));
                    let _ = writeln!(out, "<figure>{a}{b}<figcaption>{}</figcaption></figure>", escape(caption));
                }
                out.push_str("</div>\n");
            }
            Block::Chart(chart) => out.push_str(&chart.html()),
            Block::Figures(lines) => figures(lines, out),
            Block::Table(table) => table.html(out),
            Block::Matrix(matrix) => matrix.html(out),
            Block::Swatch(swatch) => {
                out.push_str("<div class='swatch' aria-hidden='true'>");
                for [r, g, b] in &swatch.colors {
                    let _ = write!(out, "<i style='background:#{r:02x}{g:02x}{b:02x}'></i>");
                }
                out.push_str("</div>\n");
                caption(&swatch.caption, out);
            }
            Block::Commands(commands) => {
                out.push_str("<dl class='commands'>\n");
                for Command { purpose, line } in commands {
                    let (purpose, line) = (escape(purpose), escape(line));
                    let _ = writeln!(out, "<dt>{purpose}</dt><dd><pre><code>{line}</code></pre></dd>");
                }
                out.push_str("</dl>\n");
            }
        }
    }
}

fn caption(text: &str, out: &mut String) {
    let _ = writeln!(out, "<p class='caption'>{}</p>", escape(text));
}

fn animation(gif: &[u8], still: &Pixels, alt: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "<picture class='strip'><source media='(prefers-reduced-motion: reduce)' srcset='{}'>\
         <img src='data:image/gif;base64,{}' width='{}' height='{}' alt='{}'></picture>",
        image_uri(still),
        STANDARD.encode(gif),
        still.size.width,
        still.size.height,
        escape(alt)
    );
}

fn completions(rows: &[Completion], out: &mut String) {
    let Some(first) = rows.first() else { return };
    let attempts = first.completions.len();
    let _ = writeln!(out, "<div class='completions' style='--columns:{}'>", attempts + 2);
    for row in rows {
        let _ = write!(
            out,
            "<figure><figcaption><span>given</span><span style='grid-column:span {attempts}'>completions</span>\
             <span>original</span></figcaption>{}",
            image_tag(&row.input, &format!("{}: the given rows", row.name))
        );
        for (i, completion) in row.completions.iter().enumerate() {
            out.push_str(&image_tag(completion, &format!("{}: completion {}", row.name, i + 1)));
        }
        let _ = writeln!(out, "{}</figure>", image_tag(&row.original, &format!("{}: original", row.name)));
    }
    out.push_str("</div>\n");
}

fn figures(lines: &[Figure], out: &mut String) {
    out.push_str("<table class='figures'>\n<tbody>\n");
    for Figure { name, value, meaning } in lines {
        let [name, value, meaning] = [name, value, meaning].map(|text| escape(text));
        let _ = writeln!(
            out,
            "<tr><th scope='row'>{name}</th><td class='value'>{value}</td><td class='meaning'>{meaning}</td></tr>"
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

impl Table {
    fn html(&self, out: &mut String) {
        out.push_str("<div class='wide'><table class='columns'>\n<thead><tr>");
        for name in &self.head {
            let _ = write!(out, "<th scope='col'>{}</th>", escape(name));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = match i {
                    0 => write!(out, "<th scope='row'>{cell}</th>"),
                    _ => write!(out, "<td>{cell}</td>"),
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
}

impl ConfusionMatrix {
    /// Darker cells have larger shares; a cell without images is empty.
    fn html(&self, out: &mut String) {
        out.push_str("<div class='wide'><table class='matrix'>\n<thead><tr><td></td>");
        for name in &self.names {
            let _ = write!(out, "<th scope='col'>{}</th>", escape(name));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for (name, counts) in self.names.iter().zip(&self.counts) {
            let _ = write!(out, "<tr><th scope='row'>{}</th>", escape(name));
            let all = counts.iter().sum::<usize>() as f64;
            for &count in counts {
                let _ = match count {
                    0 => write!(out, "<td></td>"),
                    _ => {
                        let share = 100.0 * count as f64 / all;
                        write!(out, "<td style='--share:{share:.1}%'>{share:.0}</td>")
                    }
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
}

/// Image in its own size; the page enlarges it without blurring.
fn image_tag(image: &Pixels, alt: &str) -> String {
    let (width, height) = (image.size.width, image.size.height);
    let alt = escape(alt);
    format!("<img src='{}' width='{width}' height='{height}' alt='{alt}' title='{alt}'>", image_uri(image))
}

pub(super) fn image_uri(image: &Pixels) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png::encode(image, &TextChunks::none())))
}
