use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

/// The definition in the module's head, written a second time without the tree.
fn from_scratch(content: &BTreeMap<Arc<str>, Vec<u8>>) -> ContentRoot {
    let mut encoded = vec![Vec::new(); 4096];
    for (key, value) in content {
        let digest = Sha256::digest(key.as_bytes());
        let pairs = &mut encoded[usize::from(digest[0]) << 4 | usize::from(digest[1]) >> 4];
        pairs.extend((key.len() as u32).to_be_bytes());
        pairs.extend(key.as_bytes());
        pairs.extend(Sha256::digest(value));
    }
    let mut root = Sha256::new_with_prefix(b"hanse root 1: root\0");
    for group in encoded.chunks(64) {
        let mut buckets = Vec::new();
        for pairs in group {
            let full = [b"hanse root 1: bucket\0".as_slice(), pairs].concat();
            buckets.extend(if pairs.is_empty() { [0; 32] } else { Sha256::digest(full).into() });
        }
        let full = [b"hanse root 1: group\0".as_slice(), &buckets].concat();
        let empty = buckets.iter().all(|byte| *byte == 0);
        root.update(if empty { [0; 32] } else { <[u8; 32]>::from(Sha256::digest(full)) });
    }
    ContentRoot(root.finalize().into())
}

fn apply(tree: &mut ContentTree, changes: &[(Arc<str>, Option<Vec<u8>>)]) {
    let staged = tree.stage(changes.iter().map(|(key, value)| (key, value.as_deref().map(hash_value))));
    tree.commit(staged);
}

#[test]
fn roots_are_what_they_were() {
    let content = |pairs: &[(&str, &str)]| {
        let mut tree = ContentTree::new();
        let changes: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
        apply(&mut tree, &changes);
        tree.root().to_string()
    };
    // The wire's constants: a change here makes every subscriber fetch a snapshot.
    assert_eq!(content(&[]), "a9152431d1d42464a89393086f699dd21640d1c4abb4779f2b60858ffa32f0ba");
    assert_eq!(
        content(&[("route/default/orders", "v1")]),
        "d6f4de9870c3f0aefac21ac3715ca66e8280319ce19c0d97d289ec44876db751"
    );
    assert_eq!(
        content(&[("a", "bc"), ("ab", "c")]),
        "6977be4ae7ac6eb8fde85656c7648fd59e2c3dbcb193b8bf2a474f76de991f37"
    );
}

#[test]
fn keys_and_values_cannot_trade_bytes() {
    let mut roots = std::collections::BTreeSet::new();
    let contents: [&[(&str, &str)]; 5] =
        [&[], &[("a", "")], &[("", "a")], &[("a", "b")], &[("a", ""), ("b", "")]];
    for pairs in contents {
        let mut tree = ContentTree::new();
        let changes: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
        apply(&mut tree, &changes);
        assert!(roots.insert(tree.root().0), "{pairs:?}");
    }
}

#[test]
fn staging_changes_nothing() {
    let mut tree = ContentTree::new();
    apply(&mut tree, &[("a".into(), Some(b"1".to_vec()))]);
    let before = tree.root();
    let staged = tree.stage([(&"a".into(), None)].into_iter());
    assert_eq!(tree.root(), before);
    assert_eq!(staged.root(), ContentRoot::of_nothing());
    tree.commit(staged);
    assert_eq!(tree.root(), ContentRoot::of_nothing());
    assert!(tree.buckets.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn incremental_equals_from_scratch(
        steps in prop::collection::vec(
            prop::collection::vec((0..40u8, prop::option::of(prop::collection::vec(any::<u8>(), 0..4))), 0..6),
            1..8,
        ),
    ) {
        let mut tree = ContentTree::new();
        let mut model = BTreeMap::<Arc<str>, Vec<u8>>::new();
        for step in steps {
            let changes: Vec<_> =
                step.into_iter().map(|(key, value)| (Arc::from(format!("key/{key}")), value)).collect();
            for (key, value) in &changes {
                match value {
                    Some(value) => model.insert(Arc::clone(key), value.clone()),
                    None => model.remove(key),
                };
            }
            apply(&mut tree, &changes);
            for (key, value) in &model {
                prop_assert_eq!(tree.value_hash(key), Some(&hash_value(value)));
            }
        }
        prop_assert_eq!(tree.root(), from_scratch(&model));
    }
}
