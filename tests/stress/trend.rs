//! Where a row of measurements is going.

/// Least squares: how much `y` rises with each unit of `x`. 0 with fewer than two distinct `x`.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for (x, y) in points {
        both += (x - mean_x) * (y - mean_y);
        square += (x - mean_x) * (x - mean_x);
    }
    if square > 0.0 {
        both / square
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slope_under_noise_and_none_where_there_is_none() {
        let line: Vec<_> = (0..100).map(|x| (f64::from(x), 7.0 + 0.25 * f64::from(x))).collect();
        assert!((slope(&line) - 0.25).abs() < 1e-12);
        let saw: Vec<_> = (0..100).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        assert!(slope(&saw).abs() < 1e-3);
        assert_eq!(
            (slope(&[]), slope(&[(1.0, 5.0)]), slope(&[(1.0, 5.0), (1.0, 9.0)])),
            (0.0, 0.0, 0.0)
        );
    }
}
