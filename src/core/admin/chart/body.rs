//! The marks inside the plot: bars and lines. Owns their shapes.

use super::lettering::width;
use super::prepare::Prepared;
use super::sheet::{Anchor, Plot, Sheet, n};
use super::{Kind, axis};

const VALUE_SIZE: f64 = 12.0;
/// Values stand over bars up to so many.
const LABELLED: usize = 12;
const ROUND: f64 = 3.0;

/// Stacked bars, the first series at the bottom.
pub(super) fn bars(sheet: &mut Sheet, chart: &Prepared, plot: &Plot) {
    let steps = chart.steps.len();
    let share = if steps > 31 { 0.8 } else { 0.68 };
    let bar = (plot.slot * share).min(if steps == 1 { 120.0 } else { 64.0 });
    let sums: Vec<f64> = (0..steps).map(|step| chart.stack(step)).collect();
    let words: Vec<String> = sums.iter().map(|sum| axis::exact(*sum, chart.unit)).collect();
    let fits = |word: &String| width(word, VALUE_SIZE, true) < plot.slot - 6.0;
    let labelled = steps <= LABELLED && words.iter().all(fits);
    for (at, step) in chart.steps.iter().enumerate().filter(|(at, _)| sums[*at] > 0.0) {
        let left = plot.x(at) - bar / 2.0;
        let marks: Vec<(String, f64)> = chart
            .series
            .iter()
            .filter_map(|series| {
                Some((sheet.colour(series.colour).to_owned(), series.values.get(at).copied().flatten()?))
            })
            .filter(|(_, value)| *value > 0.0)
            .collect();
        sheet.open_group(&format!("{}: {}", axis::name(step), words[at]));
        let mut below = 0.0;
        for (number, (colour, value)) in marks.iter().enumerate() {
            let (mut y, bottom) = (plot.y(below + value), plot.y(below));
            below += value;
            let is_top = number + 1 == marks.len();
            // A hair of ground between two colours; what is thinner than that is not cut away.
            if !is_top && bottom - y > 3.0 {
                y += 1.2;
            }
            sheet.put(format_args!("<path d=\"{}\" fill=\"{colour}\"/>", block(left, y, bar, bottom, is_top)));
        }
        if chart.running && at + 1 == steps {
            let hatch = sheet.hatch();
            let whole = block(left, plot.y(sums[at]), bar, plot.bottom, true);
            sheet.put(format_args!("<path d=\"{whole}\" fill=\"{hatch}\"/>"));
        }
        sheet.close_group();
        if labelled {
            let fill = sheet.text_colour();
            sheet.text(plot.x(at), plot.y(sums[at]) - 8.0, VALUE_SIZE, true, Anchor::Middle, fill, &words[at]);
        }
    }
}

/// Lines, broken where nothing is known; a value between two gaps is a dot. The last value of each is written at its
/// end.
pub(super) fn lines(sheet: &mut Sheet, chart: &Prepared, plot: &Plot) {
    let steps = chart.steps.len();
    let stroke = if steps > 120 { 2.0 } else { 2.5 };
    let gap = sheet.gap();
    for series in &chart.series {
        let colour = sheet.colour(series.colour).to_owned();
        sheet.open_group(&series.name);
        let mut pieces = pieces(&series.values);
        // The way to a day that is not over is drawn apart.
        let mut open = None;
        if chart.running
            && let Some(piece) = pieces.last_mut().filter(|piece| piece.len() > 1 && piece.ends_with(&[steps - 1]))
        {
            open = piece.split_last_chunk::<2>().map(|(_, way)| way.to_vec());
            piece.pop();
        }
        let point = |at: usize| {
            let y = plot.y(series.values.get(at).copied().flatten().unwrap_or(0.0));
            (plot.x(at), y)
        };
        let path = |piece: &[usize]| {
            let mut path = String::new();
            for (number, at) in piece.iter().enumerate() {
                let (x, y) = point(*at);
                path.push_str(&format!("{}{} {}", if number == 0 { "M" } else { "L" }, n(x), n(y)));
            }
            path
        };
        let line = format!(
            "fill=\"none\" stroke=\"{colour}\" stroke-width=\"{stroke}\" stroke-linejoin=\"round\" stroke-linecap=\"round\""
        );
        for piece in &pieces {
            if piece.len() > 1 {
                sheet.put(format_args!("<path d=\"{}\" {line}/>", path(piece)));
            } else if let Some(at) = piece.first().filter(|at| open.as_ref().is_none_or(|way| !way.contains(*at))) {
                let (x, y) = point(*at);
                sheet.put(format_args!("<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"{colour}\"/>", n(x), n(y)));
            }
        }
        if let Some(way) = &open {
            sheet.put(format_args!("<path d=\"{}\" {line} stroke-dasharray=\"5 5\"/>", path(way)));
        }
        if let Some(last) = series.values.iter().rposition(Option::is_some) {
            let (x, y) = point(last);
            let hollow = chart.running && last + 1 == steps;
            let (fill, rim) = if hollow { (gap, colour.as_str()) } else { (colour.as_str(), gap) };
            sheet.put(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"4.5\" fill=\"{fill}\" stroke=\"{rim}\" stroke-width=\"2\"/>",
                n(x),
                n(y)
            ));
        }
        sheet.close_group();
    }
    for (y, colour, value) in end_labels(sheet, chart, plot) {
        sheet.put(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"3.5\" fill=\"{colour}\"/>",
            n(plot.right + 12.0),
            n(y)
        ));
        let fill = sheet.text_colour();
        sheet.text(plot.right + 21.0, y + 4.4, VALUE_SIZE, true, Anchor::Start, fill, &value);
    }
}

/// The room that the values at the ends of lines take.
pub(super) fn end_labels_width(chart: &Prepared) -> f64 {
    let last = chart.series.iter().filter_map(|series| series.values.iter().rev().flatten().next());
    let widest = last.map(|value| width(&axis::exact(*value, chart.unit), VALUE_SIZE, true)).reduce(f64::max);
    if chart.kind == Kind::Lines { widest.map_or(0.0, |widest| widest + 21.0) } else { 0.0 }
}

/// Height, colour and value of each label, moved apart where lines end close together.
fn end_labels(sheet: &Sheet, chart: &Prepared, plot: &Plot) -> Vec<(f64, String, String)> {
    const APART: f64 = 17.0;
    let mut labels: Vec<(f64, String, String)> = chart
        .series
        .iter()
        .filter_map(|series| {
            let value = *series.values.iter().rev().flatten().next()?;
            Some((plot.y(value), sheet.colour(series.colour).to_owned(), axis::exact(value, chart.unit)))
        })
        .collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = plot.bottom - 6.0;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(lowest);
        lowest = label.0 - APART;
    }
    let mut highest = plot.top;
    for label in &mut labels {
        label.0 = label.0.max(highest);
        highest = label.0 + APART;
    }
    labels
}

/// Runs of steps with a value.
fn pieces(values: &[Option<f64>]) -> Vec<Vec<usize>> {
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    let mut joined = false;
    for (at, value) in values.iter().enumerate() {
        match pieces.last_mut().filter(|_| joined) {
            _ if value.is_none() => {}
            Some(piece) => piece.push(at),
            None => pieces.push(vec![at]),
        }
        joined = value.is_some();
    }
    pieces
}

/// A bar's part, with round corners above where it is the top one.
fn block(left: f64, top: f64, wide: f64, bottom: f64, is_top: bool) -> String {
    let round = if is_top { ROUND.min(wide / 2.0).min((bottom - top).max(0.0)) } else { 0.0 };
    let (l, r, t, b) = (n(left), n(left + wide), n(top), n(bottom));
    if round < 0.5 {
        return format!("M{l} {b}V{t}H{r}V{b}Z");
    }
    let (inner_top, from, to) = (n(top + round), n(left + round), n(left + wide - round));
    format!("M{l} {b}V{inner_top}Q{l} {t} {from} {t}H{to}Q{r} {t} {r} {inner_top}V{b}Z")
}
