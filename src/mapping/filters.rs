//! Filters that expressions have besides MiniJinja's own: what user names are usually made with.
//!
//! All of them take a missing attribute for empty text, so that `a or b` chains go on.

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

/// Adds the filters to an environment.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("split", split);
    environment.add_filter("before", before);
    environment.add_filter("after", after);
    environment.add_filter("remove_prefix", remove_prefix);
    environment.add_filter("remove_suffix", remove_suffix);
    environment.add_filter("ascii", ascii);
}

/// MiniJinja's `split`, which fails on a missing attribute.
fn split(text: &Value, separator: Option<Arc<str>>, most: Option<i64>) -> Result<Value, Error> {
    if text.is_undefined() || text.is_none() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    minijinja::filters::split(text, separator, most)
}

/// The text before the first `separator`; all of it where there is none.
fn before(text: Cow<'_, str>, separator: Cow<'_, str>) -> String {
    text.split_once(&*separator)
        .map_or(&*text, |(before, _)| before)
        .to_owned()
}

/// The text after the first `separator`; all of it where there is none.
fn after(text: Cow<'_, str>, separator: Cow<'_, str>) -> String {
    text.split_once(&*separator)
        .map_or(&*text, |(_, after)| after)
        .to_owned()
}

fn remove_prefix(text: Cow<'_, str>, prefix: Cow<'_, str>) -> String {
    text.strip_prefix(&*prefix).unwrap_or(&text).to_owned()
}

fn remove_suffix(text: Cow<'_, str>, suffix: Cow<'_, str>) -> String {
    text.strip_suffix(&*suffix).unwrap_or(&text).to_owned()
}

/// Latin letters without their accents: `ascii` writes `ä` as `a`, `ascii("de")` as `ae`.
///
/// A letter of another script is an error rather than left out: names that lose letters become
/// equal to other people's names.
fn ascii(text: Cow<'_, str>, language: Option<Cow<'_, str>>) -> Result<String, Error> {
    let german = match language.as_deref() {
        None => false,
        Some("de") => true,
        Some(other) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("ascii knows the language \"de\" alone, not \"{other}\""),
            ));
        }
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            plain.push(c);
            continue;
        }
        let mut lower = c.to_lowercase();
        let (first, capital) = (
            lower.next().unwrap_or(c),
            !c.is_lowercase() && c.is_alphabetic(),
        );
        let letters = letters(first, german).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOperation,
                format!("\"{c}\" has no ASCII spelling"),
            )
        })?;
        let mut letters = letters.chars();
        match letters.next() {
            Some(l) if capital => plain.push(l.to_ascii_uppercase()),
            Some(l) => plain.push(l),
            None => {}
        }
        plain.extend(letters);
    }
    Ok(plain)
}

/// The spelling of one lower-case letter or mark outside ASCII.
fn letters(c: char, german: bool) -> Option<&'static str> {
    Some(match c {
        'ä' if german => "ae",
        'ö' if german => "oe",
        'ü' if german => "ue",
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' | 'ǎ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ə' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        // `İ` becomes `i` and a combining dot when it is made small; the dot is lost with it.
        'i' | 'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù' | 'ú' | 'û' | 'ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        '’' | '‘' | 'ʼ' => "'",
        '‐' | '‑' | '–' | '—' => "-",
        '\u{a0}' => " ",
        // Combining accents, as in a decomposed "e\u{301}".
        '\u{300}'..='\u{36f}' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_are_taken_off() {
        assert_eq!(ascii("Łukasz Żółć".into(), None).unwrap(), "Lukasz Zolc");
        assert_eq!(ascii("Jürgen Groß".into(), None).unwrap(), "Jurgen Gross");
        assert_eq!(
            ascii("Ärne Müller".into(), Some("de".into())).unwrap(),
            "Aerne Mueller"
        );
        assert_eq!(
            ascii("İpek Ðe\u{301} O’Neil".into(), None).unwrap(),
            "Ipek De O'Neil"
        );
        assert_eq!(ascii("plain.name-1".into(), None).unwrap(), "plain.name-1");
    }

    #[test]
    fn other_scripts_are_an_error_and_never_left_out() {
        let error = ascii("Иvan".into(), None).unwrap_err();
        assert!(
            error.to_string().contains("\"И\" has no ASCII spelling"),
            "{error}"
        );
        assert!(ascii("a".into(), Some("fr".into())).is_err());
    }

    #[test]
    fn what_comes_before_and_after() {
        assert_eq!(before("ada@example.com".into(), "@".into()), "ada");
        assert_eq!(before("ada".into(), "@".into()), "ada");
        assert_eq!(after("CORP\\ada".into(), "\\".into()), "ada");
        assert_eq!(after("ada".into(), "\\".into()), "ada");
        assert_eq!(remove_prefix("idcs-ada".into(), "idcs-".into()), "ada");
        assert_eq!(remove_suffix("ada.ext".into(), ".ext".into()), "ada");
    }
}
