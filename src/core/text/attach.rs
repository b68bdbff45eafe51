//! Which files go with which message. Owns the sizes and numbers that a platform sets; never looks into a file.

use super::{Piece, is_blank, measure};
use crate::core::chat::{File, FileRules, MessengerRules};

const NOT_SENT: &str = "(A file that belongs here could not be sent to this chat.)";

/// The files that the platform takes, and a sentence about those that it does not.
pub(super) fn sort_out(files: &[File], rules: &FileRules) -> (Vec<File>, Option<String>) {
    let largest = |file: &File| if file.kind.is_picture() { rules.picture_bytes } else { rules.file_bytes };
    let fits = |file: &&File| (1..=largest(file).min(rules.all_bytes)).contains(&file.content.len());
    let (taken, left): (Vec<&File>, Vec<&File>) = files.iter().partition(fits);
    let names: Vec<&str> = left.iter().map(|file| file.name()).collect();
    let told = format!("(Not attached, because it is empty or too large for this chat: {})", names.join(", "));
    (taken.into_iter().cloned().collect(), (!left.is_empty()).then_some(told))
}

/// Puts `files` under the last piece, as many as one message takes, and the others into messages of their own
/// behind it; all of them if its text is too long to stand beside a file.
pub(super) fn attach(pieces: &mut Vec<Piece>, files: Vec<File>, rules: &MessengerRules) {
    for (at, group) in groups(files, &rules.files).into_iter().enumerate() {
        match pieces.last_mut().filter(|last| at == 0 && measure(&last.plain, rules.unit) <= rules.files.caption) {
            Some(last) => last.files = group,
            None => pieces.push(Piece { files: group, ..Piece::default() }),
        }
    }
}

/// The piece as a text alone, for a chat that takes no files; it says so.
pub fn without_files(piece: &Piece) -> Piece {
    let told = |text: &str| match is_blank(text) {
        true => NOT_SENT.to_owned(),
        false => format!("{text}\n\n{NOT_SENT}"),
    };
    Piece { markup: told(&piece.markup), plain: told(&piece.plain), files: Vec::new(), ..piece.clone() }
}

fn groups(files: Vec<File>, rules: &FileRules) -> Vec<Vec<File>> {
    let mut groups: Vec<Vec<File>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let size = file.content.len();
        match groups.last_mut().filter(|group| group.len() < rules.most && bytes + size <= rules.all_bytes) {
            Some(group) => group.push(file),
            None => {
                bytes = 0;
                groups.push(vec![file]);
            }
        }
        bytes += size;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chat::Markup;
    use crate::core::chat::{Body, Button};
    use crate::core::text::render;
    use crate::core::text::tests::rules;

    fn names(pieces: &[Piece]) -> Vec<Vec<&str>> {
        pieces.iter().map(|piece| piece.files.iter().map(File::name).collect()).collect()
    }

    fn png(name: &str, bytes: usize) -> File {
        File::png(name, vec![7; bytes])
    }

    fn body(text: &str, files: &[File]) -> Body {
        let buttons = vec![Button { label: "CSV".into(), command: "/usage csv".into() }];
        Body { buttons, private: true, files: files.to_vec(), ..Body::text(text) }
    }

    #[test]
    fn files_stand_under_the_text_where_it_fits_and_behind_it_where_not() {
        let mut one_each = rules(Markup::Html, 4096);
        one_each.files.most = 1;
        let files = [png("a.png", 5), File::csv("b.csv", "x"), png("c.png", 5)];
        let pieces = render(&body("Cost", &files), &one_each);
        assert_eq!(names(&pieces), [["a.png"], ["b.csv"], ["c.png"]]);
        assert_eq!((pieces[0].plain.as_str(), pieces[1].plain.as_str()), ("Cost", ""));
        let with_buttons: Vec<bool> = pieces.iter().map(|piece| !piece.buttons.is_empty()).collect();
        assert_eq!(with_buttons, [false, false, true]);
        assert!(pieces.iter().all(|piece| piece.private));

        let long = render(&body(&"word ".repeat(250), &files[..1]), &one_each);
        assert_eq!(names(&long), [vec![], vec!["a.png"]]);

        let many: Vec<File> = (0..12).map(|n| png(&format!("{n}.png"), 5)).collect();
        let mut ten = rules(Markup::Discord, 2000);
        ten.files = FileRules { most: 10, all_bytes: 45, ..ten.files };
        let sizes = |pieces: Vec<Piece>| pieces.iter().map(|piece| piece.files.len()).collect::<Vec<_>>();
        assert_eq!(sizes(render(&body("x", &many), &ten)), [9, 3]);
        ten.files.all_bytes = 1000;
        assert_eq!(sizes(render(&body("x", &many), &ten)), [10, 2]);
    }

    #[test]
    fn an_empty_text_is_no_message_when_there_is_a_file() {
        let rules = rules(Markup::Discord, 2000);
        let pieces = render(&body(" ", &[png("a.png", 1)]), &rules);
        assert_eq!((names(&pieces), pieces[0].markup.as_str()), (vec![vec!["a.png"]], ""));
    }

    #[test]
    fn what_the_platform_would_refuse_is_named_instead() {
        let mut rules = rules(Markup::Discord, 2000);
        (rules.files.picture_bytes, rules.files.file_bytes) = (10, 20);
        let files = [png("big.png", 11), File::csv("big.csv", vec![1; 20]), File::text("none.txt", "")];
        let pieces = render(&body("Cost", &files), &rules);
        assert_eq!(names(&pieces), [["big.csv"]]);
        assert!(pieces[0].plain.ends_with("too large for this chat: big.png, none.txt)"), "{}", pieces[0].plain);
        let alone = without_files(&pieces[0]);
        assert!(alone.files.is_empty() && alone.markup.starts_with("Cost") && alone.markup.ends_with(NOT_SENT));
        assert_eq!(without_files(&Piece { files: files.to_vec(), ..Piece::default() }).plain, NOT_SENT);
    }

    #[test]
    fn a_far_too_long_text_keeps_its_files() {
        let pieces = render(&body(&"A sentence. ".repeat(4000), &[png("a.png", 1)]), &rules(Markup::Discord, 2000));
        assert_eq!(names(&pieces), [[crate::core::text::FILE_NAME, "a.png"]]);
    }
}
