//! A file name from the peer, made safe: it names a file in one directory, on any system, and can't fool a reader.

use std::path::Path;

/// Longest name in bytes. File systems allow 255; a number may be added.
const MAX_NAME: usize = 200;

/// The name that the peer's name becomes. Never empty, never hidden, never a path.
pub(crate) fn sanitise(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean: String = base
        .chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .map(|c| if r#"<>:"|?*"#.contains(c) { '_' } else { c })
        .collect();
    // A leading dot hides a file, a leading dash makes it an option; some systems drop dots and spaces at the end.
    clean = clean.trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']).to_owned();
    if is_device(&clean) {
        clean.insert(0, '_');
    }
    if clean.is_empty() {
        clean.push_str("file");
    }
    shorten(clean)
}

/// The name with a number before its extension; 0 leaves it as it is.
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

fn shorten(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let (stem, extension) = split(&name);
    let extension = if extension.len() <= 20 { extension } else { "" };
    let mut end = (MAX_NAME - extension.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &stem[..end])
}

/// Stem and extension, which has its dot.
fn split(name: &str) -> (&str, &str) {
    match Path::new(name).extension() {
        Some(extension) => name.split_at(name.len() - extension.len() - 1),
        None => (name, ""),
    }
}

/// Marks that turn or hide what stands around them: `invoice\u{202e}fdp.exe` reads as `invoiceexe.pdf`.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Names that Windows takes for devices, whatever the extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(|n| matches!(n.as_bytes(), [b'0'..=b'9']));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_kept_where_they_are_harmless() {
        for name in ["a", "photo.jpg", "to send.bin", "Grüße.txt", "snow ☃.tar.gz", "a-b_c (1).md"] {
            assert_eq!(sanitise(name), name);
        }
    }

    #[test]
    fn paths_and_tricks_are_taken_out() {
        for (name, safe) in [
            ("/etc/passwd", "passwd"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("C:\\autoexec.bat", "autoexec.bat"),
            ("C:evil", "C_evil"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("dir/", "file"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\0b\nc\x1b[31m.txt", "abc[31m.txt"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("nul.txt", "_nul.txt"),
            ("COM7", "_COM7"),
            ("trailing. . ", "trailing"),
        ] {
            assert_eq!(sanitise(name), safe, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let safe = sanitise(&format!("{}.tar", "ö".repeat(500)));
        assert!(safe.len() <= MAX_NAME && safe.ends_with("ö.tar"), "{safe}");
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        assert_eq!(numbered("a.txt", 0), "a.txt");
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("a", 3), "a (3)");
    }

    proptest! {
        #[test]
        fn whatever_the_name_it_stays_in_its_directory(name in any::<String>(), number in 0u32..100) {
            let safe = numbered(&sanitise(&name), number);
            let components: Vec<_> = Path::new(&safe).components().collect();
            prop_assert!(matches!(components.as_slice(), [Component::Normal(_)]), "{:?} became {:?}", name, safe);
            prop_assert!(safe.len() <= 255 && !safe.starts_with('.') && !safe.contains(['/', '\\', '\0']));
        }
    }
}
