//! Loads: a bar for each part against its limit. Owns where its rows stand and how a bar that leaves the scale ends.

use super::lettering::{clean, ellipsis, width};
use super::prepare::hash;
use super::sheet::{Anchor, Entry, MARGIN, Mark, Sheet, n};
use super::{Loads, Look, MOST_CASES, SIZE};

const NAME_SIZE: f64 = 13.0;
const NAME_WIDTH: f64 = 190.0;
const CASE_WIDTH: f64 = 210.0;
const VALUE_SIZE: f64 = 12.0;
const TICK_SIZE: f64 = 12.0;
/// Room for a value behind the longest bar.
const VALUE_ROOM: f64 = 62.0;
/// The tallest bar.
const BAR: f64 = 20.0;
/// More parts than this are not shown.
const MOST_PARTS: usize = 8;

/// Numbers of colours: of a load that is fine, that is worth watching, and beyond the limit; and of compared cases.
const STATUS: [usize; 3] = [0, 1, 5];
const CASES: [usize; MOST_CASES] = [0, 2, 3];

/// Draws everything.
pub(super) fn draw(loads: &Loads, look: Look) -> String {
    let key = format!("c{:016x}", hash(format!("{loads:?}").as_bytes()));
    let (title, subtitle) =
        (ellipsis(&clean(&loads.title), 24.0, true, 900.0), ellipsis(&clean(&loads.subtitle), 14.0, false, 900.0));
    let mut sheet = Sheet::new(look, &key);
    sheet.open(&title, &description(loads));
    sheet.head(&title, &subtitle, None);
    let legend_end = sheet.legend(&legend(&sheet, loads));

    let parts = &loads.parts[..loads.parts.len().min(MOST_PARTS)];
    let names: Vec<String> =
        parts.iter().map(|part| ellipsis(&clean(&part.name), NAME_SIZE, false, NAME_WIDTH)).collect();
    let widest = names.iter().map(|name| width(name, NAME_SIZE, false)).fold(0.0, f64::max);
    let all = parts.iter().flat_map(|part| cases(&part.loads)).flatten().filter(|load| load.is_finite());
    let most = all.fold(0.0, f64::max);
    let scale = Scale {
        left: MARGIN + widest + 14.0,
        right: f64::from(SIZE.0) - MARGIN - VALUE_ROOM,
        top: legend_end + 44.0,
        bottom: f64::from(SIZE.1) - 54.0,
        // Beyond one and a half limits it does not matter how far.
        most: if most > 1.0 { 1.5 } else { 1.0 },
    };
    if parts.is_empty() {
        sheet.nothing((scale.left + scale.right) / 2.0, (scale.top + scale.bottom) / 2.0);
        return sheet.close();
    }
    ground(&mut sheet, loads, &scale);
    let row = (scale.bottom - scale.top) / parts.len() as f64;
    let count = loads.cases.len().clamp(1, MOST_CASES);
    let pitch = (row * 0.86 / count as f64).min(BAR + 4.0);
    for (at, (part, name)) in parts.iter().zip(&names).enumerate() {
        let middle = scale.top + (at as f64 + 0.5) * row;
        let text = sheet.text_colour();
        sheet.text(scale.left - 14.0, middle + 4.6, NAME_SIZE, false, Anchor::End, text, name);
        for (case, load) in cases(&part.loads).take(count).enumerate() {
            let y = middle + (case as f64 - (count as f64 - 1.0) / 2.0) * pitch;
            let colour = if count > 1 { CASES[case] } else { STATUS[status(load, loads.watch)] };
            let whose = loads.cases.get(case).filter(|_| count > 1);
            let title = whose.map_or(name.clone(), |case| format!("{name}, {case}"));
            bar(&mut sheet, &scale, &title, load, y, pitch, colour);
        }
    }
    sheet.close()
}

struct Scale {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// The load at the right.
    most: f64,
}

impl Scale {
    fn x(&self, load: f64) -> f64 {
        self.left + (load / self.most).clamp(0.0, 1.0) * (self.right - self.left)
    }
}

/// What is worth watching and what is too much, the limit, and the scale.
fn ground(sheet: &mut Sheet, loads: &Loads, scale: &Scale) {
    let (muted, text, grid) = (sheet.muted(), sheet.text_colour(), sheet.grid());
    let (top, bottom) = (scale.top, scale.bottom);
    for (from, to, colour) in [(loads.watch, 1.0, STATUS[1]), (1.0, scale.most, STATUS[2])] {
        let (from, to) = (scale.x(from), scale.x(to));
        if to - from > 1.0 {
            let colour = sheet.colour(Some(colour)).to_owned();
            sheet.put(format_args!(
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\" fill-opacity=\"0.12\"/>",
                n(from),
                n(top),
                n(to - from),
                n(bottom - top)
            ));
        }
    }
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5];
    for load in ticks.into_iter().filter(|load| *load <= scale.most) {
        let x = n(scale.x(load));
        if load != 1.0 {
            sheet.put(format_args!("<path d=\"M{x} {}V{}\" stroke=\"{grid}\"/>", n(top), n(bottom)));
        }
        sheet.text(scale.x(load), bottom + 24.0, TICK_SIZE, false, Anchor::Middle, muted, &percent(load));
    }
    let x = scale.x(1.0);
    sheet.put(format_args!("<path d=\"M{} {}V{}\" stroke=\"{text}\" stroke-width=\"2\"/>", n(x), n(top), n(bottom)));
    sheet.text(x, top - 10.0, TICK_SIZE, true, Anchor::Middle, text, "limit");
    let middle = (scale.x(loads.watch) + x) / 2.0;
    if x - scale.x(loads.watch) > 120.0 {
        sheet.text(middle, top - 10.0, TICK_SIZE, false, Anchor::Middle, muted, "watch");
    }
}

/// One bar, with its load behind it; torn where it leaves the scale.
fn bar(sheet: &mut Sheet, scale: &Scale, title: &str, load: Option<f64>, y: f64, pitch: f64, colour: usize) {
    let (text, muted, gap) = (sheet.text_colour(), sheet.muted(), sheet.gap());
    // A line of text is a fifth taller than its letters' size.
    let (size, tall) = (VALUE_SIZE.min(pitch / 1.24), pitch - 3.5);
    let Some(load) = load.filter(|load| load.is_finite() && *load >= 0.0) else {
        sheet.text(scale.left + 6.0, y + size * 0.36, size, false, Anchor::Start, muted, "no limit");
        return;
    };
    let value = percent(load);
    let colour = sheet.colour(Some(colour)).to_owned();
    // What is there is seen, however little it is.
    let end = if load > 0.0 { scale.x(load).max(scale.left + 2.0) } else { scale.left };
    sheet.open_group(&format!("{title}: {value}"));
    if load > 0.0 {
        let round = (tall / 4.0).min(4.0).min(end - scale.left);
        let (left, top, bottom) = (n(scale.left), n(y - tall / 2.0), n(y + tall / 2.0));
        sheet.put(format_args!(
            "<path d=\"M{left} {top}H{inner}Q{end} {top} {end} {upper}V{lower}Q{end} {bottom} {inner} {bottom}H{left}Z\" \
             fill=\"{colour}\"/>",
            inner = n(end - round),
            end = n(end),
            upper = n(y - tall / 2.0 + round),
            lower = n(y + tall / 2.0 - round),
        ));
    }
    if load > scale.most {
        for back in [26.0, 18.0] {
            sheet.put(format_args!(
                "<path d=\"M{} {}L{} {}\" stroke=\"{gap}\" stroke-width=\"3\"/>",
                n(end - back - 4.0),
                n(y + tall / 2.0 + 1.0),
                n(end - back + 4.0),
                n(y - tall / 2.0 - 1.0)
            ));
        }
    }
    sheet.close_group();
    // Lines behind the value end before it.
    let (x, wide) = (end + 7.0, width(&value, size, true));
    sheet.text_on_ground(x, y + size * 0.36, size, wide, text, &value);
}

fn legend(sheet: &Sheet, loads: &Loads) -> Vec<Entry> {
    let entry = |colour: usize, name: String| Entry {
        mark: Mark::Block(sheet.colour(Some(colour)).to_owned()),
        name,
        value: String::new(),
    };
    if loads.cases.len() > 1 {
        let name = |case: &String| ellipsis(&clean(case), NAME_SIZE, false, CASE_WIDTH);
        return loads.cases.iter().zip(CASES).map(|(case, colour)| entry(colour, name(case))).collect();
    }
    let words =
        ["fine".to_owned(), format!("worth watching, from {}", percent(loads.watch)), "over its limit".to_owned()];
    STATUS.into_iter().zip(words).map(|(colour, words)| entry(colour, words)).collect()
}

fn cases(loads: &[Option<f64>]) -> impl Iterator<Item = Option<f64>> {
    loads.iter().copied().take(MOST_CASES)
}

/// 0: fine, 1: worth watching, 2: beyond the limit.
fn status(load: Option<f64>, watch: f64) -> usize {
    match load {
        Some(load) if load > 1.0 => 2,
        Some(load) if load > watch => 1,
        _ => 0,
    }
}

/// As precise as it matters: `0.4%`, `38%`; beyond ten limits `>999%`.
fn percent(load: f64) -> String {
    let percent = load * 100.0;
    match percent {
        _ if percent >= 999.5 => ">999%".to_owned(),
        _ if (0.05..9.95).contains(&percent) => format!("{percent:.1}%"),
        _ => format!("{percent:.0}%"),
    }
}

/// The chart in words.
fn description(loads: &Loads) -> String {
    let part = |part: &super::PartLoad| {
        let loads: Vec<String> = cases(&part.loads).map(|load| load.map_or("no limit".into(), percent)).collect();
        format!("{} {}", clean(&part.name), loads.join(", "))
    };
    let parts: Vec<String> = loads.parts.iter().take(MOST_PARTS).map(part).collect();
    format!("Load of each part: {}.", parts.join("; "))
}
