//! Which CPUs this process may use, and pinning a thread to one of them.

use std::fmt;
use std::io;
use std::mem;
use std::str::FromStr;

/// Highest CPU number the kernel's fixed-size mask can name, plus one.
const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

/// A set of CPU numbers, ascending, without repetition. Written as the kernel writes it: `0-3,6`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<usize>);

/// A CPU list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuListError {
    /// A part is neither a number nor a range.
    #[error("`{0}` is neither a CPU number nor a range such as 0-3")]
    Part(String),
    /// A range runs backwards.
    #[error("the range `{0}` runs backwards")]
    Backwards(String),
    /// A number the kernel's CPU mask cannot hold.
    #[error("CPU {0} is beyond the kernel's mask of {CPUS_MAX}")]
    TooHigh(usize),
    /// Nothing in it.
    #[error("the list names no CPU")]
    Empty,
}

impl CpuSet {
    /// The CPUs this thread may run on now (`sched_getaffinity`), which in a container are fewer than
    /// the machine has.
    ///
    /// # Errors
    /// The kernel's mask is larger than 1024 CPUs (EINVAL).
    pub fn allowed() -> io::Result<CpuSet> {
        // SAFETY: a cpu_set_t is an array of integers, for which zero is a value.
        let mut mask: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the mask is valid for writes of the size given; 0 names the calling thread.
        let answer = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&mask), &raw mut mask) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every number tested is below CPU_SETSIZE, the mask's width in bits.
        let cpus = (0..CPUS_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &mask) });
        Ok(CpuSet(cpus.collect()))
    }

    /// The CPU numbers, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// How many CPUs are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &CpuSet) -> CpuSet {
        let rest = self.0.iter().filter(|cpu| !other.0.contains(cpu));
        CpuSet(rest.copied().collect())
    }
}

impl FromStr for CpuSet {
    type Err = CpuListError;

    fn from_str(list: &str) -> Result<CpuSet, CpuListError> {
        let mut cpus = Vec::new();
        for part in list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let number = |text: &str| {
                let cpu = text
                    .trim()
                    .parse::<usize>()
                    .map_err(|_| CpuListError::Part(part.to_owned()))?;
                if cpu >= CPUS_MAX {
                    return Err(CpuListError::TooHigh(cpu));
                }
                Ok(cpu)
            };
            match part.split_once('-') {
                None => cpus.push(number(part)?),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(CpuListError::Backwards(part.to_owned()));
                    }
                    cpus.extend(first..=last);
                }
            }
        }
        if cpus.is_empty() {
            return Err(CpuListError::Empty);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(CpuSet(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut separator = "";
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .enumerate()
                .take_while(|&(offset, &cpu)| cpu == first + offset)
                .count();
            match run {
                1 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{}", first + run - 1)?,
            }
            rest = &rest[run..];
            separator = ",";
        }
        Ok(())
    }
}

/// Pins the calling thread to one CPU.
///
/// # Errors
/// The CPU does not exist or is not allowed to this process (EINVAL).
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    if cpu >= CPUS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a cpu_set_t is an array of integers, for which zero is a value.
    let mut mask: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` is below CPU_SETSIZE, the mask's width in bits.
    unsafe { libc::CPU_SET(cpu, &mut mask) };
    // SAFETY: the mask is valid for reads of the size given; 0 names the calling thread.
    let answer = unsafe { libc::sched_setaffinity(0, mem::size_of_val(&mask), &raw const mask) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_sorted_and_written_back_as_ranges() {
        for (text, cpus, canonical) in [
            ("0", vec![0], "0"),
            ("0-3,6", vec![0, 1, 2, 3, 6], "0-3,6"),
            ("6, 1-2 ,2", vec![1, 2, 6], "1-2,6"),
            ("3,4,5,", vec![3, 4, 5], "3-5"),
        ] {
            let set: CpuSet = text.parse().unwrap();
            assert_eq!(set.as_slice(), cpus, "{text}");
            assert_eq!(set.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        let error = |text: &str| text.parse::<CpuSet>().unwrap_err();
        assert_eq!(error("0,x"), CpuListError::Part("x".into()));
        assert_eq!(error("1-2-3"), CpuListError::Part("1-2-3".into()));
        assert_eq!(error("3-1"), CpuListError::Backwards("3-1".into()));
        assert_eq!(error("4096"), CpuListError::TooHigh(4096));
        assert_eq!(error(" , "), CpuListError::Empty);
    }

    #[test]
    fn a_pinned_thread_runs_on_its_cpu_only() {
        let allowed = CpuSet::allowed().unwrap();
        let last = *allowed.as_slice().last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin_current_thread(last).unwrap();
            CpuSet::allowed().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), CpuSet(vec![last]));
        assert!(pin_current_thread(CPUS_MAX).is_err());
    }
}
