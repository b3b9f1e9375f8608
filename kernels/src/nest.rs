//! Walking a loop nest: joining adjacent loops, and stepping all views at once.

/// Joins neighbouring loops that every view steps through evenly, and drops loops of extent 1: the extents, and each view's strides.
pub(crate) fn coalesce(dims: &[usize], views: &[&[usize]]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut extents: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<usize>> = vec![Vec::new(); views.len()];
    for (axis, &extent) in dims.iter().enumerate() {
        if extent == 1 {
            continue;
        }
        let joins = !extents.is_empty()
            && views.iter().zip(&strides).all(|(view, kept)| kept[kept.len() - 1] == view[axis] * extent);
        if joins {
            let last = extents.len() - 1;
            extents[last] *= extent;
            for (view, kept) in views.iter().zip(&mut strides) {
                kept[last] = view[axis];
            }
        } else {
            extents.push(extent);
            for (view, kept) in views.iter().zip(&mut strides) {
                kept.push(view[axis]);
            }
        }
    }
    (extents, strides)
}

/// Axes in the order in which strides run through memory, the longest steps first; equal steps keep their order.
pub(crate) fn descending(axes: impl IntoIterator<Item = usize>, strides: &[usize]) -> Vec<usize> {
    let mut axes: Vec<usize> = axes.into_iter().collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
    axes
}

/// Offset of the `index`-th (row-major) point of `dims` under `strides`.
#[inline]
pub(crate) fn offset(mut index: usize, dims: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (&extent, &stride) in dims.iter().zip(strides).rev() {
        at += (index % extent) * stride;
        index /= extent;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_is_contiguous_and_keeps_what_is_not() {
        let (dims, strides) = coalesce(&[2, 1, 3, 4], &[&[12, 7, 4, 1], &[12, 0, 4, 1]]);
        assert_eq!((dims, strides), (vec![24], vec![vec![1], vec![1]]));
        let (dims, strides) = coalesce(&[2, 3, 4], &[&[12, 4, 1], &[0, 4, 1]]);
        assert_eq!((dims, strides), (vec![2, 12], vec![vec![12, 1], vec![0, 1]]));
        let (dims, strides) = coalesce(&[5, 2], &[&[0, 0]]);
        assert_eq!((dims, strides), (vec![10], vec![vec![0]]));
    }

    #[test]
    fn long_steps_come_first_and_equal_ones_keep_their_order() {
        assert_eq!(descending(0..4, &[1, 6, 0, 6]), [1, 3, 0, 2]);
        assert_eq!(descending([2, 0], &[5, 9, 5]), [2, 0]);
    }

    #[test]
    fn offsets_count_row_major() {
        let all: Vec<usize> = (0..6).map(|i| offset(i, &[2, 3], &[1, 10])).collect();
        assert_eq!(all, [0, 10, 20, 1, 11, 21]);
    }
}
