//! What nodes keep on their disks.

use hanse_proto::{store::*, sync::HeadSignature};

use crate::{
    recorded,
    sync::{place, position},
};

#[test]
fn what_is_kept() {
    recorded(
        "store-sealed-record",
        &SealedRecord { revision: 41, removed: true, nonce: vec![6; 12].into(), sealed: vec![7; 16].into() },
    );
    recorded(
        "store-scope-head",
        &ScopeHead {
            position: position(41),
            root: vec![5; 32].into(),
            floor: 12,
            gaps: vec![Gap { after: 20, before: 30 }],
            acknowledged: 40,
            signature: None,
        },
    );
    recorded(
        "store-scope-head-signed",
        &ScopeHead {
            position: position(41),
            root: vec![5; 32].into(),
            signature: Some(HeadSignature { spki: vec![0x30, 3].into(), signature: vec![0x30, 4].into() }),
            ..ScopeHead::default()
        },
    );
    recorded(
        "store-offer",
        &Offer { scopes: vec!["runtime/eu-west/production".into()], as_of: position(41) },
    );
    recorded("store-complete", &Complete { environments: vec!["production".into()] });
    recorded("store-places", &KeptPlaces { written_ms: 1_767_225_600_000, rows: vec![place()] });
    recorded("store-unclean-ends", &UncleanEnds { count: 3 });
}
