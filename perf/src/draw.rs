//! Results as a picture: a bar a gate, as long as the share of its bound that was used. A bar that crosses
//! the line missed its gate, whichever side of the bound is the good one. Ratios and times are drawn, and
//! whatever was missed; the rest is told in a line.

mod timeline;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;

use crate::cli::DrawArguments;

/// What is read of a report.
#[derive(Clone, Debug, Deserialize)]
struct Drawn {
    schema: String,
    commit: String,
    command: String,
    machine: Machine,
    gates: Vec<Bound>,
    #[serde(default)]
    rounds: Vec<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Bound {
    id: String,
    must: f64,
    value: f64,
    unit: String,
    pass: bool,
}

impl Bound {
    /// How much of the bound is used up: more than 1 is a miss. `None` of what is not drawn: nothing can be
    /// a share of zero, and that a condition of the measurement held is no result.
    fn used(&self) -> Option<f64> {
        let result =
            matches!(self.unit.as_str(), "ratio" | "ms" | "s") && !self.id.ends_with("/late");
        if self.must <= 0.0 || (self.pass && !result) {
            return None;
        }
        let cost = (self.value <= self.must) == self.pass;
        Some(if cost {
            self.value / self.must
        } else {
            self.must / self.value.max(f64::MIN_POSITIVE)
        })
    }
}

const WIDTH: i32 = 880;
const BAR_HEIGHT: i32 = 14;
const ROW_HEIGHT: i32 = 22;
const HEADING_HEIGHT: i32 = 64;
const MARGIN: i32 = 16;
/// Where bars begin, and where the bound stands.
const BARS_LEFT: i32 = 210;
const BOUND_AT: i32 = 560;
/// Bars are cut here: how far a miss misses is told by its number.
const USED_MAX: f64 = 1.35;

const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x7a);
const PASS: RGBColor = RGBColor(0x2c, 0x7f, 0x62);
const MISS: RGBColor = RGBColor(0xc0, 0x3a, 0x2b);

/// Runs `lectern-perf draw`.
///
/// # Errors
/// When a result cannot be read, or the drawing not be written.
pub(crate) fn draw(arguments: &DrawArguments) -> anyhow::Result<()> {
    let results = arguments
        .results
        .iter()
        .map(|path| read(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let svg = picture(&results).map_err(|error| anyhow!("cannot draw: {error}"))?;
    fs::write(&arguments.svg, svg)
        .with_context(|| format!("cannot write {}", arguments.svg.display()))
}

fn read(path: &Path) -> anyhow::Result<Drawn> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One panel below the other.
fn picture(results: &[Drawn]) -> Outcome<String> {
    let height: i32 = results.iter().map(panel_height).sum();
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let mut top = 0;
        for result in results {
            panel(&area, top, result)?;
            top += panel_height(result);
        }
        area.present()?;
    }
    Ok(svg)
}

fn bars(result: &Drawn) -> impl Iterator<Item = (&Bound, f64)> {
    let gates = result.gates.iter();
    gates.filter_map(|bound| Some((bound, bound.used()?)))
}

fn panel_height(result: &Drawn) -> i32 {
    let rows = i32::try_from(bars(result).count()).unwrap_or(0);
    let strips = timeline::height(&timeline::strips(&result.rounds));
    HEADING_HEIGHT + ROW_HEIGHT * rows + strips + 3 * MARGIN
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, top: i32, result: &Drawn) -> Outcome<()> {
    let machine = &result.machine;
    text(
        area,
        &result.command,
        (MARGIN, top + 22),
        18,
        INK,
        HPos::Left,
    )?;
    let origin = format!(
        "{}, commit {}; {}, {} cores, {}",
        result.schema, result.commit, machine.cpu, machine.cores, machine.kernel
    );
    text(area, &origin, (MARGIN, top + 42), 14, FAINT, HPos::Left)?;
    let begin = top + HEADING_HEIGHT;
    let mut row = begin;
    for (bound, used) in bars(result) {
        let middle = row + ROW_HEIGHT / 2;
        let colour = if bound.pass { PASS } else { MISS };
        text(
            area,
            &bound.id,
            (BARS_LEFT - 8, middle),
            15,
            INK,
            HPos::Right,
        )?;
        let end = BARS_LEFT + length(used);
        let upper = (BARS_LEFT, middle - BAR_HEIGHT / 2);
        let lower = (end.max(BARS_LEFT + 1), middle + BAR_HEIGHT / 2);
        area.draw(&Rectangle::new([upper, lower], colour.filled()))?;
        let found = format!(
            "{} of {} {}",
            short(bound.value),
            short(bound.must),
            bound.unit
        );
        let after = (end.max(BOUND_AT) + 8, middle);
        text(area, &found, after, 14, FAINT, HPos::Left)?;
        row += ROW_HEIGHT;
    }
    let line = vec![(BOUND_AT, begin - 4), (BOUND_AT, row + 4)];
    area.draw(&PathElement::new(line, INK))?;
    let label = (BOUND_AT, begin - 10);
    text(area, "what must hold", label, 14, INK, HPos::Center)?;
    text(
        area,
        &others(result),
        (MARGIN, row + MARGIN),
        14,
        FAINT,
        HPos::Left,
    )?;
    timeline::draw(area, row + MARGIN, &timeline::strips(&result.rounds))
}

/// Gates that have no bar.
fn others(result: &Drawn) -> String {
    let told = result.gates.iter().filter(|bound| bound.used().is_none());
    let (pass, missed): (Vec<_>, Vec<_>) = told.partition(|bound| bound.pass);
    let missed: Vec<_> = missed
        .iter()
        .map(|bound| format!("{} is {:.0} {}", bound.id, bound.value, bound.unit))
        .collect();
    let pass = format!("{} more gates pass", pass.len());
    if missed.is_empty() {
        format!("{pass}.")
    } else {
        format!("{pass}; what must be zero is not: {}.", missed.join(", "))
    }
}

/// Pixels of a bar.
fn length(used: f64) -> i32 {
    let whole = f64::from(BOUND_AT - BARS_LEFT);
    Pixels::of(used.clamp(0.0, USED_MAX) * whole).0
}

/// Whole pixels below a length; a picture has a few thousand.
struct Pixels(i32);

impl Pixels {
    fn of(length: f64) -> Pixels {
        let pixels = (0..4 * WIDTH).take_while(|&pixel| f64::from(pixel) < length);
        Pixels(pixels.last().unwrap_or(0))
    }
}

/// Three digits are enough for a reader.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    align: HPos,
) -> Outcome<()> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&colour)
        .pos(Pos::new(align, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(must: f64, value: f64, pass: bool) -> Bound {
        Bound {
            id: format!("row/{value}"),
            must,
            value,
            unit: "ratio".to_owned(),
            pass,
        }
    }

    fn cpu(must: f64, value: f64, pass: bool) -> Bound {
        Bound {
            unit: "cpu".to_owned(),
            ..bound(must, value, pass)
        }
    }

    #[test]
    fn a_bar_crosses_the_line_exactly_when_its_gate_is_missed() {
        for (bound, used) in [
            (bound(2.0, 1.0, true), Some(0.5)),
            (bound(1.0, 2.0, false), Some(2.0)),
            // A yield: at least 5 are promised.
            (bound(5.0, 10.0, true), Some(0.5)),
            (bound(5.0, 2.5, false), Some(2.0)),
            (bound(1.0, 1.0, true), Some(1.0)),
            (bound(0.0, 3.0, false), None),
            (cpu(0.9, 0.3, true), None),
            (cpu(0.5, 1.0, false), Some(2.0)),
        ] {
            assert_eq!(bound.used(), used, "{bound:?}");
        }
        let whole = BOUND_AT - BARS_LEFT;
        assert!(length(0.99) < whole && length(1.01) >= whole);
    }

    #[test]
    fn every_gate_is_drawn_or_told() {
        let text = r#"{"schema":"lectern-perf/test/1","commit":"c","command":"lectern-perf x",
            "machine":{"cpu":"c","cores":2,"kernel":"k","memory":1},"rounds":[],"medians":{},
            "gates":[{"id":"r9/p99","must":1.25,"lead":1,"value":1.5,"unit":"ratio","pass":false},
            {"id":"r9/lost","must":0,"lead":0,"value":7,"unit":"packets","pass":false}]}"#;
        let result: Drawn = serde_json::from_str(text).unwrap();
        let svg = picture(&[result.clone(), result]).unwrap();
        assert_eq!(svg.matches("r9/p99").count(), 2);
        assert_eq!(svg.matches("r9/lost is 7 packets").count(), 2);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
