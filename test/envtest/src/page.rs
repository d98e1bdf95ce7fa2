//! Pages of the documentation, for tests that hold them to what they say.

use std::{ops::Range, path::PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use crate::{Error, repository};

/// A page, in Markdown.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its path in the repository, as `docs/security.md`.
    pub path: String,
    text: String,
    /// The anchors of its headings, as GitHub and mdBook make them.
    pub anchors: Vec<String>,
    /// Where its links and images lead, as written, without those that lead elsewhere on the net.
    pub links: Vec<String>,
    /// Its blocks of code, in order.
    pub blocks: Vec<Block>,
}

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands after the fence: `yaml`, `console`.
    pub language: String,
    /// The heading above it.
    pub heading: String,
    /// What it contains.
    pub text: String,
    /// Where that is in the page, in bytes.
    range: Range<usize>,
}

impl Page {
    /// The page of this path in the repository.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(path: &str) -> Result<Self, Error> {
        let text = std::fs::read_to_string(repository().join(path))
            .map_err(|error| Error::Manifest(path.to_owned(), error.to_string()))?;
        let mut page = Self {
            path: path.to_owned(),
            text: String::new(),
            anchors: Vec::new(),
            links: Vec::new(),
            blocks: Vec::new(),
        };
        page.parse(&text);
        page.text = text;
        Ok(page)
    }

    /// All pages of `docs/`, and those of the repository's root.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn all() -> Result<Vec<Self>, Error> {
        let mut paths = Vec::new();
        let mut directories = vec![PathBuf::from("docs")];
        for entry in repository().read_dir()? {
            paths.push(PathBuf::from(entry?.file_name()));
        }
        while let Some(directory) = directories.pop() {
            for entry in repository().join(&directory).read_dir()? {
                let entry = entry?;
                let path = directory.join(entry.file_name());
                if entry.file_type()?.is_dir() { directories.push(path) } else { paths.push(path) }
            }
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        paths.iter().map(|path| Self::read(&path.display().to_string())).collect()
    }

    /// The block of this language below this heading.
    ///
    /// # Errors
    /// If there is none.
    pub fn block(&self, language: &str, heading: &str) -> Result<&Block, Error> {
        let is_it = |block: &&Block| block.language == language && block.heading == heading;
        let missing =
            || Error::Manifest(self.path.clone(), format!("no {language} block below the heading {heading:?}"));
        self.blocks.iter().find(is_it).ok_or_else(missing)
    }

    /// Writes the page anew, with another text in this block of its.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn rewrite(&self, block: &Block, text: &str) -> Result<(), Error> {
        let mut page = self.text.clone();
        page.replace_range(block.range.clone(), text);
        Ok(std::fs::write(repository().join(&self.path), page)?)
    }

    fn parse(&mut self, text: &str) {
        let (mut heading, mut is_heading, mut block) = (String::new(), false, None::<Block>);
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => (heading, is_heading) = (String::new(), true),
                Event::End(TagEnd::Heading(_)) => {
                    is_heading = false;
                    self.anchors.push(self.unused(&anchor(&heading)));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let (language, heading) = (language.to_string(), heading.clone());
                    block = Some(Block { language, heading, text: String::new(), range: range.end..range.end });
                }
                Event::End(TagEnd::CodeBlock) => self.blocks.extend(block.take()),
                Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. } | Tag::Image { dest_url, .. })
                    if !dest_url.contains("://") =>
                {
                    self.links.push(dest_url.to_string());
                }
                Event::Text(part) | Event::Code(part) => {
                    if is_heading {
                        heading.push_str(&part);
                    }
                    if let Some(block) = &mut block {
                        block.range = block.range.start.min(range.start)..range.end;
                        block.text.push_str(&part);
                    }
                }
                _ => {}
            }
        }
    }

    /// The anchor, with a number behind it if another heading of the page has the same words.
    fn unused(&self, anchor: &str) -> String {
        let taken = |candidate: &String| self.anchors.contains(candidate);
        let mut candidates = std::iter::once(anchor.to_owned()).chain((1..).map(|number| format!("{anchor}-{number}")));
        candidates.find(|candidate| !taken(candidate)).unwrap_or_default()
    }
}

/// How GitHub and mdBook name a heading in links.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.map(|char| if char == ' ' { '-' } else { char.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_anchors_links_and_blocks() {
        let text = "# What a `slip` does, and doesn't\n\n[here](other.md#part) [there](https://example.com)\n\n\
                    ![a picture](images/x.svg)\n\n## Twice\n\n```console\n$ true\n\nb\n```\n\n## Twice\n\n```yaml\na: 1\n```\n";
        let mut page =
            Page { path: String::new(), text: text.to_owned(), anchors: vec![], links: vec![], blocks: vec![] };
        page.parse(text);
        assert_eq!(page.anchors, ["what-a-slip-does-and-doesnt", "twice", "twice-1"]);
        assert_eq!(page.links, ["other.md#part", "images/x.svg"]);
        let of = |block: &Block| (block.language.clone(), block.heading.clone(), block.text.clone());
        let expected = [("console", "Twice", "$ true\n\nb\n"), ("yaml", "Twice", "a: 1\n")];
        assert_eq!(
            page.blocks.iter().map(of).collect::<Vec<_>>(),
            expected.map(|(a, b, c)| (a.into(), b.into(), c.into()))
        );
        for block in &page.blocks {
            assert_eq!(&text[block.range.clone()], block.text);
        }
    }
}
