//! The sheet a chart is drawn on: colours, title, legend, axes, and the shapes as SVG. Owns every position outside the
//! plot; the marks inside are `body`'s.

use std::fmt::Write as _;

use super::lettering::{escape, width};
use super::prepare::{Drawn, Prepared};
use super::{Kind, Look, SIZE, axis};

/// Free space at the sides.
pub(super) const MARGIN: f64 = 32.0;
const LEGEND_SIZE: f64 = 13.0;
const LEGEND_ROW: f64 = 26.0;
/// The middle of the first row of the legend.
const LEGEND_TOP: f64 = 116.0;
const LABEL_SIZE: f64 = 12.0;

/// Colours that differ in lightness too, so that people who do not see all hues can tell them apart (after Okabe and
/// Ito, Color Universal Design; lightened for the dark ground).
const ON_LIGHT: [&str; 8] = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5B5F97", "#8C6D1F"];
const ON_DARK: [&str; 8] = ["#4C9BE0", "#F0AE2E", "#2FBF92", "#E08FBC", "#A9DBF7", "#EF7A3C", "#B9A7F2", "#F2E86B"];

/// The colours of a look.
struct Ink {
    ground: Option<&'static str>,
    text: &'static str,
    muted: &'static str,
    grid: &'static str,
    /// Between marks that touch.
    gap: &'static str,
    series: [String; 8],
    other: &'static str,
}

impl Ink {
    fn of(look: Look) -> Self {
        match look {
            Look::Light => Ink {
                ground: Some("#FFFFFF"),
                text: "#1B1F27",
                muted: "#59616E",
                grid: "#E3E6EB",
                gap: "#FFFFFF",
                series: ON_LIGHT.map(str::to_owned),
                other: "#9AA1AC",
            },
            Look::Dark => Ink {
                ground: Some("#1A1D23"),
                text: "#F2F4F7",
                muted: "#A8B0BD",
                grid: "#343943",
                gap: "#1A1D23",
                series: ON_DARK.map(str::to_owned),
                other: "#7C8594",
            },
            Look::Page => Ink {
                ground: None,
                text: "var(--chart-text, currentColor)",
                muted: "var(--chart-muted, #757D8A)",
                grid: "var(--chart-grid, #8884)",
                gap: "var(--chart-ground, Canvas)",
                series: std::array::from_fn(|n| format!("var(--chart-{}, {})", n + 1, ON_LIGHT[n])),
                other: "var(--chart-other, #9AA1AC)",
            },
        }
    }
}

/// Where marks may stand.
#[derive(Clone, Copy)]
pub(super) struct Plot {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    /// The value at the top.
    pub most: f64,
    /// The width of one step.
    pub slot: f64,
}

impl Plot {
    pub fn x(&self, step: usize) -> f64 {
        self.left + (step as f64 + 0.5) * self.slot
    }

    pub fn y(&self, value: f64) -> f64 {
        self.bottom - (value / self.most).clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

/// An SVG that grows.
pub(super) struct Sheet {
    out: String,
    ink: Ink,
    key: String,
    /// How much wider letters may be than those of the embedded font.
    wider: f64,
}

#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of the legend.
pub(super) struct Entry {
    pub mark: Mark,
    pub name: String,
    /// Behind the name; may be empty.
    pub value: String,
}

/// What stands before a name in the legend.
pub(super) enum Mark {
    /// A square of this colour.
    Block(String),
    /// A piece of line.
    Line(String),
    /// What is not over.
    Hatched,
    Dashed,
}

impl Sheet {
    pub fn new(look: Look, key: &str) -> Self {
        // A page has the fonts of its reader, and DejaVu Sans is a seventh wider than Inter.
        let wider = if look == Look::Page { 1.16 } else { 1.0 };
        Sheet { out: String::with_capacity(16 << 10), ink: Ink::of(look), key: key.to_owned(), wider }
    }

    /// The whole of it.
    pub fn close(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }

    /// The colour of a series, `None` for "other".
    pub fn colour(&self, number: Option<usize>) -> &str {
        number.and_then(|number| self.ink.series.get(number)).map_or(self.ink.other, String::as_str)
    }

    pub fn gap(&self) -> &'static str {
        self.ink.gap
    }

    pub fn text_colour(&self) -> &'static str {
        self.ink.text
    }

    /// Of words that matter less.
    pub fn muted(&self) -> &'static str {
        self.ink.muted
    }

    pub fn grid(&self) -> &'static str {
        self.ink.grid
    }

    /// The fill that marks what is not over.
    pub fn hatch(&self) -> String {
        format!("url(#{}-hatch)", self.key)
    }

    /// One element, as it is: nothing in it may come from outside.
    pub fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(element);
        self.out.push('\n');
    }

    /// What people see when they point at the next elements, up to [`Sheet::close_group`].
    pub fn open_group(&mut self, title: &str) {
        self.put(format_args!("<g><title>{}</title>", escape(title)));
    }

    pub fn close_group(&mut self) {
        self.put(format_args!("</g>"));
    }

    #[expect(clippy::too_many_arguments, reason = "a text has a place, a look and words")]
    pub fn text(&mut self, x: f64, y: f64, size: f64, bold: bool, anchor: Anchor, fill: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        self.put(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\"{weight}{anchor} fill=\"{fill}\">{}</text>",
            n(x),
            n(y),
            escape(text)
        ));
    }

    /// A bold text with some of the ground around it, so that lines do not run through it.
    pub fn text_on_ground(&mut self, x: f64, y: f64, size: f64, wide: f64, fill: &str, text: &str) {
        let gap = self.gap();
        self.put(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\" fill=\"{gap}\" fill-opacity=\"0.85\"/>",
            n(x - 3.0),
            n(y - size * 0.92),
            n(wide + 6.0),
            n(size * 1.16)
        ));
        self.text(x, y, size, true, Anchor::Start, fill, text);
    }

    pub fn open(&mut self, title: &str, description: &str) {
        let (width, height) = SIZE;
        let (key, gap) = (self.key.clone(), self.ink.gap);
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{key}-title {key}-desc\" \
             font-family=\"Inter, 'Noto Sans Arabic', 'Noto Sans Hebrew', system-ui, sans-serif\">"
        ));
        self.put(format_args!("<title id=\"{key}-title\">{}</title>", escape(title)));
        self.put(format_args!("<desc id=\"{key}-desc\">{}</desc>", escape(description)));
        self.put(format_args!(
            "<defs><pattern id=\"{key}-hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"2.5\" height=\"6\" fill=\"{gap}\" fill-opacity=\"0.6\"/>\
             </pattern></defs>"
        ));
        if let Some(ground) = self.ink.ground {
            self.put(format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"{ground}\"/>"));
        }
    }

    /// Title and subtitle, and what stands at the other end of the line.
    pub fn head(&mut self, title: &str, subtitle: &str, beside: Option<(String, &str)>) {
        let right = f64::from(SIZE.0) - MARGIN;
        let (text, muted) = (self.ink.text, self.ink.muted);
        self.text(MARGIN, 54.0, 24.0, true, Anchor::Start, text, title);
        self.text(MARGIN, 80.0, 14.0, false, Anchor::Start, muted, subtitle);
        if let Some((value, caption)) = beside {
            self.text(right, 54.0, 24.0, true, Anchor::End, text, &value);
            self.text(right, 80.0, 14.0, false, Anchor::End, muted, caption);
        }
    }

    /// From left to right in as many rows as it takes; where it ends.
    pub fn legend(&mut self, entries: &[Entry]) -> f64 {
        let (mut x, mut y) = (MARGIN, LEGEND_TOP);
        let right = f64::from(SIZE.0) - MARGIN;
        let (text, muted) = (self.ink.text, self.ink.muted);
        for Entry { mark, name, value } in entries {
            let name_width = width(name, LEGEND_SIZE, false) * self.wider;
            let value_width = if value.is_empty() { 0.0 } else { 7.0 + width(value, LEGEND_SIZE, true) * self.wider };
            let whole = 20.0 + name_width + value_width;
            if x > MARGIN && x + whole > right {
                (x, y) = (MARGIN, y + LEGEND_ROW);
            }
            let (left, top, hatch) = (n(x), n(y - 6.0), self.hatch());
            let mut block = |fill: &str| {
                self.put(format_args!(
                    "<rect x=\"{left}\" y=\"{top}\" width=\"12\" height=\"12\" rx=\"3\" fill=\"{fill}\"/>"
                ));
            };
            match mark {
                Mark::Block(colour) => block(colour),
                Mark::Hatched => [muted, &hatch].into_iter().for_each(block),
                Mark::Line(colour) => self.put(format_args!(
                    "<path d=\"M{} {}h9\" stroke=\"{colour}\" stroke-width=\"4\" stroke-linecap=\"round\"/>",
                    n(x + 2.0),
                    n(y)
                )),
                Mark::Dashed => self.put(format_args!(
                    "<path d=\"M{} {}h14\" stroke=\"{muted}\" stroke-width=\"2.5\" stroke-dasharray=\"4 2\"/>",
                    n(x - 1.0),
                    n(y)
                )),
            }
            let fill = if matches!(mark, Mark::Block(_) | Mark::Line(_)) { text } else { muted };
            self.text(x + 20.0, y + 4.6, LEGEND_SIZE, false, Anchor::Start, fill, name);
            self.text(x + 27.0 + name_width, y + 4.6, LEGEND_SIZE, true, Anchor::Start, text, value);
            x += whole + 24.0;
        }
        if entries.is_empty() { LEGEND_TOP - LEGEND_ROW } else { y }
    }

    /// `beside`: the room that is needed at the right of the plot.
    pub fn axes(&mut self, chart: &Prepared, legend_end: f64, beside: f64) -> Plot {
        let most = match chart.kind {
            Kind::StackedBars => (0..chart.steps.len()).map(|step| chart.stack(step)).fold(0.0, f64::max),
            Kind::Lines => {
                chart.series.iter().flat_map(|series| series.values.iter().flatten()).copied().fold(0.0, f64::max)
            }
        };
        let ticks = axis::ticks(most, chart.unit);
        let step = ticks.get(1).copied().unwrap_or(1.0);
        let labels: Vec<String> = ticks.iter().map(|value| axis::tick(*value, step, chart.unit)).collect();
        let widest = labels.iter().map(|label| width(label, LABEL_SIZE, false)).fold(0.0, f64::max);
        let left = if chart.any { MARGIN + widest + 12.0 } else { MARGIN };
        let right = f64::from(SIZE.0) - MARGIN - beside;
        let slot = (right - left) / chart.steps.len().max(1) as f64;
        let top = legend_end + 34.0;
        let most = ticks.last().copied().unwrap_or(1.0);
        let plot = Plot { left, right, top, bottom: f64::from(SIZE.1) - 54.0, most, slot };
        let (muted, grid) = (self.ink.muted, self.ink.grid);
        if chart.any {
            for (value, label) in ticks.iter().zip(&labels) {
                let y = plot.y(*value);
                if *value > 0.0 {
                    self.put(format_args!("<path d=\"M{} {}H{}\" stroke=\"{grid}\"/>", n(left), n(y), n(right)));
                }
                self.text(left - 12.0, y + 4.2, LABEL_SIZE, false, Anchor::End, muted, label);
            }
        }
        self.put(format_args!(
            "<path d=\"M{} {}H{}\" stroke=\"{muted}\" stroke-width=\"1.5\"/>",
            n(left),
            n(plot.bottom + 0.75),
            n(right)
        ));
        let room = ((right - left) / 68.0) as usize;
        for (at, label) in axis::days(&chart.steps, room.max(1)) {
            let half = width(&label, LABEL_SIZE, false) / 2.0;
            let x = plot.x(at).clamp(MARGIN / 2.0 + half, f64::from(SIZE.0) - MARGIN / 2.0 - half);
            self.text(x, plot.bottom + 24.0, LABEL_SIZE, false, Anchor::Middle, muted, &label);
        }
        plot
    }

    /// Says around this place that there is nothing to show.
    pub fn nothing(&mut self, x: f64, y: f64) {
        let muted = self.ink.muted;
        self.text(x, y - 4.0, 22.0, true, Anchor::Middle, muted, "Nothing yet");
        self.text(x, y + 24.0, 14.0, false, Anchor::Middle, muted, "There is no data in this time.");
    }
}

/// A number in as few characters as show it to a twentieth of a pixel.
pub(super) fn n(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The legend of a chart of days.
pub(super) fn entries(sheet: &Sheet, chart: &Prepared) -> Vec<Entry> {
    let is_bars = chart.kind == Kind::StackedBars;
    let one = |series: &Drawn| {
        let colour = sheet.colour(series.colour).to_owned();
        let (mark, value) = match chart.kind {
            Kind::StackedBars => (Mark::Block(colour), axis::exact(series.total, chart.unit)),
            Kind::Lines => (Mark::Line(colour), String::new()),
        };
        Entry { mark, name: series.name.clone(), value }
    };
    let mut entries: Vec<Entry> = chart.series.iter().map(one).collect();
    if let Some(last) = chart.steps.last().filter(|_| chart.running && chart.any) {
        let mark = if is_bars { Mark::Hatched } else { Mark::Dashed };
        entries.push(Entry { mark, name: format!("{}, so far", axis::name(last)), value: String::new() });
    }
    entries
}

/// The chart in words.
pub(super) fn description(chart: &Prepared) -> String {
    let (Some(first), Some(last)) = (chart.steps.first(), chart.steps.last()) else {
        return "Nothing yet.".to_owned();
    };
    let time = format!("{} to {}", axis::name(first), axis::name(last));
    if !chart.any {
        return format!("{time}: nothing yet.");
    }
    let series: Vec<String> = chart
        .series
        .iter()
        .map(|series| match (chart.kind, series.values.iter().rev().flatten().next()) {
            (Kind::StackedBars, _) => format!("{} {}", series.name, axis::exact(series.total, chart.unit)),
            (Kind::Lines, Some(last)) => format!("{} {} at the end", series.name, axis::exact(*last, chart.unit)),
            (Kind::Lines, None) => series.name.clone(),
        })
        .collect();
    format!("{time}: {}.", series.join(", "))
}
