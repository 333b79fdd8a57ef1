//! A stranger's words, made safe to show.

/// `text` without anything that could act on a terminal or a log, at most `limit` characters long.
///
/// Control characters, direction marks and everything else unprintable become Rust escapes (`\u{1b}`). What is cut
/// off is replaced by an ellipsis.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for character in text.trim().chars() {
        let piece: String = match character {
            '"' | '\'' | '\\' => character.into(),
            _ => character.escape_debug().collect(),
        };
        length += piece.chars().count();
        if length > limit {
            // Room for the ellipsis: give back what exceeds the limit less one.
            let end = shown.char_indices().nth(limit.saturating_sub(1)).map_or(shown.len(), |(at, _)| at);
            shown.truncate(end);
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminal_controls_become_visible() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b\n\"c\"", 256), "a\\u{1b}[31m\\u{202e}b\\n\"c\"");
    }

    #[test]
    fn long_text_is_cut_to_the_limit() {
        for text in ["x".repeat(1 << 20), "\u{7}".repeat(400), "é".repeat(300)] {
            let shown = printable(&text, 256);
            assert!(shown.chars().count() <= 256, "{}", shown.chars().count());
            assert!(shown.ends_with('…'));
        }
        assert_eq!(printable(&"x".repeat(256), 256), "x".repeat(256));
    }
}
