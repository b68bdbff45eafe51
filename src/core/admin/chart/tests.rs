//! What must hold of every chart, and the gallery: `WRITE_GALLERY=1 cargo test --lib chart::tests::the_gallery` writes
//! `docs/gallery` anew (and all other cases beside it in the folder that WRITE_CASES names).

use std::path::Path;

use resvg::usvg::{Group, Node};

use super::fonts::boxes;

use super::*;

/// The same numbers in every run, between 0 and 1.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

fn days(from: (i32, u32, u32), count: usize) -> Vec<NaiveDate> {
    NaiveDate::from_ymd_opt(from.0, from.1, from.2).unwrap().iter_days().take(count).collect()
}

/// Bars of some days: fewer at weekends, more with time.
fn cost(count: usize, series: &[(&str, f64)]) -> Chart {
    let days = days((2026, 11, 1), count);
    let mut dice = Dice(7);
    let mut one = |share: f64| -> Vec<i64> {
        let value = |(at, day): (usize, &NaiveDate)| {
            let weekend = if chrono::Datelike::weekday(day).number_from_monday() > 5 { 0.55 } else { 1.0 };
            let growth = 0.7 + 0.6 * at as f64 / count as f64;
            let part = if at + 1 == count { 0.45 } else { 1.0 };
            (1_900_000.0 * share * weekend * growth * part * (0.7 + 0.6 * dice.next())) as i64
        };
        days.iter().enumerate().map(value).collect()
    };
    let series = series.iter().map(|(name, share)| Series::micro_usd(*name, one(*share))).collect();
    Chart {
        title: "Cost per day".into(),
        subtitle: "November 2026, by model and tool, UTC".into(),
        kind: Kind::StackedBars,
        unit: Unit::Usd,
        days,
        series,
        running: true,
    }
}

const MODELS: &[(&str, f64)] = &[
    ("gpt-5.6 (coaching)", 0.45),
    ("gemini-3-flash (reels)", 0.25),
    ("apify reel scraper", 0.2),
    ("gpt-5.6-mini", 0.1),
];

fn response_times() -> Chart {
    let days = days((2026, 11, 1), 24);
    let mut dice = Dice(3);
    let gap = |at: usize| (8..=9).contains(&at) || at == 11;
    let mut line = |middle: f64, spread: f64| -> Vec<Option<f64>> {
        (0..24).map(|at| (middle + spread * dice.next(), at)).map(|(value, at)| (!gap(at)).then_some(value)).collect()
    };
    let series = vec![Series::new("p50", line(1.6, 0.7)), Series::new("p95", line(3.6, 2.6))];
    Chart {
        title: "Response time".into(),
        subtitle: "November 2026, from the message to the whole answer".into(),
        kind: Kind::Lines,
        unit: Unit::Seconds,
        days,
        series,
        running: true,
    }
}

fn waits_in_line() -> Chart {
    let mut dice = Dice(23);
    // The line is empty on most days; a busy weekend is seen.
    let busy = |at: usize| if matches!(at, 13 | 14 | 20 | 21) { 3.0 } else { 1.0 };
    let mut line = |least: f64, spread: f64| -> Vec<Option<f64>> {
        (0..24).map(|at| (at != 4).then(|| busy(at) * (least + spread * dice.next()))).collect()
    };
    Chart {
        title: "Wait in line for a reel".into(),
        subtitle: "1–24 November 2026 so far, UTC".into(),
        series: vec![Series::new("p50", line(4.0, 8.0)), Series::new("p95", line(28.0, 30.0))],
        ..response_times()
    }
}

fn cost_by_tool() -> Chart {
    let tools = [("coach", 0.5), ("analyse", 0.26), ("scrape", 0.17), ("workflow", 0.05), ("memory", 0.02)];
    Chart { subtitle: "by tool, 1–24 November 2026 so far, UTC".into(), ..cost(24, &tools) }
}

fn messages() -> Chart {
    let chart = cost(24, &[("messages", 60.0), ("reels", 9.0)]);
    let counted = |series: &Series| {
        let values = series.values.iter().flatten().map(|value| value.round() as i64);
        Series::counts(series.name.clone(), values)
    };
    let series = chart.series.iter().map(counted).collect();
    Chart {
        title: "Messages and reels per day".into(),
        subtitle: "November 2026, all platforms".into(),
        unit: Unit::Count,
        series,
        ..chart
    }
}

fn many() -> Chart {
    let names: Vec<String> = (0..12)
        .map(|n| match n {
            0 => "<script>alert(\"gpt\")</script> & sons".to_owned(),
            1 => "🎬 Reels 🎉 of the creators' guild".to_owned(),
            2 => "דנה כהן".to_owned(),
            3 => "استوديو القاهرة".to_owned(),
            4 => "a-model-with-a-name-that-never-ends-2026-11-24-preview-thinking".to_owned(),
            5 => "evil\u{202e}gnp.exe\u{0}\u{fffe}".to_owned(),
            n => format!("server number {n} of the test"),
        })
        .collect();
    let shares: Vec<(&str, f64)> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), 0.3 / (1.0 + n as f64 / 3.0))).collect();
    cost(30, &shares)
}

fn year() -> Chart {
    let chart = cost(365, MODELS);
    let days = days((2025, 11, 25), 365);
    Chart { days, subtitle: "The last 12 months, by model and tool, UTC".into(), ..chart }
}

/// Every case by name: those of the gallery first.
fn cases() -> Vec<(&'static str, Chart)> {
    let month = cost(24, MODELS);
    let nothing = Chart { series: vec![Series::micro_usd("gpt-5.6", vec![0; 24])], ..month.clone() };
    let waits = Chart {
        title: "Queue wait".into(),
        subtitle: "Twelve months, from the link to the start".into(),
        kind: Kind::Lines,
        days: days((2025, 11, 25), 365),
        series: {
            let mut dice = Dice(11);
            let mut line = |most: f64| (0..365).map(|at| (at % 90 > 3).then(|| most * (0.3 + dice.next()))).collect();
            vec![Series::new("p50", line(60.0)), Series::new("p95", line(260.0))]
        },
        ..response_times()
    };
    let close = Chart {
        series: (0..8).map(|n| Series::new(format!("lane {n}"), vec![Some(0.5 + f64::from(n) / 200.0); 24])).collect(),
        unit: Unit::Share,
        ..response_times()
    };
    let tiny = Chart { running: false, ..cost(7, &[("gpt-5.6-nano", 0.000_2)]) };
    let no_days = Chart { days: vec![], ..month.clone() };
    let one_point = Chart { days: month.days[..1].to_vec(), ..response_times() };
    let nonsense = Chart {
        series: vec![Series::new("", vec![Some(f64::NAN), Some(-3.0), Some(f64::INFINITY), Some(2.0)])],
        ..response_times()
    };
    vec![
        ("cost", month),
        ("messages", messages()),
        ("response-time", response_times()),
        ("year", year()),
        ("wait-in-line", waits_in_line()),
        ("cost-by-tool", cost_by_tool()),
        ("one-day", cost(1, MODELS)),
        ("nothing", nothing),
        ("many", many()),
        ("week", cost(7, MODELS)),
        ("quarter", cost(92, MODELS)),
        ("waits", waits),
        ("close", close),
        ("tiny", tiny),
        ("no-days", no_days),
        ("one-point", one_point),
        ("nonsense", nonsense),
    ]
}

const GALLERY: [&str; 7] = ["cost", "cost-by-tool", "messages", "response-time", "wait-in-line", "year", "capacity"];

/// Loads by name.
fn loads() -> Vec<(&'static str, Loads)> {
    let names = [
        "Transcriber lanes",
        "OpenAI requests/min",
        "OpenAI tokens/min",
        "OpenAI spending limit",
        "Bot: processors",
        "Bot: answers at once",
        "Database",
    ];
    let loads = |cases: &[&str], all: [&[Option<f64>]; 7]| Loads {
        title: "Load of each part".into(),
        subtitle: "when it is loaded most, planned from the last 30 days".into(),
        cases: cases.iter().map(|case| (*case).to_owned()).collect(),
        parts: std::iter::zip(names, all)
            .map(|(name, loads)| PartLoad { name: name.into(), loads: loads.to_vec() })
            .collect(),
        watch: 0.7,
    };
    let one = |load: f64| [Some(load)];
    let month = loads(
        &["your last 30 days"],
        [&one(0.83), &one(0.41), &one(1.12), &one(0.36), &one(0.034), &one(0.12), &one(0.004)],
    );
    let scenarios = loads(
        &["small", "growing", "viral"],
        [
            &[Some(0.002), Some(0.02), Some(0.97)],
            &[Some(0.1), Some(0.33), Some(3.0)],
            &[Some(0.07), Some(0.71), Some(12.5)],
            &[Some(0.36), None, None],
            &[Some(0.0), Some(0.001), Some(0.01)],
            &[Some(0.01), Some(0.05), Some(0.12)],
            &[Some(0.0), Some(0.0), Some(1.0)],
        ],
    );
    let fine = loads(&["plan"], [&one(0.002), &one(0.002), &one(0.07), &[None], &one(0.0), &one(f64::NAN), &one(0.69)]);
    let long = Loads {
        title: "Load of each part of the bot ".repeat(9),
        parts: (0..20)
            .map(|n| PartLoad {
                name: format!("<part {n}> with a name that has no end & more"),
                loads: vec![Some(f64::from(n) / 10.0); 5],
            })
            .collect(),
        cases: (0..5).map(|n| format!("case {n}, which is called as nothing else is called here")).collect(),
        ..month.clone()
    };
    let none = Loads { parts: vec![], ..month.clone() };
    vec![("capacity", month), ("scenarios", scenarios), ("idle", fine), ("long", long), ("no-parts", none)]
}

/// Measures by name.
fn measures() -> Vec<(&'static str, Measures)> {
    let rows = |all: &[(&str, f64)]| all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let answers = Measures {
        title: "simple".into(),
        subtitle: "1,200 messages, 20.0 answers a second, 31.4 s of processor time, 118 MB".into(),
        unit: Unit::Seconds,
        rows: rows(&[
            ("first text, half within", 0.31),
            ("first text, 95 % within", 0.52),
            ("final answer, half within", 1.9),
            ("final answer, 99 % within", 3.217),
        ]),
    };
    let broken = Measures {
        rows: rows(&[
            ("nothing", 0.0),
            ("not a number", f64::NAN),
            ("<endless> & more", f64::INFINITY),
            ("tiny", 1e-9),
        ]),
        ..answers.clone()
    };
    let many =
        (0..30).map(|n| (format!("a row with a name that has no end and goes on, no. {n}"), f64::from(n))).collect();
    let many = Measures { rows: many, unit: Unit::Count, ..answers.clone() };
    let none = Measures { rows: vec![], ..answers.clone() };
    vec![("measures", answers), ("broken-measures", broken), ("many-measures", many), ("no-measures", none)]
}

/// Without any font of the machine.
fn painter() -> (Painter, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Painter::with_fonts_of(folder.path().to_owned()), folder)
}

fn all_cases() -> Vec<(&'static str, Drawing)> {
    let charts = cases().into_iter().map(|(name, chart)| (name, Drawing::Days(chart)));
    let loads = loads().into_iter().map(|(name, loads)| (name, Drawing::Loads(loads)));
    charts
        .chain(loads)
        .chain(measures().into_iter().map(|(name, measures)| (name, Drawing::Measures(measures))))
        .collect()
}

/// Whether two pictures show the same: nearly no pixel differs by more than what another processor may round otherwise.
fn look_alike(one: &[u8], other: &[u8]) -> bool {
    let pixels = |picture: &[u8]| {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    };
    let (one, other) = (pixels(one), pixels(other));
    let differ = one.iter().zip(&other).filter(|(a, b)| a.abs_diff(**b) > 40).count();
    one.len() == other.len() && differ * 5_000 < one.len()
}

#[test]
fn the_gallery_is_drawn() {
    let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gallery");
    let (painter, _folder) = painter();
    for (name, chart) in all_cases() {
        let picture = painter.png(chart.clone(), Look::Dark).unwrap();
        assert!(picture.len() < 80_000, "{name}: {} bytes", picture.len());
        let size = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert_eq!((size(16), size(20)), (SIZE.0 * 2, SIZE.1 * 2), "{name}");
        let file = format!("{name}.png");
        if std::env::var_os("WRITE_GALLERY").is_some() && GALLERY.contains(&name) {
            std::fs::write(gallery.join(&file), &picture).unwrap();
        }
        if GALLERY.contains(&name) {
            let shown = std::fs::read(gallery.join(&file)).unwrap();
            assert!(
                look_alike(&picture, &shown),
                "docs/gallery/{file} shows another chart: write it with\nWRITE_GALLERY=1 cargo test --lib chart::"
            );
        }
        if let Some(folder) = std::env::var_os("WRITE_CASES") {
            let folder = Path::new(&folder);
            std::fs::write(folder.join(&file), &picture).unwrap();
            std::fs::write(folder.join(format!("{name}-light.png")), painter.png(chart.clone(), Look::Light).unwrap())
                .unwrap();
            std::fs::write(folder.join(format!("{name}.svg")), chart.svg(Look::Page)).unwrap();
        }
    }
}

/// Left, top, right, bottom of every text, as it is drawn.
fn texts(group: &Group, found: &mut Vec<(String, [f32; 4])>) {
    for node in group.children() {
        match node {
            Node::Group(group) => texts(group, found),
            Node::Text(text) => {
                let words = text.chunks().iter().map(|chunk| chunk.text()).collect();
                let b = text.abs_bounding_box();
                found.push((words, [b.left(), b.top(), b.right(), b.bottom()]));
            }
            _ => {}
        }
    }
}

#[test]
fn no_text_overlaps_another_or_leaves_the_sheet() {
    let (painter, _folder) = painter();
    for (name, chart) in all_cases() {
        let tree = painter.tree(&painter.svg(chart, Look::Light)).unwrap();
        assert_eq!(boxes(tree.root()), 0, "{name}: every letter has its shape");
        let mut found = Vec::new();
        texts(tree.root(), &mut found);
        assert!(found.len() > 2, "{name}: the letters are drawn");
        for (at, (words, a)) in found.iter().enumerate() {
            assert!(a[0] >= 8.0 && a[1] >= 8.0 && a[2] <= 992.0 && a[3] <= 552.0, "{name}: {words} at {a:?}");
            for (others, b) in &found[at + 1..] {
                let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
                assert!(apart, "{name}: {words} {a:?} and {others} {b:?}");
            }
        }
    }
}

#[test]
fn the_same_chart_gives_the_same_bytes() {
    let chart = cost(24, MODELS);
    assert_eq!(svg(&chart, Look::Page), svg(&chart.clone(), Look::Page));
    // On a machine with other fonts too.
    let (without, other) = (painter(), Painter::default());
    assert_eq!(without.0.png(chart.clone(), Look::Dark).unwrap(), other.png(chart, Look::Dark).unwrap());
    assert!(!other.has_looked_for_fonts(), "the machine's fonts are not read for what the embedded ones show");
}

#[test]
fn an_inline_chart_is_whole_and_its_ids_are_its_own() {
    let (one, other) = (svg(&cost(24, MODELS), Look::Page), svg(&response_times(), Look::Page));
    let ids = |svg: &str| -> Vec<String> {
        svg.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&one).len(), 3);
    assert!(ids(&one).iter().all(|id| !ids(&other).contains(id)), "{:?}", ids(&one));
    for part in
        ["role=\"img\"", "viewBox=\"0 0 1000 560\"", "aria-labelledby", "var(--chart-1, #0072B2)", "currentColor"]
    {
        assert!(one.contains(part), "{part}");
    }
    assert!(!one.contains("<rect width=\"1000\""), "the page is the ground");
    assert!(one.contains("<title>Nov 3: $"), "a bar says what it is");
    assert!(painter().0.tree(&other).is_ok());
}

#[test]
fn names_are_only_names() {
    let (painter, _folder) = painter();
    let many = Drawing::Days(many());
    for (drawn, shows_pictograms) in [(many.svg(Look::Page), true), (painter.svg(many, Look::Dark), false)] {
        assert!(!drawn.contains("<script") && drawn.contains("&lt;script&gt;"), "escaped");
        assert!(!drawn.contains(['\u{202e}', '\u{0}', '\u{fffe}']));
        assert_eq!(drawn.contains('🎬'), shows_pictograms, "the embedded fonts know no pictograms");
        assert!(drawn.contains("…</text>") && drawn.contains("other (5)"));
    }
}

/// A font of three shapes: 田, 中 and 🎬.
const SQUARES: &[u8] = include_bytes!("tests/squares.ttf");

/// The names that a picture shows, with the family of each letter that no embedded font shows; never a box.
fn shown(painter: &Painter, names: &[&str]) -> Vec<(String, Vec<String>)> {
    let series = names.iter().map(|name| Series::micro_usd(*name, vec![1_000_000; 24])).collect();
    let tree = painter.tree(&painter.svg(Chart { series, ..cost(24, MODELS) }, Look::Dark)).unwrap();
    assert_eq!(boxes(tree.root()), 0, "{names:?}");
    let mut all = Vec::new();
    for node in tree.root().children() {
        let Node::Text(text) = node else { continue };
        let glyphs = text.layouted().iter().flat_map(|span| &span.positioned_glyphs);
        let foreign = glyphs.filter_map(|glyph| {
            let family = &tree.fontdb().face(glyph.font)?.families[0].0;
            (!["Inter", "Noto Sans Hebrew", "Noto Sans Arabic"].contains(&family.as_str())).then(|| family.clone())
        });
        all.push((text.chunks().iter().map(|chunk| chunk.text()).collect(), foreign.collect()));
    }
    // Title, subtitle, total and its caption come first, then name and value of each.
    all.into_iter().skip(4).step_by(2).take(names.len()).collect()
}

#[test]
fn letters_that_no_font_shows_are_told_so() {
    let (painter, _folder) = painter();
    let names = ["田中 Ken", "田中", "Ana 🎬", "🇫🇷 Léa", "🎬", "Łukasz Ωmega Ж", "ქართული (Tbilisi)"];
    let shown = shown(&painter, &names);
    let written: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
    let third = "no. 2 (no font for its name)";
    assert_eq!(written, ["… Ken", third, "Ana", "FR Léa", "unnamed", "Łukasz Ωmega Ж", "… (Tbilisi)"]);
    assert!(shown.iter().all(|(_, foreign)| foreign.is_empty()) && painter.has_looked_for_fonts());
}

#[test]
fn the_machine_s_fonts_show_what_the_embedded_ones_lack() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("squares.ttf"), SQUARES).unwrap();
    let painter = Painter::with_fonts_of(folder.path().to_owned());
    let names = ["田中 Ken", "田 דנה 中", "Ana 🎬🎉", "👩\u{200d}🎬 B", "가 田"];
    let written = shown(&painter, &names);
    let squares = |count: usize| vec!["Squares".to_owned(); count];
    let expected = [("田中 Ken", 2), ("田 דנה 中", 2), ("Ana 🎬", 1), ("B", 0), ("… 田", 1)];
    assert_eq!(written, expected.map(|(name, count)| (name.to_owned(), squares(count))));
    // And they are seen: the picture is another one than without.
    let chart = |name: &str| Chart { series: vec![Series::counts(name, [1])], ..cost(1, MODELS) };
    let png = |name: &str| painter.png(chart(name), Look::Dark).unwrap();
    assert_ne!(png("田"), png("中"));
}

#[test]
fn it_says_what_it_is() {
    let month = svg(&cost(24, MODELS), Look::Light);
    assert!(month.contains(">total so far<") && month.contains(">Nov 24, so far<"));
    let whole = svg(&Chart { running: false, ..cost(24, MODELS) }, Look::Light);
    assert!(whole.contains(">total<") && !whole.contains("so far"));
    let nothing = cases().into_iter().find(|(name, _)| *name == "nothing").unwrap().1;
    assert!(svg(&nothing, Look::Light).contains("Nothing yet"));
    let year = svg(&year(), Look::Light);
    assert!(year.contains("each bar a week") && year.contains(">Jan 2026<"));
    assert!(year.matches("<g>").count() <= 54, "weeks, not days");
}

#[test]
fn folding_loses_nothing() {
    let chart = many();
    let sum: f64 = chart.series.iter().flat_map(|series| series.values.iter().flatten()).sum();
    let prepared = super::prepare::prepare(&chart);
    assert_eq!(prepared.series.len(), MOST_SERIES);
    let shown: f64 = prepared.series.iter().flat_map(|series| series.values.iter().flatten()).sum();
    assert!((shown - sum).abs() < 1e-9 && (prepared.total - sum).abs() < 1e-9);
    let weeks = super::prepare::prepare(&year());
    let shown: f64 = weeks.series.iter().flat_map(|series| series.values.iter().flatten()).sum();
    assert!((shown - weeks.total).abs() < 1e-9);
    // A week of lines is their median, and a week of which nothing is known stays a gap.
    let values = [vec![Some(9.0); 6], vec![None; 7], vec![Some(1.0), Some(8.0), None, Some(2.0)], vec![Some(4.0); 90]];
    let lines =
        Chart { days: days((2026, 1, 6), 107), series: vec![Series::new("p50", values.concat())], ..response_times() };
    let prepared = super::prepare::prepare(&lines);
    assert_eq!(prepared.series[0].values[..4], [Some(9.0), None, Some(4.0), Some(4.0)]);
}

#[tokio::test]
async fn a_picture_is_a_file() {
    let file = painter().0.picture("cost.png", cost(7, MODELS), Look::Dark).await.unwrap();
    assert_eq!((file.name(), file.kind), ("cost.png", crate::core::chat::FileKind::Png));
    assert!(painter().0.tree("<html>").is_err());
}
