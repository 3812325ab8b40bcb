//! A failing input made as short and as plain as it goes while it fails in the same way.

/// Executions spent on one input.
const EXECUTIONS_MAX: usize = 20_000;

/// Shortens `input` and zeroes what remains, as far as `fails` still holds.
#[must_use]
pub fn minimise(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut executions = 0;
    let mut try_one = |candidate: &[u8]| {
        executions += 1;
        executions <= EXECUTIONS_MAX && fails(candidate)
    };
    loop {
        let before = best.clone();
        truncate(&mut best, &mut try_one);
        cut(&mut best, &mut try_one);
        zero(&mut best, &mut try_one);
        if best == before {
            return best;
        }
    }
}

/// Drops the tail, halving what is tried.
fn truncate(best: &mut Vec<u8>, fails: &mut impl FnMut(&[u8]) -> bool) {
    let mut drop = best.len();
    while drop > 0 {
        let shorter = best.len().saturating_sub(drop);
        if best.get(..shorter).is_some_and(&mut *fails) {
            best.truncate(shorter);
        } else {
            drop /= 2;
        }
    }
}

/// Removes pieces from everywhere, the large ones first.
fn cut(best: &mut Vec<u8>, fails: &mut impl FnMut(&[u8]) -> bool) {
    let mut piece = best.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            let end = (at + piece).min(best.len());
            let mut candidate = best.clone();
            candidate.drain(at..end);
            if fails(&candidate) {
                *best = candidate;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
}

/// Zeroes octets that do not matter.
fn zero(best: &mut [u8], fails: &mut impl FnMut(&[u8]) -> bool) {
    for at in 0..best.len() {
        let Some(kept) = best.get(at).copied().filter(|&octet| octet != 0) else {
            continue;
        };
        best[at] = 0;
        if !fails(best) {
            best[at] = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes_and_what_matters_stays() {
        let noise: Vec<u8> = (1..=255).cycle().take(2_000).collect();
        let fails = |input: &[u8]| {
            let first = input.iter().position(|&octet| octet == 77);
            first.is_some_and(|at| input.get(at + 5).is_some_and(|&octet| octet >= 80))
        };
        assert!(fails(&noise));
        let least = minimise(&noise, fails);
        assert_eq!(least, [77, 0, 0, 0, 0, 82]);
    }

    #[test]
    fn an_input_that_fails_whatever_it_is_becomes_empty() {
        assert_eq!(minimise(&[1; 500], |_| true), Vec::<u8>::new());
    }

    #[test]
    fn it_ends() {
        let mut executions = 0;
        let all: Vec<u8> = vec![1; 50_000];
        let _ = minimise(&all, |input| {
            executions += 1;
            input.len() % 2 == 0
        });
        assert!(executions <= EXECUTIONS_MAX);
    }
}
