//! What an answer may repeat of what it was asked.

use std::borrow::Cow;

/// Characters of one text in an answer: a line or two on a screen. The caller has the rest, and no other reader should be sent it:
/// a log that keeps refusals would keep megabytes of a stranger's choice.
pub const MAX_LINE_CHARS: usize = 300;
/// Ends a text that was cut.
const CUT: char = '…';

/// `text` as one line that is shown to people: at most [`MAX_LINE_CHARS`], and spaces instead of control characters.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let end = text.char_indices().nth(MAX_LINE_CHARS).map(|(end, _)| end);
    if end.is_none() && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let kept = if end.is_some() { MAX_LINE_CHARS - 1 } else { MAX_LINE_CHARS };
    Cow::Owned(text.chars().take(kept).map(plain).chain(end.map(|_| CUT)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_unprintable_texts_become_a_line() {
        assert!(matches!(one_line("spec.path: \"/a b\" is no path, é"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\n\u{1b}[31mb\u{7f}"), "a  [31mb ");
        let exact = "é".repeat(MAX_LINE_CHARS);
        assert_eq!(one_line(&exact), exact);
        let cut = one_line(&"é\n".repeat(1 << 20)).into_owned();
        assert_eq!((cut.chars().count(), cut.ends_with(CUT)), (MAX_LINE_CHARS, true));
    }
}
