//! Places on earth, and which of two is nearer.
//!
//! Everything is integers. Two responders on different machines find the same region nearest, because no mathematical library
//! takes part: sines come from a series of our own.

use std::fmt;

/// The earth's radius in units of a [`Spot`]'s vector: a unit is 6 mm. With squares of twice the radius a distance fits 64 bits.
const RADIUS_BITS: u32 = 30;
/// The angles' scale while a sine is computed.
const ANGLE_BITS: u32 = 60;
/// π · 2^60.
const PI: i128 = 3_622_009_729_038_561_421;
const QUARTER_TURN_E6: i64 = 90_000_000;
const HALF_TURN_E6: i64 = 180_000_000;

/// A place on earth (WGS 84, taken as a sphere).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    latitude_e6: i32,
    longitude_e6: i32,
    /// From the earth's centre, in units of 2^-30 radii.
    vector: [i64; 3],
}

impl Spot {
    /// The place at these millionths of a degree north and east. `None`: they are beyond ±90 and ±180 degrees.
    pub fn new(latitude_e6: i32, longitude_e6: i32) -> Option<Self> {
        let (latitude, longitude) = (i64::from(latitude_e6), i64::from(longitude_e6));
        if latitude.abs() > QUARTER_TURN_E6 || longitude.abs() > HALF_TURN_E6 {
            return None;
        }
        let to_axis = cosine(latitude);
        let vector = [
            (to_axis * cosine(longitude)) >> RADIUS_BITS,
            (to_axis * sine(longitude)) >> RADIUS_BITS,
            sine(latitude),
        ];
        Some(Self { latitude_e6, longitude_e6, vector })
    }

    /// How far apart two places are: the square of the chord between them, which grows as the great circle's arc does.
    pub(crate) fn apart(&self, other: &Self) -> u64 {
        let differences = self.vector.iter().zip(other.vector).map(|(mine, others)| mine.abs_diff(others));
        differences.map(|difference| difference * difference).sum()
    }
}

/// As degrees north and east: `53.300000,-6.200000`.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let degrees = |f: &mut fmt::Formatter<'_>, e6: i32| {
            let sign = if e6 < 0 { "-" } else { "" };
            write!(f, "{sign}{}.{:06}", e6.unsigned_abs() / 1_000_000, e6.unsigned_abs() % 1_000_000)
        };
        degrees(f, self.latitude_e6)?;
        f.write_str(",")?;
        degrees(f, self.longitude_e6)
    }
}

/// The sine of an angle of at most a half turn either way, times 2^30.
fn sine(angle_e6: i64) -> i64 {
    let size = angle_e6.abs();
    // Beyond a quarter turn it falls as it rose.
    let size = size.min(HALF_TURN_E6 - size);
    let angle = i128::from(size) * PI / i128::from(HALF_TURN_E6);
    let square = (angle * angle) >> ANGLE_BITS;
    // The series of the sine up to x^17: what follows is less than 10^-13 at a quarter turn.
    let mut term = angle;
    let mut sum = angle;
    for power in (3..=17).step_by(2) {
        term = -((term * square) >> ANGLE_BITS) / (power * (power - 1));
        sum += term;
    }
    let dropped = ANGLE_BITS - RADIUS_BITS;
    let rounded = (sum + (1 << (dropped - 1))) >> dropped;
    rounded as i64 * angle_e6.signum()
}

fn cosine(angle_e6: i64) -> i64 {
    sine(QUARTER_TURN_E6 - angle_e6.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(latitude: f64, longitude: f64) -> Spot {
        Spot::new((latitude * 1e6) as i32, (longitude * 1e6) as i32).unwrap()
    }

    #[test]
    fn sines_are_those_of_the_library() {
        let scale = f64::from(1 << RADIUS_BITS);
        for angle in (-180_000_000..=180_000_000).step_by(333_333) {
            let radians = (f64::from(angle) / 1e6).to_radians();
            for (found, expected) in
                [(sine(angle.into()), radians.sin()), (cosine(angle.into()), radians.cos())]
            {
                assert!((found as f64 - expected * scale).abs() < 1.0, "{angle}: {found}");
            }
        }
    }

    #[test]
    fn the_nearer_of_two_places() {
        let check = |from: Spot, nearer: Spot, farther: Spot| {
            assert!(from.apart(&nearer) < from.apart(&farther), "{from}: {nearer} before {farther}");
        };
        let [dublin, frankfurt, virginia] = [spot(53.3, -6.2), spot(50.1, 8.7), spot(38.9, -77.4)];
        check(spot(48.86, 2.35), frankfurt, dublin);
        check(spot(51.5, -0.12), dublin, frankfurt);
        check(spot(43.7, -79.4), virginia, dublin);
        // Reykjavik to Dublin is nearer than the difference of degrees says.
        check(spot(64.1, -21.9), dublin, frankfurt);
        // Over the date line: from Samoa, Fiji is nearer than Hawaii.
        check(spot(-13.8, -171.8), spot(-18.1, 178.4), spot(21.3, -157.9));
        // Over the pole: degrees of longitude mean nothing there.
        check(spot(89.0, 0.0), spot(89.0, 180.0), spot(80.0, 0.0));
        // A hundred metres make a difference.
        check(dublin, spot(53.301, -6.2), spot(53.302, -6.2));
    }

    #[test]
    fn distances_are_those_on_the_sphere() {
        let kilometres = |one: Spot, other: Spot| {
            let chord = (one.apart(&other) as f64).sqrt() / f64::from(1 << RADIUS_BITS);
            2.0 * (chord / 2.0).asin() * 6371.0
        };
        assert!((kilometres(spot(53.3, -6.2), spot(38.9, -77.4)) - 5471.2).abs() < 0.1);
        assert!((kilometres(spot(0.0, 0.0), spot(0.0, 180.0)) - 20_015.1).abs() < 0.1);
        assert_eq!(spot(10.0, 180.0).apart(&spot(10.0, -180.0)), 0);
    }

    #[test]
    fn places_beyond_the_earth_are_none() {
        for (latitude, longitude) in [(90_000_001, 0), (-90_000_001, 0), (0, 180_000_001), (0, i32::MIN)] {
            assert_eq!(Spot::new(latitude, longitude), None);
        }
        assert_eq!(spot(-0.5, -6.2).to_string(), "-0.500000,-6.200000");
    }
}
