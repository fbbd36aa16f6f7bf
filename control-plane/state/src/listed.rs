//! Lists in words.

/// `a, b, c and 4 more`: the first `most` items, and how many more there are.
pub(crate) fn listed<T: ToString>(items: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    let more = items.len().saturating_sub(most);
    let named: Vec<String> = items.take(most).map(|item| item.to_string()).collect();
    let named = named.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn the_first_are_named_and_the_others_counted() {
        let told = [0, 1, 2, 3, 5].map(|length| listed(0..length, 2));
        assert_eq!(told, ["", "0", "0, 1", "0, 1 and 1 more", "0, 1 and 3 more"]);
    }
}
