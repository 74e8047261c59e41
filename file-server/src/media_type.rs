//! What a file is, by the end of its name.

use std::path::Path;

/// The value of Content-Type for a file of this name.
///
/// Text is said to be in UTF-8, which nearly all of it is; a page that is not says so itself.
///
/// ```
/// use file_server::media_type::of_name;
///
/// assert_eq!(of_name("page.HTML".as_ref()), "text/html; charset=utf-8");
/// assert_eq!(of_name("photo.jpg".as_ref()), "image/jpeg");
/// assert_eq!(of_name("unknown".as_ref()), "application/octet-stream");
/// ```
#[must_use]
pub fn of_name(name: &Path) -> String {
    let plain = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    let is_text = plain.starts_with("text/") || TEXT.contains(&plain);
    if is_text { format!("{plain}; charset=utf-8") } else { plain.to_owned() }
}

/// What is text by another name.
const TEXT: [&str; 5] =
    ["application/javascript", "application/json", "application/manifest+json", "application/xml", "image/svg+xml"];
