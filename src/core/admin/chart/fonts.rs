//! Which font shows what. Owns the embedded fonts, the machine's, and what is written of a text that none of them shows;
//! never draws.
//!
//! Embedded are Inter (Latin, Greek, Cyrillic), Noto Sans Hebrew and Noto Sans Arabic, each reduced to these scripts; their
//! licences (SIL Open Font License 1.1) lie beside them. Only where they lack a character are the machine's fonts looked
//! at, so that a chart without such a character is the same everywhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use resvg::usvg::fontdb::{Database, FaceInfo, ID, Source, Style};
use resvg::usvg::{FontResolver, Group, Node, Options, Tree};
use skrifa::charmap::Charmap;
use unicode_segmentation::UnicodeSegmentation;

use super::lettering::{clean, escape, is_pictogram, is_unseen};

const FONTS: [&[u8]; 4] = [
    include_bytes!("fonts/Inter-Regular.ttf"),
    include_bytes!("fonts/Inter-SemiBold.ttf"),
    include_bytes!("fonts/NotoSansHebrew-Regular.ttf"),
    include_bytes!("fonts/NotoSansArabic-Regular.ttf"),
];

/// Characters whose fonts are remembered.
const REMEMBERED: usize = 4096;

/// What stands for letters that no font shows.
const CANNOT_SHOW: char = '…';

/// The fonts of pictures. The machine's are looked for once, when a character asks for them.
pub(super) struct Fonts {
    embedded: Arc<Database>,
    /// The embedded ones, then the machine's.
    all: OnceLock<Arc<Database>>,
    /// Where the machine's fonts are; `None`: where such a machine has them.
    folder: Option<std::path::PathBuf>,
    /// The faces that show a character, the best first.
    faces: Mutex<HashMap<char, Arc<[ID]>>>,
}

impl Fonts {
    /// `folder`: the only place where the machine's fonts are looked for.
    pub fn new(folder: Option<std::path::PathBuf>) -> Self {
        let mut embedded = Database::new();
        for font in FONTS {
            embedded.load_font_source(Source::Binary(Arc::new(font)));
        }
        embedded.set_sans_serif_family("Inter");
        Self { embedded: Arc::new(embedded), all: OnceLock::new(), folder, faces: Mutex::default() }
    }

    /// The text as far as there are fonts for it. Letters without a font become an ellipsis, pictograms without one are
    /// left out; of a pictogram that is made of several its first stands, of a flag its letters.
    pub fn legible(&self, text: &str) -> String {
        let text = clean(text);
        if text.chars().all(|c| is_unseen(c) || self.embeds(c)) {
            return text;
        }
        let shown = self.with(&text, |c| self.embeds(c) || !self.faces(c).is_empty());
        if self.lays_out(&shown) { shown } else { self.with(&text, |c| self.embeds(c)) }
    }

    /// How the SVG of a picture is read.
    pub fn options(&self) -> Options<'_> {
        // Without a character that asked for the machine's fonts they are of no use.
        let fonts = self.all.get().unwrap_or(&self.embedded).clone();
        let resolver = FontResolver {
            select_font: FontResolver::default_font_selector(),
            select_fallback: Box::new(|c, used, fonts| {
                let weight = |id: ID| fonts.face(id).map_or(400, |face| face.weight.0);
                let wanted = used.first().map_or(400, |base| weight(*base));
                let faces = self.faces(c);
                let family = |id: ID| fonts.face(id).and_then(|face| face.families.first()).map(|(name, _)| name);
                let best = *faces.iter().find(|face| !used.contains(face))?;
                // Of the best family the weight that is nearest.
                let same = faces.iter().filter(|face| !used.contains(face) && family(**face) == family(best));
                same.copied().min_by_key(|face| weight(*face).abs_diff(wanted))
            }),
        };
        Options { fontdb: fonts, font_family: "Inter".to_owned(), font_resolver: resolver, ..Options::default() }
    }

    /// Whether the machine's fonts were ever asked for.
    #[cfg(test)]
    pub fn has_looked(&self) -> bool {
        self.all.get().is_some()
    }

    fn embeds(&self, c: char) -> bool {
        self.embedded.faces().any(|face| has(&self.embedded, face, c))
    }

    fn all(&self) -> &Arc<Database> {
        self.all.get_or_init(|| {
            let mut all = Database::clone(&self.embedded);
            match &self.folder {
                Some(folder) => all.load_fonts_dir(folder),
                None => all.load_system_fonts(),
            }
            Arc::new(all)
        })
    }

    /// The faces that show a character: upright, sans serif and proportional ones first, coloured ones only for pictograms;
    /// an embedded one if there is one.
    fn faces(&self, c: char) -> Arc<[ID]> {
        let mut known = self.faces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(faces) = known.get(&c) {
            return faces.clone();
        }
        // The machine's are not looked for where they are not needed.
        let all = if self.embeds(c) { &self.embedded } else { self.all() };
        let rank = |(at, face): &(usize, &FaceInfo)| {
            let named = |part: &str| face.families.iter().any(|(name, _)| name.contains(part));
            let is_coloured = named("Emoji");
            (
                is_coloured != is_pictogram(c),
                face.style != Style::Normal,
                named("Serif") || named("Mono") || face.monospaced || named("Condensed"),
                *at,
            )
        };
        let mut found: Vec<_> = all.faces().enumerate().filter(|(_, face)| has(all, face, c)).collect();
        found.sort_by_key(rank);
        let faces: Arc<[ID]> = found.into_iter().map(|(_, face)| face.id).collect();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(c, faces.clone());
        faces
    }

    /// The text with what is left of each of its letters.
    fn with(&self, text: &str, shows: impl Fn(char) -> bool) -> String {
        let mut written = String::with_capacity(text.len());
        for letter in text.graphemes(true) {
            let flag: Option<String> = letter.chars().map(of_flag).collect();
            if let Some(country) = flag {
                written.push_str(&country);
            } else if letter.chars().any(is_pictogram) {
                written.extend(letter.chars().find(|c| is_pictogram(*c)).filter(|c| shows(*c)));
            } else if letter.chars().all(|c| is_unseen(c) || shows(c)) {
                written.push_str(letter);
            } else if !written.ends_with(CANNOT_SHOW) {
                written.push(CANNOT_SHOW);
            }
        }
        clean(&written)
    }

    /// Whether every letter finds its shape. Beyond each character's own font this takes that one font after the other can
    /// fill the holes of the former, which they cannot in some mixtures of scripts.
    fn lays_out(&self, text: &str) -> bool {
        let text = escape(text);
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><text>{text}</text>\
             <text font-weight=\"600\">{text}</text></svg>"
        );
        Tree::from_str(&svg, &self.options()).is_ok_and(|tree| boxes(tree.root()) == 0)
    }
}

/// How many letters of a drawing are boxes, because their font lacks them.
pub(super) fn boxes(group: &Group) -> usize {
    let of = |node: &Node| match node {
        Node::Group(group) => boxes(group),
        Node::Text(text) => {
            let glyphs = text.layouted().iter().flat_map(|span| &span.positioned_glyphs);
            glyphs.filter(|glyph| glyph.id.0 == 0).count()
        }
        Node::Path(_) | Node::Image(_) => 0,
    };
    group.children().iter().map(of).sum()
}

fn has(fonts: &Database, face: &FaceInfo, c: char) -> bool {
    let maps =
        |data: &[u8], index| Some(Charmap::new(&skrifa::FontRef::from_index(data, index).ok()?).map(c).is_some());
    fonts.with_face_data(face.id, maps).flatten().unwrap_or(false)
}

/// The letter of a part of a flag.
fn of_flag(c: char) -> Option<char> {
    let at = u32::from(c).checked_sub(0x1f1e6).filter(|at| *at < 26)?;
    char::from_u32(u32::from('A') + at)
}
