//! Medians over rounds.

/// The median; the mean of the middle two of an even number; `None` of nothing. NaN sorts last, so one
/// broken sample cannot pass for a small one.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let high = *sorted.get(upper)?;
    if sorted.len() % 2 == 1 {
        return Some(high);
    }
    let low = *sorted.get(upper.checked_sub(1)?)?;
    Some(f64::midpoint(low, high))
}

/// `value` rounded to `digits` decimal places, so that reports stay readable and diffs stay small.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken_whatever_the_order() {
        assert_eq!(median([9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn an_outlier_or_a_broken_sample_does_not_move_it() {
        assert_eq!(median([1.0, 1.1, 1.2, 900.0, 1.15]), Some(1.15));
        assert_eq!(median([f64::NAN, 2.0, 1.0]), Some(2.0));
    }

    #[test]
    fn rounding_keeps_the_asked_digits() {
        assert!((rounded(1.234_56, 3) - 1.235).abs() < 1e-12);
        assert!((rounded(366.49, 0) - 366.0).abs() < 1e-12);
    }
}
