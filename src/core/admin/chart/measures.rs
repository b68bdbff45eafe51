//! Measures: a bar for each of a few values, with a scale of its own. Owns where its rows stand.

use super::axis::{exact, tick, ticks};
use super::lettering::{clean, ellipsis, width};
use super::prepare::hash;
use super::sheet::{Anchor, MARGIN, Sheet, n};
use super::{Look, Measures, SIZE};

const NAME_SIZE: f64 = 13.0;
const NAME_WIDTH: f64 = 230.0;
const TICK_SIZE: f64 = 12.0;
/// Room for a value behind the longest bar.
const VALUE_ROOM: f64 = 80.0;
/// The tallest bar.
const BAR: f64 = 26.0;
/// More values than this are not shown.
const MOST_ROWS: usize = 12;

/// Draws everything.
pub(super) fn draw(measures: &Measures, look: Look) -> String {
    let key = format!("c{:016x}", hash(format!("{measures:?}").as_bytes()));
    let title = ellipsis(&clean(&measures.title), 24.0, true, 900.0);
    let subtitle = ellipsis(&clean(&measures.subtitle), 14.0, false, 900.0);
    let rows: Vec<(String, f64)> = measures
        .rows
        .iter()
        .filter(|(_, value)| value.is_finite() && *value >= 0.0)
        .take(MOST_ROWS)
        .map(|(name, value)| (ellipsis(&clean(name), NAME_SIZE, false, NAME_WIDTH), *value))
        .collect();
    let mut sheet = Sheet::new(look, &key);
    sheet.open(&title, &description(&rows, measures));
    sheet.head(&title, &subtitle, None);

    let widest = rows.iter().map(|(name, _)| width(name, NAME_SIZE, false)).fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 14.0, f64::from(SIZE.0) - MARGIN - VALUE_ROOM);
    let (top, bottom) = (116.0, f64::from(SIZE.1) - 54.0);
    if rows.is_empty() {
        sheet.nothing((left + right) / 2.0, (top + bottom) / 2.0);
        return sheet.close();
    }
    let ticks = ticks(rows.iter().map(|(_, value)| *value).fold(0.0, f64::max), measures.unit);
    let (most, step) = (ticks.last().copied().unwrap_or(1.0), ticks.get(1).copied().unwrap_or(1.0));
    let x = |value: f64| left + value / most.max(f64::MIN_POSITIVE) * (right - left);
    let (text, muted, grid) = (sheet.text_colour(), sheet.muted(), sheet.grid());
    for value in ticks {
        sheet.put(format_args!("<path d=\"M{} {}V{}\" stroke=\"{grid}\"/>", n(x(value)), n(top), n(bottom)));
        let label = tick(value, step, measures.unit);
        sheet.text(x(value), bottom + 24.0, TICK_SIZE, false, Anchor::Middle, muted, &label);
    }
    let pitch = (bottom - top) / rows.len() as f64;
    let tall = (pitch * 0.7).min(BAR);
    let colour = sheet.colour(Some(0)).to_owned();
    for (at, (name, value)) in rows.iter().enumerate() {
        let middle = top + (at as f64 + 0.5) * pitch;
        sheet.text(left - 14.0, middle + 4.6, NAME_SIZE, false, Anchor::End, text, name);
        let shown = exact(*value, measures.unit);
        // What is there is seen, however little it is.
        let wide = if *value > 0.0 { (x(*value) - left).max(2.0) } else { 0.0 };
        sheet.open_group(&format!("{name}: {shown}"));
        sheet.put(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\" fill=\"{colour}\"/>",
            n(left),
            n(middle - tall / 2.0),
            n(wide),
            n(tall)
        ));
        sheet.close_group();
        // Lines behind the value end before it.
        let value_width = width(&shown, NAME_SIZE, true);
        sheet.text_on_ground(left + wide + 7.0, middle + 4.6, NAME_SIZE, value_width, text, &shown);
    }
    sheet.close()
}

/// The chart in words.
fn description(rows: &[(String, f64)], measures: &Measures) -> String {
    let rows: Vec<String> =
        rows.iter().map(|(name, value)| format!("{name} {}", exact(*value, measures.unit))).collect();
    format!("{}.", rows.join("; "))
}
