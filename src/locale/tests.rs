//! Every message is used, and is short enough for the platforms.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use i18n_embed::LanguageLoader;

use super::*;

/// The ids in a file of sentences, with their texts.
fn messages(text: &str) -> Vec<(String, String)> {
    let mut messages: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" =") {
            Some((id, rest)) if !line.starts_with([' ', '}']) => messages.push((id.to_owned(), rest.trim().to_owned())),
            _ => {
                if let Some((_, text)) = messages.last_mut() {
                    text.push('\n');
                    text.push_str(line);
                }
            }
        }
    }
    messages
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The ids that a text of Rust asks for.
fn asked_for(code: &str) -> Vec<String> {
    let calls = code.split("fl!(").skip(1);
    calls.filter_map(|call| Some(call.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn each_message_is_used() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut used: BTreeSet<String> =
        files.iter().flat_map(|file| asked_for(&fs::read_to_string(file).unwrap())).collect();
    let messages = messages(ENGLISH);
    for (_, text) in &messages {
        // Another message may quote it: `{ mark-still }`.
        let quoted = text.split("{ ").skip(1).filter_map(|rest| rest.split_once(" }")).map(|(id, _)| id.to_owned());
        used.extend(quoted);
    }
    let unused: Vec<&String> = messages.iter().map(|(id, _)| id).filter(|id| !used.contains(*id)).collect();
    assert!(unused.is_empty(), "no code says these: {unused:?}");
    assert!(messages.len() > 300);
}

#[test]
fn no_message_is_written_twice_or_wrongly() {
    let messages = messages(ENGLISH);
    let ids: BTreeSet<&String> = messages.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), messages.len(), "an id is there twice");
    // What Fluent does not understand it leaves out.
    for id in ids {
        assert!(language().has(id), "{id} is not understood");
    }
    assert_eq!(language().current_language().to_string(), "en");
}

#[test]
fn texts_fit_the_platforms() {
    for (id, text) in messages(ENGLISH) {
        let most = match id.split('-').next().unwrap() {
            "cmd" | "opt" => 100,
            "button" | "choice" => 80,
            "menu" => 32,
            _ => 600,
        };
        for variant in text.lines() {
            assert!(variant.chars().count() <= most, "{id} is longer than {most} characters");
        }
        assert!(!text.is_empty(), "{id} is empty");
    }
}

#[test]
fn values_stand_without_marks_around_them() {
    assert_eq!(fl!("queue-line", reel = "`X`", sentence = "no."), "`X`: no.");
    assert_eq!(fl!("cancel-done", count = 1, reel = "`X`"), "Cancelled `X`.");
    assert_eq!(fl!("cancel-done", count = 3, reel = "`X`"), "Cancelled 3 reels.");
}
