//! One page that holds everything: plots as inline SVG, then the table. Owns its form; needs nothing from anywhere.

use std::fmt::Write;

use plotters::prelude::{
    BLACK, ChartBuilder, Color, IntoDrawingArea, IntoSegmentedCoord, RGBColor, Rectangle, SVGBackend, SegmentValue,
    WHITE,
};

use super::Report;

const SIZE: (u32, u32) = (900, 320);

/// A plot's bars: what it is called, its colour, a value for each entry.
type Bars<'a> = (&'a str, RGBColor, Vec<f64>);

const FIRST: RGBColor = RGBColor(38, 115, 177);
const LAST: RGBColor = RGBColor(213, 94, 0);
const THIRD: RGBColor = RGBColor(0, 158, 115);

/// The page as HTML.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let names: Vec<&str> = report.entries.iter().map(|entry| entry.name.as_str()).collect();
    let of =
        |value: &dyn Fn(&super::Figures) -> f64| report.entries.iter().map(|entry| value(&entry.figures)).collect();
    let plots: [(&str, &str, Vec<Bars<'_>>); 4] = [
        ("Answers a second", "/s", vec![("answers", FIRST, of(&|figures| figures.per_second))]),
        (
            "First visible text",
            "ms",
            vec![
                ("p50", FIRST, of(&|figures| figures.first_text_ms.p50)),
                ("p95", LAST, of(&|figures| figures.first_text_ms.p95)),
                ("p99", THIRD, of(&|figures| figures.first_text_ms.p99)),
            ],
        ),
        (
            "Final answer",
            "ms",
            vec![
                ("p50", FIRST, of(&|figures| figures.final_ms.p50)),
                ("p95", LAST, of(&|figures| figures.final_ms.p95)),
                ("p99", THIRD, of(&|figures| figures.final_ms.p99)),
            ],
        ),
        (
            "The bot's processor time and memory",
            "s, MB",
            vec![
                ("CPU s", FIRST, of(&|figures| figures.used.bot_cpu_seconds)),
                ("resident MB", LAST, of(&|figures| figures.used.bot_rss_mb)),
            ],
        ),
    ];
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>reelcoach stress</title>\
         <style>body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}\
         pre{overflow-x:auto;background:#f6f6f4;padding:1em;font-size:12px}h2{font-size:1.1em;margin:1.6em 0 .3em}\
         .bad{color:#b00020}svg{max-width:100%;height:auto}</style><h1>reelcoach stress</h1>",
    );
    let breaches = report.breaches();
    // Writing to a String cannot fail.
    let _ = match breaches {
        0 => write!(html, "<p>Every rule held.</p>"),
        _ => write!(html, "<p class=\"bad\">{breaches} breaches: see below.</p>"),
    };
    for (title, unit, bars) in plots {
        let legend: Vec<String> = bars
            .iter()
            .map(|(name, RGBColor(r, g, b), _)| {
                format!("<span style=\"color:rgb({r},{g},{b})\">■</span> {}", escape(name))
            })
            .collect();
        let _ = write!(html, "<h2>{} ({})</h2><p>{}</p>", escape(title), escape(unit), legend.join(" &nbsp; "));
        if !names.is_empty() {
            html.push_str(&plot(&names, &bars)?);
        }
    }
    let _ = write!(html, "<h2>Everything</h2><pre>{}</pre></html>", escape(&report.table()));
    Ok(html)
}

fn plot(names: &[&str], bars: &[Bars<'_>]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = |error: &dyn std::fmt::Display| anyhow::anyhow!("a plot cannot be drawn: {error}");
        area.fill(&WHITE).map_err(|error| drawn(&error))?;
        let most = bars.iter().flat_map(|(_, _, values)| values).copied().fold(1e-9, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d((0..names.len()).into_segmented(), 0.0..most * 1.05)
            .map_err(|error| drawn(&error))?;
        let name = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(at) | SegmentValue::Exact(at) => names.get(*at).map_or("", |name| *name).to_owned(),
            SegmentValue::Last => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(names.len())
            .x_label_formatter(&name)
            .axis_style(BLACK.mix(0.4))
            .draw()
            .map_err(|error| drawn(&error))?;
        let plane = chart.plotting_area();
        let width = plane.get_x_axis_pixel_range().len() as i32 / i32::try_from(names.len().max(1))?;
        for (nth, (_, color, values)) in bars.iter().enumerate() {
            let bar = width * 7 / 10 / i32::try_from(bars.len())?;
            for (at, value) in values.iter().enumerate() {
                let (x, top) = plane.map_coordinate(&(SegmentValue::CenterOf(at), *value));
                let (_, bottom) = plane.map_coordinate(&(SegmentValue::CenterOf(at), 0.0));
                let left = x - width * 35 / 100 + bar * i32::try_from(nth)?;
                let rectangle = Rectangle::new([(left, top), (left + bar.max(2) - 1, bottom)], color.filled());
                area.draw(&rectangle).map_err(|error| drawn(&error))?;
            }
        }
        area.present().map_err(|error| drawn(&error))?;
    }
    Ok(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
