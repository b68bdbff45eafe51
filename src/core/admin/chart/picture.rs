//! From a chart to a PNG. Owns the file's size; never looks at what is drawn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::Tree;

use super::fonts::Fonts;
use super::{Drawing, Look, SIZE};
use crate::core::chat::File;

/// Pixels of the picture for each logical one.
const DENSITY: u32 = 2;

/// The most colours of a PNG with a palette.
const COLOURS: usize = 256;

/// A picture could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chart could not be drawn: {0}")]
pub struct CannotDraw(String);

/// Makes pictures of charts. Clones share their fonts; the machine's are looked for at the first character that the
/// embedded ones lack, and their files are read as they are needed.
#[derive(Clone)]
pub struct Painter(Arc<Fonts>);

impl Default for Painter {
    fn default() -> Self {
        Self(Arc::new(Fonts::new(None)))
    }
}

impl Painter {
    /// With the fonts of a folder in place of the machine's.
    pub fn with_fonts_of(folder: PathBuf) -> Self {
        Self(Arc::new(Fonts::new(Some(folder))))
    }

    /// A chart as a file for a message, drawn on a thread for such work.
    ///
    /// # Errors
    /// When it cannot be drawn; no known chart does that.
    pub async fn picture(&self, name: &str, drawing: impl Into<Drawing>, look: Look) -> Result<File, CannotDraw> {
        let (painter, drawing) = (self.clone(), drawing.into());
        let drawn = tokio::task::spawn_blocking(move || painter.png(drawing, look));
        let content = drawn.await.map_err(|_| CannotDraw("the work was given up".to_owned()))??;
        Ok(File::png(name, content))
    }

    /// A chart as an SVG whose texts are those of its picture: of what no font shows something readable is left.
    pub fn svg(&self, drawing: impl Into<Drawing>, look: Look) -> String {
        drawing.into().with_texts(&|text| self.0.legible(text)).svg(look)
    }

    /// The PNG of a chart, with two pixels each way for each of its own. Millions of pixels are drawn and packed: not for a
    /// thread that answers ([`Painter::picture`] has its own).
    ///
    /// # Errors
    /// When it cannot be drawn; no known chart does that.
    pub fn png(&self, drawing: impl Into<Drawing>, look: Look) -> Result<Vec<u8>, CannotDraw> {
        let failed = |why: &dyn std::fmt::Display| CannotDraw(why.to_string());
        let tree = self.tree(&self.svg(drawing, look))?;
        let (width, height) = (SIZE.0 * DENSITY, SIZE.1 * DENSITY);
        let mut pixels = Pixmap::new(width, height).ok_or_else(|| failed(&"no memory"))?;
        let density = DENSITY as f32;
        resvg::render(&tree, Transform::from_scale(density, density), &mut pixels.as_mut());
        let (palette, indices) = reduce(&pixels);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette);
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header().map_err(|error| failed(&error))?;
        writer.write_image_data(&indices).map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))?;
        Ok(file)
    }

    /// What is drawn of an SVG, every letter with its shape.
    pub(super) fn tree(&self, svg: &str) -> Result<Tree, CannotDraw> {
        Tree::from_str(svg, &self.0.options()).map_err(|error| CannotDraw(error.to_string()))
    }

    #[cfg(test)]
    pub(super) fn has_looked_for_fonts(&self) -> bool {
        self.0.has_looked()
    }
}

/// A palette, and the picture in its numbers. Charts are of few colours and their edges; the rarest edges take the
/// colour nearest to theirs.
fn reduce(pixels: &Pixmap) -> (Vec<u8>, Vec<u8>) {
    let colour = |pixel: &resvg::tiny_skia::PremultipliedColorU8| [pixel.red(), pixel.green(), pixel.blue()];
    let mut counts: BTreeMap<[u8; 3], u32> = BTreeMap::new();
    let mut row: Option<([u8; 3], u32)> = None;
    for pixel in pixels.pixels() {
        let this = colour(pixel);
        match &mut row {
            Some((last, times)) if *last == this => *times += 1,
            _ => {
                if let Some((last, times)) = row.replace((this, 1)) {
                    *counts.entry(last).or_default() += times;
                }
            }
        }
    }
    if let Some((last, times)) = row {
        *counts.entry(last).or_default() += times;
    }
    let mut by_count: Vec<([u8; 3], u32)> = counts.into_iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let palette: Vec<[u8; 3]> = by_count.iter().take(COLOURS).map(|(colour, _)| *colour).collect();
    let distance =
        |a: &[u8; 3], b: &[u8; 3]| -> i32 { (0..3).map(|at| (i32::from(a[at]) - i32::from(b[at])).pow(2)).sum() };
    let nearest = |colour: &[u8; 3]| {
        let best = palette.iter().enumerate().min_by_key(|(_, other)| distance(colour, other));
        best.map_or(0, |(at, _)| u8::try_from(at).unwrap_or(0))
    };
    let numbers: std::collections::HashMap<[u8; 3], u8> =
        by_count.iter().map(|(colour, _)| (*colour, nearest(colour))).collect();
    let mut known = ([0; 3], numbers.get(&[0; 3]).copied().unwrap_or(0));
    let indices = pixels.pixels().iter().map(|pixel| {
        let this = colour(pixel);
        if known.0 != this {
            known = (this, numbers.get(&this).copied().unwrap_or(0));
        }
        known.1
    });
    let indices = indices.collect();
    (palette.into_iter().flatten().collect(), indices)
}
