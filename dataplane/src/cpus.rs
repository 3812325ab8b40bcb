//! Which processor each shard is pinned to.

use anyhow::bail;
use dataplane_net::affinity::CpuSet;

/// The processor of each of `shards` shards. The shards take the last processors, because a host's
/// interrupts and the rest of the node gather on the first; with more shards than processors, some
/// share one.
#[must_use]
pub fn assign(cpus: &[usize], shards: usize) -> Vec<usize> {
    if cpus.is_empty() {
        return Vec::new();
    }
    let first = cpus.len().saturating_sub(shards);
    (0..shards)
        .map(|shard| cpus[(first + shard) % cpus.len()])
        .collect()
}

/// The processors the shards may take: those of `--cpus`, else all that this process may use.
///
/// # Errors
/// When `--cpus` names one that this process may not use, or that the host does not have.
pub fn usable<'a>(chosen: Option<&'a CpuSet>, allowed: &'a CpuSet) -> anyhow::Result<&'a [usize]> {
    let Some(chosen) = chosen else {
        return Ok(allowed.as_slice());
    };
    let foreign = chosen.without(allowed);
    if !foreign.is_empty() {
        bail!(
            "--cpus {chosen} names processors that this process may not use ({foreign}): choose among \
             {allowed}, or leave --cpus out for all of them"
        );
    }
    Ok(chosen.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_may_not_be_used_are_named_with_those_that_may() {
        let set = |list: &str| list.parse::<CpuSet>().unwrap();
        let allowed = set("0-3,6");
        assert_eq!(usable(None, &allowed).unwrap(), [0, 1, 2, 3, 6]);
        assert_eq!(usable(Some(&set("2-3")), &allowed).unwrap(), [2, 3]);
        let error = usable(Some(&set("3-7")), &allowed).unwrap_err().to_string();
        assert!(
            error.contains("--cpus 3-7") && error.contains("(4-5,7)") && error.contains("0-3,6"),
            "{error}"
        );
    }

    #[test]
    fn shards_leave_the_first_processors_to_interrupts_and_workers() {
        assert_eq!(assign(&[0, 1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(assign(&[0, 1], 1), [1]);
        assert_eq!(assign(&[4], 3), [4, 4, 4]);
        assert_eq!(assign(&[0, 1], 3), [0, 1, 0]);
        assert!(assign(&[], 1).is_empty());
    }
}
