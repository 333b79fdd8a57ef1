//! Bytes into lines, with a cap.

use std::borrow::Cow;

use crate::ProtocolError;

/// Splits a byte stream at line feeds. Holds at most `cap` bytes, however long a line gets.
#[derive(Debug)]
pub(crate) struct Lines {
    cap: usize,
    held: Vec<u8>,
    /// Bytes of a line that exceeded the cap and is being skipped.
    skipped: usize,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line within the cap.
    Whole(Cow<'a, [u8]>),
    /// A line that was longer than the cap, and is gone.
    TooLong,
}

impl Lines {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, held: Vec::new(), skipped: 0 }
    }

    /// The next line that ends in `input`, which loses what was read.
    ///
    /// Fails on a line of more than twice the cap: whoever sends that is not worth waiting for.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Line<'a>>, ProtocolError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let (chunk, rest) = match end {
            Some(end) => (&input[..end], &input[end + 1..]),
            None => (*input, &[][..]),
        };
        *input = rest;
        if self.skipped > 0 || self.held.len() + chunk.len() > self.cap {
            self.skipped += self.held.len() + chunk.len();
            self.held = Vec::new();
            if self.skipped > 2 * self.cap {
                return Err(ProtocolError::LineTooLong { limit: self.cap });
            }
            if end.is_some() {
                self.skipped = 0;
            }
            return Ok(end.map(|_| Line::TooLong));
        }
        if end.is_none() {
            self.held.extend_from_slice(chunk);
            return Ok(None);
        }
        if self.held.is_empty() {
            return Ok(Some(Line::Whole(Cow::Borrowed(chunk))));
        }
        self.held.extend_from_slice(chunk);
        Ok(Some(Line::Whole(Cow::Owned(std::mem::take(&mut self.held)))))
    }

    /// Whether a line has begun and not ended.
    pub(crate) fn is_partial(&self) -> bool {
        !self.held.is_empty() || self.skipped > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(cap: usize, chunks: &[&[u8]]) -> Result<Vec<Option<String>>, ProtocolError> {
        let (mut lines, mut found) = (Lines::new(cap), Vec::new());
        for chunk in chunks {
            let mut input = *chunk;
            while !input.is_empty() {
                match lines.next(&mut input)? {
                    Some(Line::Whole(line)) => found.push(Some(String::from_utf8_lossy(&line).into_owned())),
                    Some(Line::TooLong) => found.push(None),
                    None => {}
                }
                assert!(lines.held.len() <= cap);
            }
        }
        Ok(found)
    }

    #[test]
    fn lines_survive_any_cut() {
        let whole = b"one\n\ntwo and a half\r\nthree\n";
        let expected: Vec<_> =
            ["one", "", "two and a half\r", "three"].map(|s| Some(s.to_owned())).into_iter().collect();
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let chunks = [&whole[..first], &whole[first..second], &whole[second..]];
                assert_eq!(split(64, &chunks).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_long_line_is_skipped_and_the_next_one_read() {
        let long = [&[b'x'; 15][..], b"\nok\n"].concat();
        assert_eq!(split(10, &[&long]).unwrap(), [None, Some("ok".into())]);
        let bytes: Vec<&[u8]> = long.chunks(1).collect();
        assert_eq!(split(10, &bytes).unwrap(), [None, Some("ok".into())]);
    }

    #[test]
    fn an_endless_line_ends_the_connection() {
        let endless: &[u8] = &[b'x'; 7];
        assert_eq!(split(10, &[endless; 3]), Err(ProtocolError::LineTooLong { limit: 10 }));
        assert_eq!(split(10, &[&[b'x'; 21]]), Err(ProtocolError::LineTooLong { limit: 10 }));
    }
}
