//! Sizes of minibatches that have programs of their own, and others as pieces of those.

use std::ops::Range;

/// The examples of each piece of a minibatch, in order: the largest size that has programs of its own, then what is left in the same way.
pub(super) fn pieces(n: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let left = n - from;
        let size = if is_round(left) { left } else { leading(left) };
        let piece = from..from + size;
        from += size;
        (size > 0).then_some(piece)
    })
}

/// A number's four leading binary digits, followed by zeros.
fn leading(n: usize) -> usize {
    let rest = n.checked_ilog2().unwrap_or(0).saturating_sub(3);
    n >> rest << rest
}

/// Whether a size has programs of its own: one of at most four significant binary digits; a multiple of 10 or 25, from 100 on of 25, from
/// 1000 on of 250, and so on.
fn is_round(n: usize) -> bool {
    let power = 10usize.pow(n.checked_ilog10().unwrap_or(0));
    let decimal = if power == 10 { n.is_multiple_of(10) } else { false };
    n == leading(n) || decimal || n.is_multiple_of((power / 4).max(25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_cover_every_minibatch_once_in_few_sizes() {
        let sizes = |n| pieces(n).map(|rows| rows.len()).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        for whole in [1, 7, 15, 16, 20, 25, 50, 64, 96, 100, 128, 150, 200, 256, 500, 512, 1000, 1024, 1 << 40] {
            assert_eq!(sizes(whole), [whole], "usual sizes are one piece");
        }
        assert_eq!(sizes(127), [120, 7]);
        assert_eq!(sizes(1007), [960, 44, 3]);
        let mut all = std::collections::BTreeSet::new();
        for n in 1..=1024 {
            let rows: Vec<Range<usize>> = pieces(n).collect();
            assert!(
                rows.iter().scan(0, |end, rows| Some(std::mem::replace(end, rows.end) == rows.start)).all(|next| next)
            );
            assert_eq!(rows.last().map(|rows| rows.end), Some(n));
            assert!(rows.len() <= 3, "{n}: {rows:?}");
            all.extend(rows.iter().map(|rows| rows.len()));
        }
        assert!(all.len() <= 110, "{} sizes serve 1024", all.len());
        // A mean of 128 and what Poisson sampling makes of it: eight sizes of four binary digits from 88 to 160, then 100, 125 and 150, and
        // all fifteen rests. (An earlier bound of 25 had counted one too few of the same sizes.)
        let drawn: std::collections::BTreeSet<usize> = (95..=161).flat_map(sizes).collect();
        assert_eq!(drawn.len(), 26, "{drawn:?}");
    }
}
