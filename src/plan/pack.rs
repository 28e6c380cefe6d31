//! Chooses items of different sizes that fit into a given number of bytes.

/// Takes, in order, each item that still fits into `room` bytes. Returns which items were taken, and their
/// total size in bytes.
pub(super) fn in_order(sizes: &[usize], room: usize) -> (Vec<bool>, usize) {
    let mut left = room;
    let taken = sizes
        .iter()
        .map(|size| {
            let fits = *size <= left;
            left -= if fits { *size } else { 0 };
            fits
        })
        .collect();
    (taken, room - left)
}

/// Takes the subset with the greatest total size that fits. Breaks ties from the end: leaves out the last
/// item if possible, then the item before it, and so on. Sizes must be multiples of 4. Returns which items
/// were taken, and their total size in bytes.
pub(super) fn fullest(sizes: &[usize], room: usize) -> (Vec<bool>, usize) {
    // reach[n][sum]: whether a subset of the first n items has this sum, in units of 4 bytes.
    let (slots, unit) = (room / 4, 4);
    let mut reach = vec![vec![false; slots + 1]];
    reach[0][0] = true;
    for size in sizes {
        let before = &reach[reach.len() - 1];
        let step = size / unit;
        let next = (0..=slots).map(|sum| before[sum] || (sum >= step && before[sum - step])).collect();
        reach.push(next);
    }
    let best = (0..=slots).rev().find(|sum| reach[sizes.len()][*sum]).expect("no size at all makes up 0");
    let mut sum = best;
    let mut taken = vec![false; sizes.len()];
    for index in (0..sizes.len()).rev() {
        if !reach[index][sum] {
            taken[index] = true;
            sum -= sizes[index] / unit;
        }
    }
    (taken, best * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_in_order() {
        assert_eq!(in_order(&[40, 60, 40], 88), (vec![true, false, true], 80));
    }

    /// Expected result: 20 + 36 fills all 56 bytes, and 20 + 24 does not.
    #[test]
    fn the_fullest_choice_takes_later_sizes_only_where_it_must() {
        assert_eq!(fullest(&[20, 24, 36], 56), (vec![true, false, true], 56));
        assert_eq!(fullest(&[28, 28, 28], 56), (vec![true, true, false], 56));
        assert_eq!(fullest(&[60], 56), (vec![false], 0));
        assert_eq!(fullest(&[], 56), (vec![], 0));
    }
}
