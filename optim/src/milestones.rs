//! A few steps at which something happens.

use std::fmt;
use std::str::FromStr;

/// Numbers of steps that grow, at most [`Milestones::MOST`].
///
/// ```
/// use osculate_optim::Milestones;
/// let milestones: Milestones = "30,60,80".parse()?;
/// assert_eq!(milestones.iter().collect::<Vec<_>>(), [30, 60, 80]);
/// assert_eq!(Milestones::of(&[30, 60, 80]), Some(milestones));
/// assert!("60,30".parse::<Milestones>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Milestones {
    steps: [u64; Milestones::MOST],
    len: usize,
}

impl Milestones {
    /// Most steps there can be.
    pub const MOST: usize = 16;

    /// Milestones at steps that grow; none if they do not, or are too many.
    pub fn of(steps: &[u64]) -> Option<Milestones> {
        let mut milestones = Milestones::default();
        milestones.steps.get_mut(..steps.len())?.copy_from_slice(steps);
        milestones.len = steps.len();
        steps.is_sorted_by(|a, b| a < b).then_some(milestones)
    }

    /// The steps.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.steps.into_iter().take(self.len)
    }
}

impl FromStr for Milestones {
    type Err = String;

    /// Of numbers with commas between them; `none` of none.
    fn from_str(text: &str) -> Result<Milestones, String> {
        let wanted = || format!("at most {} whole numbers that grow are wanted, like 30,60,80", Milestones::MOST);
        if text.is_empty() || text == "none" {
            return Ok(Milestones::default());
        }
        let steps: Result<Vec<u64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        steps.ok().and_then(|steps| Milestones::of(&steps)).ok_or_else(wanted)
    }
}

impl fmt::Display for Milestones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 {
            return f.write_str("none");
        }
        let steps: Vec<String> = self.iter().map(|step| step.to_string()).collect();
        f.write_str(&steps.join(","))
    }
}
