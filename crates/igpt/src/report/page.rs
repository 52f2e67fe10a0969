//! The report as one HTML file: all pictures inside, nothing loaded from elsewhere, no scripts.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::Pixels;
use crate::report::{Chart, Text, png};

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

/// Everything the page shows, in its order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// What happened, in one or two sentences.
    pub lead: String,
    /// Up to four figures to be seen at once: (value, what it is).
    pub headline: Vec<(String, String)>,
    /// Images drawn from nothing.
    pub samples: Vec<Pixels>,
    /// How they were drawn.
    pub samples_caption: String,
    /// An animated GIF of images being drawn, and what it shows when it must not move.
    pub animation: Option<(Vec<u8>, Pixels)>,
    /// Images of which the model saw a part.
    pub completions: Vec<Completion>,
    /// How they were drawn.
    pub completions_caption: String,
    /// The loss curve.
    pub chart: Chart,
    /// What the chart shows.
    pub chart_caption: String,
    /// The palette.
    pub swatch: Swatch,
    /// The table.
    pub figures: Vec<Figure>,
    /// How to continue.
    pub commands: Vec<Command>,
    /// A last line: version, seed, machine.
    pub footer: String,
}

impl Page {
    /// The page as a complete HTML document.
    pub fn html(&self) -> String {
        let mut main = String::new();
        self.header(&mut main);
        self.pictures(&mut main);
        self.curve(&mut main);
        self.table(&mut main);
        self.commands(&mut main);
        format!(
            "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n\
             <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
             <meta name='color-scheme' content='light dark'>\n<title>{title} · igpt</title>\n\
             <link rel='icon' href='{icon}'>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{main}</main>\n\
             <footer><p>{footer}</p></footer>\n</body>\n</html>\n",
            title = escape(&self.title),
            icon = self.samples.first().map_or_else(|| "data:,".into(), image_uri),
            style = include_str!("page.css"),
            footer = escape(&self.footer),
        )
    }

    fn header(&self, out: &mut String) {
        let _ = write!(
            out,
            "<header>\n<p class='over'>Generative pretraining from pixels</p>\n<h1>{}</h1>\n<p class='lead'>{}</p>\n",
            escape(&self.title),
            escape(&self.lead)
        );
        if !self.headline.is_empty() {
            out.push_str("<dl class='headline'>\n");
            for (value, name) in &self.headline {
                let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
            }
            out.push_str("</dl>\n");
        }
        out.push_str("</header>\n");
    }

    fn pictures(&self, out: &mut String) {
        if !self.samples.is_empty() {
            out.push_str("<section>\n<h2>Drawn from nothing</h2>\n<div class='samples'>\n");
            for (i, image) in self.samples.iter().enumerate() {
                let _ = writeln!(out, "{}", image_tag(image, &format!("Sample {i}")));
            }
            let _ = writeln!(out, "</div>\n<p class='caption'>{}</p>", escape(&self.samples_caption));
            if let Some((gif, still)) = &self.animation {
                let _ = write!(
                    out,
                    "<picture class='strip'><source media='(prefers-reduced-motion: reduce)' srcset='{}'>\
                     <img src='data:image/gif;base64,{}' width='{}' height='{}' alt='Samples being drawn'></picture>\n\
                     <p class='caption'>The same, pixel by pixel in raster order: left to right, top to bottom. \
                     Each pixel is drawn from the model’s guess given all pixels before it.</p>\n",
                    image_uri(still),
                    STANDARD.encode(gif),
                    still.size.width,
                    still.size.height
                );
            }
            out.push_str("</section>\n");
        }
        let Some(first) = self.completions.first() else { return };
        let attempts = first.completions.len();
        let _ = write!(
            out,
            "<section>\n<h2>Completed</h2>\n<div class='completions' style='--columns:{}'>\n",
            attempts + 2
        );
        for row in &self.completions {
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
        let _ = writeln!(out, "</div>\n<p class='caption'>{}</p>\n</section>", escape(&self.completions_caption));
    }

    fn curve(&self, out: &mut String) {
        let chart = self.chart.html();
        if !chart.is_empty() {
            let _ = write!(
                out,
                "<section>\n<h2>Learning</h2>\n{chart}\n<p class='legend'><span class='train'>training batches</span>"
            );
            if !self.chart.validation.is_empty() {
                out.push_str("<span class='validation'>validation split</span>");
            }
            let _ = writeln!(out, "</p>\n<p class='caption'>{}</p>\n</section>", escape(&self.chart_caption));
        }
    }

    fn table(&self, out: &mut String) {
        out.push_str("<section>\n<h2>Figures</h2>\n<table>\n<tbody>\n");
        for figure in &self.figures {
            let _ = writeln!(
                out,
                "<tr><th scope='row'>{}</th><td class='value'>{}</td><td class='meaning'>{}</td></tr>",
                escape(&figure.name),
                escape(&figure.value),
                escape(&figure.meaning)
            );
        }
        out.push_str("</tbody>\n</table>\n<h3>Palette</h3>\n<div class='swatch' aria-hidden='true'>");
        for [r, g, b] in &self.swatch.colors {
            let _ = write!(out, "<i style='background:#{r:02x}{g:02x}{b:02x}'></i>");
        }
        let _ = writeln!(out, "</div>\n<p class='caption'>{}</p>\n</section>", escape(&self.swatch.caption));
    }

    fn commands(&self, out: &mut String) {
        if self.commands.is_empty() {
            return;
        }
        out.push_str("<section>\n<h2>Going on</h2>\n<dl class='commands'>\n");
        for Command { purpose, line } in &self.commands {
            let _ = writeln!(out, "<dt>{}</dt><dd><pre><code>{}</code></pre></dd>", escape(purpose), escape(line));
        }
        out.push_str("</dl>\n</section>\n");
    }
}

/// An image as it is; the page enlarges it without blurring.
fn image_tag(image: &Pixels, alt: &str) -> String {
    let (width, height) = (image.size.width, image.size.height);
    let alt = escape(alt);
    format!("<img src='{}' width='{width}' height='{height}' alt='{alt}' title='{alt}'>", image_uri(image))
}

fn image_uri(image: &Pixels) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png::encode(image, &Text::none())))
}

/// Text made safe for HTML, in element content and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
