//! Report as one HTML file: all pictures embedded, nothing loaded from elsewhere, no scripts.

mod blocks;

use std::fmt::Write;

use blocks::image_uri;
pub use blocks::{Block, Command, Completion, ConfusionMatrix, Figure, ImagePair, ImageWithMap, Swatch, Table};

use crate::image::Pixels;
use crate::report::html::escape;

/// Section of a page: blocks under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// Heading of the section.
    pub heading: String,
    /// Blocks of the section; a section without any is left out.
    pub blocks: Vec<Block>,
}

impl Section {
    /// Section of `blocks` under a heading.
    pub fn new(heading: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { heading: heading.into(), blocks }
    }
}

/// Page of a report: title, lead, headline figures, sections and footer.
#[derive(Clone, Debug)]
pub struct Page {
    /// Title of the page.
    pub title: String,
    /// Lead: what happened, in one or two sentences.
    pub lead: String,
    /// Headline figures: (value, description).
    pub headline: Vec<(String, String)>,
    /// Icon for the browser's tab.
    pub icon: Option<Pixels>,
    /// Sections of the page, in order.
    pub sections: Vec<Section>,
    /// Footer line: version, seed, machine.
    pub footer: String,
}

impl Page {
    /// Returns the page as a complete HTML document.
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
