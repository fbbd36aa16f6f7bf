use super::{
    writer::{DUBLIN, Degrees, FRANKFURT, MADRID, VIRGINIA, sample, with_record},
    *,
};

fn spot((latitude, longitude): Degrees) -> Spot {
    Spot::new((latitude * 1e6).round() as i32, (longitude * 1e6).round() as i32).unwrap()
}

#[test]
fn a_network_is_where_the_most_special_entry_says() {
    let database = GeoDatabase::new(sample()).unwrap();
    let check = |network: &str, at: Option<Degrees>| {
        assert_eq!(database.spot(network.parse().unwrap()), at.map(spot), "{network}");
    };
    check("198.51.100.7/32", Some(FRANKFURT));
    check("198.51.100.200/32", Some(DUBLIN));
    // The first address of a network that is in two places decides.
    check("198.51.100.0/24", Some(FRANKFURT));
    check("203.0.113.0/24", Some(VIRGINIA));
    check("2001:db8:5:6::/64", Some(MADRID));
    check("2001:db8:6::1/128", None);
    check("10.0.0.1/32", None);
    // It is in the database, without coordinates.
    check("192.0.2.1/32", None);
}

/// The file in `testdata` is for whoever cannot call the writer: tests of other crates, and people who try a responder.
#[test]
fn the_sample_file_is_what_the_writer_writes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/places.mmdb");
    if std::env::var_os("HANSE_WRITE_TESTDATA").is_some() {
        std::fs::write(path, sample()).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == sample(), "write it anew with HANSE_WRITE_TESTDATA=1");
}

#[test]
fn a_database_says_what_it_is() {
    let about = GeoDatabase::new(sample()).unwrap().about;
    assert_eq!((&*about.database_type, about.built), ("Hanse-Test-City", 1_790_000_000));
    assert_eq!(about.sha256, hex::encode(Sha256::digest(sample())));
}

#[test]
fn coordinates_beyond_the_earth_are_none() {
    let refused =
        |at| GeoDatabase::new(with_record("198.51.100.0/24", at)).err().map(|error| error.to_string());
    assert_eq!(refused(Some((90.0, -180.0))), None);
    for at in [None, Some((91.0, 0.0)), Some((0.0, f64::NAN)), Some((f64::INFINITY, 0.0))] {
        let error = refused(at).unwrap();
        assert!(error.contains("no network in it has coordinates (Hanse-Test-City)"), "{error}");
    }
}

#[test]
fn another_file_is_refused_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from.mmdb", "geo.mmdb"].map(|name| dir.path().join(name));
    let refused = |text: &str| {
        let error = import(&from, &to).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refused("from.mmdb: No such file");
    std::fs::write(&from, sample()).unwrap();
    let about = import(&from, &to).unwrap();
    assert_eq!(look(&to).unwrap().about, about);

    let whole = sample();
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&from, &whole[..length]).unwrap();
        refused("no MaxMind DB file, or damaged");
    }
    assert_eq!(look(&to).unwrap().about, about, "the one before is still there");
}
