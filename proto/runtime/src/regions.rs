//! Lists of regions, and the weights of regions.
//!
//! An empty list of regions is refused wherever regions are chosen: nothing missing may come to mean "every region", or "none".

use hanse_topology::{MAX_REGIONS, Name};

use crate::{Unusable, field};

/// The greatest weight of a region: the sum of [`MAX_REGIONS`] of them stays inside 32 bits.
pub const MAX_REGION_WEIGHT: u32 = 1_000_000;

/// The regions in a field: at least one, and each once.
pub(crate) fn regions(field: &str, texts: &[String]) -> Result<Vec<Name>, Unusable> {
    if texts.is_empty() {
        return Err(Unusable::new(field, "names no region: name at least one"));
    }
    field::within("regions", field, texts.len(), MAX_REGIONS)?;
    or_none(field, texts)
}

/// The regions in a field that may have none, because it permits something: each once. Their number is
/// not judged: what an Environment has depends on them, and one region too many must not void all of it.
pub(crate) fn or_none(field: &str, texts: &[String]) -> Result<Vec<Name>, Unusable> {
    let one = |(at, text): (usize, &String)| field::name(&format!("{field}[{at}]"), text);
    let names = texts.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    field::distinct(field, &names)?;
    Ok(names)
}

/// The weight in a field.
pub(crate) fn weight(field: &str, weight: u32) -> Result<u32, Unusable> {
    if weight <= MAX_REGION_WEIGHT {
        return Ok(weight);
    }
    Err(Unusable::new(field, format!("{weight} is more than {MAX_REGION_WEIGHT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_list_of_regions_names_at_least_one_and_each_once() {
        let check = |names: &[String], field: &str| {
            assert_eq!(regions("from", names).unwrap_err().field, field, "{names:?}");
        };
        check(&[], "from");
        check(&texts(&["eu-west", ""]), "from[1]");
        check(&texts(&["EU"]), "from[0]");
        check(&texts(&["eu", "us", "eu"]), "from[2]");
        let many: Vec<String> = (0..=MAX_REGIONS).map(|at| format!("r{at}")).collect();
        check(&many, "from");
        assert_eq!(regions("from", &many[1..]).unwrap().len(), MAX_REGIONS);
        assert_eq!(or_none("from", &many).unwrap().len(), MAX_REGIONS + 1, "a list of permissions");
    }

    #[test]
    fn a_weight_is_up_to_a_million() {
        for (given, is_good) in [(0, true), (1_000_000, true), (1_000_001, false)] {
            assert_eq!(weight("weight", given).is_ok(), is_good, "{given}");
        }
    }
}
