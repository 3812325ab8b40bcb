//! Rounds one after the other: a bar a round, and the line it must stay below. Of chapters with one round
//! there is nothing to see that a number does not tell.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use serde_json::Value;

use super::{Area, BARS_LEFT, FAINT, INK, MARGIN, MISS, Outcome, PASS, Pixels, WIDTH, text};

const STRIP_HEIGHT: i32 = 64;
const STRIP_GAP: i32 = 22;

/// What is drawn of a chapter: the figure of its rounds, its bound, and what it says.
const STRIPS: [(&str, &str, f64, &str); 8] = [
    ("kill", "added_ms", 20.0, "kill: gap beyond the calm, ms"),
    ("kill", "api_ms", 1000.0, "kill: API back, ms"),
    ("takeover", "added_ms", 20.0, "take-over: gap, ms"),
    ("takeover", "api_ms", 1000.0, "take-over: API back, ms"),
    ("upgrade", "added_ms", 20.0, "upgrade: gap, ms"),
    ("upgrade", "api_ms", 1000.0, "upgrade: API back, ms"),
    ("media", "back_ms", 500.0, "data plane back, ms"),
    ("media", "all_served_ms", 5000.0, "last viewer served, ms"),
];

/// One strip that has something to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Strip {
    title: &'static str,
    bound: f64,
    values: Vec<f64>,
}

/// The strips of a result; none of one that has no such rounds.
pub(super) fn strips(rounds: &[Value]) -> Vec<Strip> {
    let strips = STRIPS.into_iter().map(|(chapter, figure, bound, title)| {
        let rounds = rounds.iter().filter(|round| round["chapter"] == chapter);
        Strip {
            title,
            bound,
            values: rounds.filter_map(|round| round[figure].as_f64()).collect(),
        }
    });
    strips.filter(|strip| strip.values.len() > 1).collect()
}

/// Pixels that they take.
pub(super) fn height(strips: &[Strip]) -> i32 {
    let strips = i32::try_from(strips.len()).unwrap_or(0);
    strips * (STRIP_HEIGHT + STRIP_GAP)
}

/// Draws them, one below the other.
pub(super) fn draw(area: &Area<'_>, top: i32, strips: &[Strip]) -> Outcome<()> {
    let mut bottom = top;
    for strip in strips {
        bottom += STRIP_HEIGHT + STRIP_GAP;
        draw_strip(area, bottom, strip)?;
    }
    Ok(())
}

fn draw_strip(area: &Area<'_>, bottom: i32, strip: &Strip) -> Outcome<()> {
    let worst = strip.values.iter().copied().fold(0.0, f64::max);
    let top = worst.max(strip.bound) * 1.1;
    let right = WIDTH - MARGIN;
    let width = f64::from(right - BARS_LEFT) / f64::from(u32::try_from(strip.values.len())?);
    let pixels = |value: f64| Pixels::of(value / top * f64::from(STRIP_HEIGHT)).0;
    for (number, &value) in (0_u32..).zip(&strip.values) {
        let left = BARS_LEFT + Pixels::of(width * f64::from(number)).0;
        let end = BARS_LEFT + Pixels::of(width * f64::from(number + 1)).0 - 1;
        let colour = if value <= strip.bound { PASS } else { MISS };
        let upper = (left, bottom - pixels(value).max(1));
        let lower = (end.max(left + 1), bottom);
        area.draw(&Rectangle::new([upper, lower], colour.filled()))?;
    }
    let bound = bottom - pixels(strip.bound);
    let line = vec![(BARS_LEFT, bound), (right, bound)];
    area.draw(&PathElement::new(line, INK))?;
    let label = (BARS_LEFT - 8, bottom - STRIP_HEIGHT / 2);
    text(area, strip.title, label, 14, INK, HPos::Right)?;
    let below = format!(
        "{} rounds, worst {worst:.0}, must be at most {:.0}",
        strip.values.len(),
        strip.bound
    );
    let at = (BARS_LEFT - 8, bottom - STRIP_HEIGHT / 2 + 16);
    text(area, &below, at, 11, FAINT, HPos::Right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rounds_of_a_chapter_become_strips_and_single_ones_do_not() {
        let rounds = [
            json!({"chapter": "kill", "api_ms": 100.0, "added_ms": 3.0}),
            json!({"chapter": "kill", "api_ms": 1200.0, "added_ms": 0.0}),
            json!({"chapter": "upgrade", "api_ms": 50.0}),
        ];
        let strips = strips(&rounds);
        let found: Vec<_> = strips.iter().map(|strip| &strip.values[..]).collect();
        assert_eq!(found, [&[3.0, 0.0][..], &[100.0, 1200.0]]);
        assert!(height(&strips) > 2 * STRIP_HEIGHT);
        assert_eq!(height(&[]), 0);
    }
}
