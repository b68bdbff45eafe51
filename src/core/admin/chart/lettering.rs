//! Letters: how wide a text is, what is left of one that is too wide, and what may stand in an SVG.

/// Advance widths of Inter in thousandths of the font size, from the space to the tilde.
const REGULAR: [u16; 95] = [
    281, 288, 466, 633, 642, 982, 644, 300, 365, 365, 501, 662, 288, 460, 288, 360, 631, 407, 610, 618, 646, 593, 620,
    566, 619, 620, 288, 302, 662, 662, 662, 511, 966, 690, 654, 730, 722, 601, 590, 746, 743, 269, 571, 672, 565, 903,
    753, 765, 639, 765, 644, 642, 646, 744, 690, 985, 682, 679, 629, 365, 360, 365, 471, 456, 323, 562, 612, 571, 612,
    583, 370, 613, 591, 242, 242, 549, 242, 876, 591, 600, 612, 612, 376, 528, 327, 591, 562, 818, 546, 562, 552, 426,
    333, 426, 662,
];
const SEMIBOLD: [u16; 95] = [
    252, 321, 523, 644, 650, 1004, 663, 326, 373, 373, 540, 673, 319, 465, 319, 379, 660, 423, 623, 636, 666, 612, 640,
    576, 640, 640, 319, 329, 673, 673, 673, 543, 999, 728, 659, 737, 722, 605, 588, 749, 746, 277, 580, 703, 565, 922,
    759, 769, 645, 773, 652, 650, 660, 736, 728, 1020, 720, 713, 652, 373, 379, 373, 481, 469, 351, 574, 624, 583, 624,
    591, 389, 625, 612, 262, 262, 569, 262, 900, 612, 609, 624, 624, 397, 549, 353, 612, 587, 839, 569, 588, 566, 455,
    359, 455, 673,
];

/// How wide a text is at this size: exact for ASCII but for kerning, and rather too much for everything else.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let table = if bold { &SEMIBOLD } else { &REGULAR };
    let thousandths: u32 = text.chars().map(|c| advance(c, table)).sum();
    f64::from(thousandths) * size / 1000.0
}

/// The text, or its beginning with an ellipsis, at most `room` wide.
pub(super) fn ellipsis(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    for cluster in unicode_segmentation::UnicodeSegmentation::graphemes(text, true) {
        if width(&cut, size, bold) + width(cluster, size, bold) + width("…", size, bold) > room {
            break;
        }
        cut.push_str(cluster);
    }
    format!("{}…", cut.trim_end())
}

/// One line without what XML forbids and without marks that turn the reading direction of what follows.
pub(super) fn clean(text: &str) -> String {
    let wanted = |c: &char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let forbidden = c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
        !(turns || forbidden)
    };
    let line: String = text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).filter(wanted).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// For text and attributes alike.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn advance(c: char, table: &[u16; 95]) -> u32 {
    let ascii = u32::from(c).checked_sub(32).and_then(|at| table.get(at as usize));
    match (ascii, c) {
        (Some(width), _) => u32::from(*width),
        (None, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{fe00}'..='\u{fe0f}') => 0,
        (None, c) if is_unseen(c) => 0,
        (None, '…') => 870,
        (None, '·') => 300,
        (None, '\u{590}'..='\u{6ff}') => 620,
        (None, '\u{a0}'..='\u{10ff}' | '\u{1e00}'..='\u{20cf}') if c.is_lowercase() => 720,
        (None, '\u{a0}'..='\u{10ff}' | '\u{1e00}'..='\u{20cf}') => 820,
        (None, c) if is_pictogram(c) => 1280,
        (None, _) => 1100,
    }
}

/// What adorns a text and can be left out.
pub(super) fn is_pictogram(c: char) -> bool {
    matches!(c, '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

/// What has no shape of its own: joiners and what chooses between shapes.
pub(super) fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}')
}
