//! What differs between two versions of a file, line by line.

/// How many equal lines are shown around a difference.
const CONTEXT: usize = 3;

/// A line of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The differences as `diff -u` shows them, without its headers; empty if there are none.
pub fn diff(old: &str, new: &str) -> String {
    let lines = compared(
        &old.lines().collect::<Vec<_>>(),
        &new.lines().collect::<Vec<_>>(),
    );
    let differs = |at: usize| !matches!(lines.get(at), Some(Line::Same(_)) | None);
    let near = |at: usize| (at.saturating_sub(CONTEXT)..=at + CONTEXT).any(differs);
    let mut text = String::new();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        if !near(at) {
            skipped = true;
            continue;
        }
        if skipped {
            text.push_str("...\n");
            skipped = false;
        }
        let (mark, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Old(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text.push(mark);
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// By the longest common subsequence. Quadratic, but only between the ends that differ.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let a = &old_rest[..old_rest.len() - tail];
    let b = &new_rest[..new_rest.len() - tail];
    // longest[i][j]: how many lines a[i..] and b[j..] have in common.
    let mut longest = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let mut lines: Vec<Line<'a>> = old[..head].iter().copied().map(Line::Same).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[i + 1][j] >= longest[i][j + 1] {
            lines.push(Line::Old(a[i]));
            i += 1;
        } else {
            lines.push(Line::New(b[j]));
            j += 1;
        }
    }
    lines.extend(
        old_rest[old_rest.len() - tail..]
            .iter()
            .copied()
            .map(Line::Same),
    );
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn differences_stand_among_a_few_equal_lines() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh";
        let new = "a\nb\nc\nd\ne\nF\ng\nh\ni";
        assert_eq!(diff(old, new), "...\n c\n d\n e\n-f\n+F\n g\n h\n+i\n");
        assert_eq!(diff(old, old), "");
    }

    proptest! {
        #[test]
        fn both_sides_can_be_read_from_a_comparison(
            old in prop::collection::vec("[ab]?", 0..12),
            new in prop::collection::vec("[ab]?", 0..12),
        ) {
            let old: Vec<&str> = old.iter().map(String::as_str).collect();
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let lines = compared(&old, &new);
            let side = |wanted: fn(&Line<'_>) -> bool| -> Vec<&str> {
                let lines = lines.iter().filter(|line| wanted(line));
                lines.map(|line| match line { Line::Same(l) | Line::Old(l) | Line::New(l) => *l }).collect()
            };
            prop_assert_eq!(side(|line| !matches!(line, Line::New(_))), old);
            prop_assert_eq!(side(|line| !matches!(line, Line::Old(_))), new);
        }
    }
}
