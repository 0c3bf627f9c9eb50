//! As much of XML as Crowd's interface speaks: elements, attributes, text, the five entities and
//! character references. No document types, so no entities of one's own and nothing to blow up.

use std::fmt::Write as _;

/// How deep elements may be nested.
const DEEPEST: usize = 40;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    /// All text directly in it.
    pub(crate) text: String,
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Element, String> {
    let mut reader = Reader { rest: text };
    reader.skip_misc()?;
    let root = reader.element(0)?;
    reader.skip_misc()?;
    if reader.rest.is_empty() {
        Ok(root)
    } else {
        Err("text after the last element".into())
    }
}

/// Text as it stands between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_misc(&mut self) -> Result<(), String> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("<?") {
                self.after("?>")?;
            } else if self.rest.starts_with("<!--") {
                self.after("-->")?;
            } else {
                return Ok(());
            }
        }
    }

    /// What stands before `end`, which is passed over.
    fn after(&mut self, end: &str) -> Result<&'a str, String> {
        let (before, rest) = self
            .rest
            .split_once(end)
            .ok_or_else(|| format!("{end} is missing"))?;
        self.rest = rest;
        Ok(before)
    }

    fn element(&mut self, depth: usize) -> Result<Element, String> {
        if depth > DEEPEST {
            return Err("nested too deeply".into());
        }
        let Some(rest) = self.rest.strip_prefix('<') else {
            return Err("an element is expected".into());
        };
        self.rest = rest;
        let mut element = Element {
            name: self.name()?,
            ..Element::default()
        };
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Ok(element);
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                break;
            }
            let name = self.name()?;
            self.rest = self.rest.trim_start();
            self.rest = self
                .rest
                .strip_prefix('=')
                .ok_or("= is expected")?
                .trim_start();
            let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let quote = quote.ok_or("a quoted value is expected")?.to_string();
            self.rest = self.rest.get(1..).unwrap_or_default();
            let value = unescape(self.after(&quote)?)?;
            element.attributes.push((name, value));
        }
        self.content(&mut element, depth)?;
        Ok(element)
    }

    fn content(&mut self, element: &mut Element, depth: usize) -> Result<(), String> {
        loop {
            let at = self
                .rest
                .find('<')
                .ok_or_else(|| format!("</{}> is missing", element.name))?;
            let (text, rest) = self.rest.split_at(at);
            element.text.push_str(&unescape(text)?);
            self.rest = rest;
            if rest.starts_with("<!--") {
                self.after("-->")?;
            } else if let Some(rest) = rest.strip_prefix("<![CDATA[") {
                self.rest = rest;
                let text = self.after("]]>")?;
                element.text.push_str(text);
            } else if let Some(rest) = rest.strip_prefix("</") {
                self.rest = rest;
                let name = self.name()?;
                if name != element.name || !self.after(">")?.trim().is_empty() {
                    return Err(format!("</{}> is expected", element.name));
                }
                return Ok(());
            } else {
                let child = self.element(depth + 1)?;
                element.children.push(child);
            }
        }
    }

    /// A name, without its prefix.
    fn name(&mut self) -> Result<String, String> {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let local = name.rsplit(':').next().unwrap_or(name);
        if local.is_empty() {
            return Err("a name is expected".into());
        }
        Ok(local.to_owned())
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or("a lone &")?;
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
        let c = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match entity.strip_prefix('#') {
                Some(hex) if hex.starts_with(['x', 'X']) => hex
                    .get(1..)
                    .and_then(|hex| number(hex, 16))
                    .and_then(char::from_u32),
                Some(decimal) => number(decimal, 10).and_then(char::from_u32),
                None => None,
            },
        };
        out.push(c.ok_or_else(|| format!("the entity {entity} is not known"))?);
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_write() {
        let root = parse(
            "<?xml version=\"1.0\"?><!-- c --><a:user name=\"x &amp; 'y'\" >\n <email>a&#64;b&#x2e;c</email>\
             <empty/><![CDATA[<&>]]></a:user>\n",
        )
        .unwrap();
        assert_eq!(root.name, "user");
        assert_eq!(root.attributes, [("name".to_owned(), "x & 'y'".to_owned())]);
        assert_eq!(
            (
                root.children[0].name.as_str(),
                root.children[0].text.as_str()
            ),
            ("email", "a@b.c")
        );
        assert_eq!(
            root.children[1..],
            [Element {
                name: "empty".into(),
                ..Element::default()
            }]
        );
        assert_eq!(root.text.trim(), "<&>");
    }

    #[test]
    fn refuses_what_is_no_document() {
        let deep = "<a>".repeat(100);
        for text in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a b=c/>",
            "<a>&x;</a>",
            "<a/><b/>",
            "<!DOCTYPE a><a/>",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        for text in ["<&>\"'", "a\nb\tc", "日本語 &amp;"] {
            let root = parse(&format!("<a b=\"{0}\">{0}</a>", escape(text))).unwrap();
            assert_eq!(
                (root.text.as_str(), root.attributes[0].1.as_str()),
                (text, text)
            );
        }
    }
}
