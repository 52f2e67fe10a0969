//! What a section of the page is made of, and each block's HTML.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::formats::png::{self, Text};
use crate::image::Pixels;
use crate::report::Chart;
use crate::report::html::escape;

/// A piece of a section.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Block {
    /// A heading within the section, such as a run's name.
    Heading(String),
    /// What the blocks before it show.
    Caption(String),
    /// How to make the blocks before it again.
    Command(String),
    /// Small images in rows.
    Images(Vec<Pixels>),
    /// An animated GIF, and what it shows when it must not move.
    Animation {
        /// The file.
        gif: Vec<u8>,
        /// The still picture.
        still: Pixels,
        /// What it shows, for who can't see it.
        alt: String,
    },
    /// PNG files from left to right, each under its name.
    Timeline(Vec<(String, Vec<u8>)>),
    /// Images of which the model saw a part.
    Completions(Vec<Completion>),
    /// Images beside their maps.
    Pairs(Vec<ImageWithMap>),
    /// Images beside others that are like them.
    Alike(Vec<ImagePair>),
    /// Curves or clouds of points.
    Chart(Chart),
    /// Lines of (name, value, meaning).
    Figures(Vec<Figure>),
    /// Columns of values.
    Table(Table),
    /// Classes taken for classes.
    Matrix(ConfusionMatrix),
    /// A palette.
    Swatch(Swatch),
    /// Commands to go on with.
    Commands(Vec<Command>),
}

/// A completion: what the model was given, what it made of it, and what the image was.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The image's name.
    pub name: String,
    /// The given rows, the rest marked as not given.
    pub input: Pixels,
    /// The model's attempts.
    pub completions: Vec<Pixels>,
    /// The image itself.
    pub original: Pixels,
}

impl Completion {
    /// The row's pictures from left to right.
    pub fn cells(&self) -> Vec<Pixels> {
        std::iter::once(&self.input).chain(&self.completions).chain([&self.original]).cloned().collect()
    }
}

/// An image beside a map of it.
#[derive(Clone, Debug)]
pub struct ImageWithMap {
    /// The image's name and what is to be said of it.
    pub name: String,
    /// The image.
    pub image: Pixels,
    /// The map.
    pub map: Pixels,
}

/// Two images side by side.
#[derive(Clone, Debug)]
pub struct ImagePair {
    /// What is to be said of the two.
    pub caption: String,
    /// Each with its name.
    pub images: [(String, Pixels); 2],
}

/// One line of the table of figures.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value with its unit.
    pub value: String,
    /// What the value means, in a sentence.
    pub meaning: String,
}

/// Rows of values under column heads; the first column names the row.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// As many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// A confusion matrix: images by (true class, predicted class), shown as shares of each true class.
#[derive(Clone, Debug)]
pub struct ConfusionMatrix {
    /// Names of the classes.
    pub names: Vec<String>,
    /// A row for each true class, with as many counts as there are classes.
    pub counts: Vec<Vec<usize>>,
}

/// A command to go on with.
#[derive(Clone, Debug)]
pub struct Command {
    /// What it does.
    pub purpose: String,
    /// The command line.
    pub line: String,
}

/// A palette's colours and what they cost.
#[derive(Clone, Debug)]
pub struct Swatch {
    /// The colours, in an order that reads well.
    pub colors: Vec<[u8; 3]>,
    /// A sentence about the palette: its size and distortion.
    pub caption: String,
}

impl Block {
    /// A caption.
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
    /// The darker a cell, the larger its share; one without any image is left empty.
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

/// An image as it is; the page enlarges it without blurring.
fn image_tag(image: &Pixels, alt: &str) -> String {
    let (width, height) = (image.size.width, image.size.height);
    let alt = escape(alt);
    format!("<img src='{}' width='{width}' height='{height}' alt='{alt}' title='{alt}'>", image_uri(image))
}

pub(super) fn image_uri(image: &Pixels) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png::encode(image, &Text::none())))
}
