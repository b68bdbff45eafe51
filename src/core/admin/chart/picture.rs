//! From SVG to PNG. Owns the embedded fonts and the file's size; never looks at what is drawn.
//!
//! Fonts: Inter (Latin, Greek, Cyrillic), Noto Sans Hebrew and Noto Sans Arabic, each reduced to these scripts; their
//! licences (SIL Open Font License 1.1) lie beside them. Other scripts show as empty boxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::{Chart, Look, SIZE, svg};
use crate::core::chat::File;

const FONTS: [&[u8]; 4] = [
    include_bytes!("fonts/Inter-Regular.ttf"),
    include_bytes!("fonts/Inter-SemiBold.ttf"),
    include_bytes!("fonts/NotoSansHebrew-Regular.ttf"),
    include_bytes!("fonts/NotoSansArabic-Regular.ttf"),
];

/// Pixels of the picture for each logical one.
const DENSITY: u32 = 2;

/// The most colours of a PNG with a palette.
const COLOURS: usize = 256;

/// A picture could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chart could not be drawn: {0}")]
pub struct CannotDraw(String);

/// A chart as a file for a message, drawn on a thread for such work.
///
/// # Errors
/// When it cannot be drawn; no known chart does that.
pub async fn picture(name: &str, chart: Chart, look: Look) -> Result<File, CannotDraw> {
    let drawn = tokio::task::spawn_blocking(move || png(&svg(&chart, look)));
    let content = drawn.await.map_err(|_| CannotDraw("the work was given up".to_owned()))??;
    Ok(File::png(name, content))
}

/// The PNG of an SVG that [`svg`] made for a picture, with two pixels each way for each of its own. Millions of pixels are
/// drawn and packed: not for a thread that answers ([`picture`] has its own).
///
/// # Errors
/// When it is no SVG.
pub fn png(svg: &str) -> Result<Vec<u8>, CannotDraw> {
    let failed = |why: &dyn std::fmt::Display| CannotDraw(why.to_string());
    let tree = Tree::from_str(svg, &options()).map_err(|error| failed(&error))?;
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

/// Nothing of the machine it runs on: the embedded fonts alone.
pub(super) fn options() -> Options<'static> {
    let mut fonts = fontdb::Database::new();
    for font in FONTS {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(font)));
    }
    fonts.set_sans_serif_family("Inter");
    Options { fontdb: Arc::new(fonts), font_family: "Inter".to_owned(), ..Options::default() }
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
