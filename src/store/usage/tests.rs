//! The bounds of histograms, and percentiles against exact ones.

use proptest::prelude::*;

use super::*;

#[test]
fn whole_blocks_and_their_edges() {
    let blocks = |from, to| {
        let blocks = Days { from, to }.blocks();
        (blocks.from, blocks.to)
    };
    assert_eq!(blocks(28, 84), (28, 84));
    assert_eq!(blocks(27, 85), (28, 84));
    assert_eq!(blocks(29, 56), (29, 29), "no whole one");
    assert_eq!(blocks(0, 1), (0, 0));
}

#[test]
fn bounds() {
    for bucket in 0..300 {
        let (low, next) = (Buckets::lower(bucket), Buckets::lower(bucket + 1));
        if low > LONGEST_MS {
            break;
        }
        assert!(low < next, "{bucket}");
        assert_eq!(Buckets::of(low), bucket);
        assert_eq!(Buckets::of(next - 1), bucket.min(Buckets::of(LONGEST_MS)));
        assert!((next - low) as f64 <= (low as f64 * Buckets::ERROR_PERCENT / 100.0).max(1.0), "{bucket}");
    }
    assert_eq!(Buckets::of(i64::MAX), Buckets::of(LONGEST_MS));
    assert_eq!(Buckets::of(-5), 0);
    assert_eq!(Buckets::quantile(&[], 0.5), None);
    assert_eq!(Buckets::quantile(&[(Buckets::of(1_000), 0)], 0.5), None);
}

proptest! {
    /// Of any values, the percentile is as near to the exact one as is said.
    #[test]
    fn percentiles_are_as_exact_as_is_said(values in prop::collection::vec(0i64..2_000_000, 1..400), percent in 1u32..100) {
        let mut values = values;
        values.sort_unstable();
        let share = f64::from(percent) / 100.0;
        let exact = values[((share * values.len() as f64).ceil() as usize).max(1) - 1] as f64;
        let mut histogram = std::collections::BTreeMap::new();
        for value in &values {
            *histogram.entry(Buckets::of(*value)).or_insert(0) += 1;
        }
        let histogram: Vec<(i64, i64)> = histogram.into_iter().collect();
        let found = Buckets::quantile(&histogram, share).unwrap();
        prop_assert!((found - exact).abs() <= (exact * Buckets::ERROR_PERCENT / 100.0).max(1.0), "{found} {exact}");
    }
}
