//! The report as one HTML file: all pictures inside, nothing loaded from elsewhere, no scripts.

mod blocks;

use std::fmt::Write;

use blocks::image_uri;
pub use blocks::{Block, Command, Completion, ConfusionMatrix, Figure, ImagePair, ImageWithMap, Swatch, Table};

use crate::image::Pixels;
use crate::report::html::escape;

/// Blocks under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// What follows it; a section without any is left out.
    pub blocks: Vec<Block>,
}

impl Section {
    /// `blocks` under a heading.
    pub fn new(heading: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { heading: heading.into(), blocks }
    }
}

/// Everything the page shows, in its order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// What happened, in one or two sentences.
    pub lead: String,
    /// A few figures to be seen at once: (value, what it is).
    pub headline: Vec<(String, String)>,
    /// The picture that a browser shows in its tab.
    pub icon: Option<Pixels>,
    /// The rest.
    pub sections: Vec<Section>,
    /// A last line: version, seed, machine.
    pub footer: String,
}

impl Page {
    /// The page as a complete HTML document.
    pub fn html(&self) -> String {
        let mut main = String::new();
        self.header(&mut main);
        for section in self.sections.iter().filter(|section| !section.blocks.is_empty()) {
            let _ = write!(main, "<section>\n<h2>{}</h2>\n", escape(&section.heading));
            section.blocks.iter().for_each(|block| block.html(&mut main));
            main.push_str("</section>\n");
        }
        format!(
            "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n\
             <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
             <meta name='color-scheme' content='light dark'>\n<title>{title} · igpt</title>\n\
             <link rel='icon' href='{icon}'>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{main}</main>\n\
             <footer><p>{footer}</p></footer>\n</body>\n</html>\n",
            title = escape(&self.title),
            icon = self.icon.as_ref().map_or_else(|| "data:,".into(), image_uri),
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
}

#[cfg(test)]
mod tests;
