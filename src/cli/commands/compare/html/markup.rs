//! Writes HTML: lines, escaped text and names.

use std::fmt::Write as _;

use ext4_canon::compare::FilesystemComparison;

/// Adds the name of the filesystem to a text, if the image can contain several filesystems.
pub fn named(filesystem: &FilesystemComparison, what: &str) -> String {
    filesystem.name.as_ref().map_or_else(|| what.to_owned(), |name| format!("{name}: {what}"))
}

/// Text that is escaped for HTML content and attribute values.
pub struct Escaped<'t>(pub &'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Appends a line to the page. Writing to a string can't fail.
pub fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
    page.push('\n');
}

/// Converts a name to a CSS class or an identifier.
pub fn slug(name: &str) -> String {
    name.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_markup() {
        assert_eq!(
            Escaped("<script>alert('1&2')</script>\"").to_string(),
            "&lt;script&gt;alert(&#39;1&amp;2&#39;)&lt;/script&gt;&quot;"
        );
    }
}
