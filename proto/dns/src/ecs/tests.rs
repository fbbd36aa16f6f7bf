use super::*;

/// An option in octets → its network, source and scope, as text.
#[track_caller]
fn check(option: &[u8], expected: Option<&str>) {
    let found = Ecs::read(option);
    let text = found.map(|(ecs, scope)| {
        let network = ecs.network().map_or("none".to_owned(), |(address, bits)| format!("{address}/{bits}"));
        format!("{network} source {} scope {scope}", ecs.source())
    });
    assert_eq!(text.as_deref(), expected);
    if let Some((ecs, scope)) = found {
        assert_eq!(ecs.write(scope), option, "it is not echoed as it was");
    }
}

#[test]
fn options_of_rfc_7871_section_6() {
    check(&[0, 1, 24, 0, 192, 0, 2], Some("192.0.2.0/24 source 24 scope 0"));
    check(&[0, 1, 24, 16, 192, 0, 2], Some("192.0.2.0/24 source 24 scope 16"));
    check(&[0, 1, 32, 0, 192, 0, 2, 1], Some("192.0.2.1/32 source 32 scope 0"));
    check(&[0, 1, 20, 0, 192, 0, 16], Some("192.0.16.0/20 source 20 scope 0"));
    check(&[0, 2, 56, 0, 0x20, 1, 0x0d, 0xb8, 0, 0, 0], Some("2001:db8::/56 source 56 scope 0"));
    check(&[0, 1, 0, 0], Some("none source 0 scope 0"));
    check(&[0, 2, 0, 0], Some("none source 0 scope 0"));
    check(&[0, 0, 0, 0], Some("none source 0 scope 0"));
}

#[test]
fn options_that_break_it() {
    let long = [&[0, 2, 128, 0][..], &[1; 17]].concat();
    for broken in [
        &[][..],
        &[0, 1, 24],                       // no scope
        &[0, 1, 24, 0, 192, 0],            // too few octets
        &[0, 1, 24, 0, 192, 0, 2, 0],      // too many
        &[0, 1, 20, 0, 192, 0, 0x18],      // bit 21 is set
        &[0, 1, 33, 0, 192, 0, 2, 1, 128], // longer than an address
        &[0, 1, 24, 33, 192, 0, 2],        // a scope that is
        &[0, 2, 129, 0],
        &long,
        &[0, 0, 8, 0, 1], // family 0 has no address
        &[0, 3, 0, 0],    // no such family
    ] {
        check(broken, None);
    }
}

#[test]
fn networks_of_addresses() {
    let of = |address: &str, prefix| Ecs::new(address.parse().unwrap(), prefix).network();
    assert_eq!(of("192.0.2.77", 24), Some(("192.0.2.0".parse().unwrap(), 24)));
    assert_eq!(of("192.0.2.77", 200), Some(("192.0.2.77".parse().unwrap(), 32)));
    assert_eq!(of("2001:db8:0:1ff::1", 56), Some(("2001:db8:0:100::".parse().unwrap(), 56)));
    assert_eq!(of("192.0.2.77", 0), None);
}
