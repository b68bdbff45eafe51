//! Source text as the house rules read it: without comments, strings and, where asked, tests; and the paths that
//! it names.

/// One file.
#[derive(Clone)]
pub struct Source {
    /// From the root of the project, with `/`.
    pub path: String,
    /// Comments and the insides of strings are blank; lines stand where they stood.
    pub code: String,
}

impl Source {
    /// Without what only tests are made of.
    pub fn new(path: String, text: &str) -> Source {
        Source { path, code: without_tests(&without_comments_and_strings(text)) }
    }

    pub fn with_tests(path: String, text: &str) -> Source {
        Source { path, code: without_comments_and_strings(text) }
    }

    /// The numbers of the lines that hold a text, not as a part of longer words.
    pub fn lines_with<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.lines().enumerate().filter(move |(_, line)| holds(line, text)).map(|(n, _)| n + 1)
    }

    /// The numbers of the lines that name a crate.
    pub fn lines_with_word<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let as_path = format!("{name}::");
        self.code
            .lines()
            .enumerate()
            .filter(move |(_, line)| {
                holds(line, &as_path) || line.trim_start().starts_with("use ") && holds(line, name)
            })
            .map(|(n, _)| n + 1)
    }
}

/// The module that a file is, in its crate: `src/core/reels/link.rs` is `core`, `reels`, `link`; `src/lib.rs` is none.
pub fn module_of(path: &str) -> Vec<&str> {
    let path = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    if path == "lib" || path == "main" { Vec::new() } else { path.split('/').collect() }
}

/// Everything inside the crate that a file names from `crate`, `super` or `reelcoach` on, as absolute paths, with
/// the line.
pub fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let (line, word) = (&tokens[i].0, tokens[i].1.as_str());
        let preceded = i > 0 && tokens[i - 1].1 == "::";
        let follows = tokens.get(i + 1).is_some_and(|(_, next)| next == "::");
        if preceded || !follows || !["crate", "super", "reelcoach"].contains(&word) {
            i += 1;
            continue;
        }
        let mut base: Vec<String> = match word {
            "super" => module_of(&source.path).into_iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if word == "super" {
            base.pop();
        }
        i += 2;
        while tokens.get(i).is_some_and(|(_, word)| word == "super")
            && tokens.get(i + 1).is_some_and(|(_, next)| next == "::")
        {
            base.pop();
            i += 2;
        }
        let mut named = Vec::new();
        i = tree(&tokens, i, &base, &mut named);
        found.extend(named.into_iter().map(|path| (*line, path)));
    }
    found
}

/// Reads `a::b::{c, d::e}` from token `i` on; gives the token after it.
fn tree(tokens: &[(usize, String)], mut i: usize, base: &[String], named: &mut Vec<Vec<String>>) -> usize {
    let mut path = base.to_vec();
    while let Some((_, word)) = tokens.get(i) {
        if word == "{" {
            i += 1;
            while tokens.get(i).is_some_and(|(_, word)| word != "}") {
                let before = i;
                i = tree(tokens, i, &path, named);
                if tokens.get(i).is_some_and(|(_, word)| word == ",") || i == before {
                    i += 1;
                }
            }
            return i + 1;
        }
        if !is_word(word) && word != "*" {
            break;
        }
        path.push(word.clone());
        i += 1;
        if tokens.get(i).is_some_and(|(_, word)| word == "as") {
            i += 2;
        }
        if tokens.get(i).is_none_or(|(_, word)| word != "::") {
            break;
        }
        i += 1;
    }
    named.push(path);
    i
}

/// Words, `::` and single characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push((n + 1, rest[..length].to_owned()));
            }
            rest = &rest[length..];
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn holds(line: &str, text: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(text).any(|(at, _)| {
        let (first, last) = (text.chars().next(), text.chars().next_back());
        let before = part_of_word(first) && part_of_word(line[..at].chars().next_back());
        let after = part_of_word(last) && part_of_word(line[at + text.len()..].chars().next());
        !before && !after
    })
}

fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |code: &mut String, from: usize, to: usize| {
        code.extend(chars[from..to].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while i < chars.len() {
        let next = chars.get(i + 1).copied();
        let in_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
        let end = match chars[i] {
            '/' if next == Some('/') => (i..chars.len()).find(|j| chars[*j] == '\n').unwrap_or(chars.len()),
            '/' if next == Some('*') => {
                let (mut depth, mut j) = (1, i + 2);
                while depth > 0 && j < chars.len() {
                    match (chars[j], chars.get(j + 1)) {
                        ('/', Some('*')) => (depth, j) = (depth + 1, j + 2),
                        ('*', Some('/')) => (depth, j) = (depth - 1, j + 2),
                        _ => j += 1,
                    }
                }
                j
            }
            'r' if !in_word && raw_string(&chars, i + 1).is_some() => raw_string(&chars, i + 1).unwrap_or(i + 1),
            'b' if !in_word && next == Some('r') && raw_string(&chars, i + 2).is_some() => {
                raw_string(&chars, i + 2).unwrap_or(i + 1)
            }
            '"' => quoted(&chars, i, '"'),
            // A character, not a lifetime.
            '\'' if next == Some('\\') || chars.get(i + 2) == Some(&'\'') => quoted(&chars, i, '\''),
            c => {
                code.push(c);
                i += 1;
                continue;
            }
        };
        blank(&mut code, i, end);
        i = end;
    }
    code
}

/// The end of `#"…"#` that begins at `i`.
fn raw_string(chars: &[char], i: usize) -> Option<usize> {
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    if chars.get(i + hashes) != Some(&'"') {
        return None;
    }
    let mut j = i + hashes + 1;
    while j < chars.len() {
        if chars[j] == '"' && chars[j + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(j + 1 + hashes);
        }
        j += 1;
    }
    Some(chars.len())
}

fn quoted(chars: &[char], begin: usize, quote: char) -> usize {
    let mut i = begin + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// Blanks each item under `#[cfg(test)]`, up to the end of its braces or its semicolon.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let mut depth = 0;
        let mut end = rest.len();
        for (i, c) in rest[at..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = at + i + 1;
                break;
            }
        }
        kept.extend(rest[at..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = r####"//! crate::a
use crate::b; // crate::c
/* crate::d /* crate::e */ crate::f */
const X: &str = "crate::g \" crate::h"; let c = '"'; let l: &'static str = r#"crate::i " crate::j"#;
#[cfg(test)]
mod tests { use crate::k; fn f() { { } } }
use crate::l::{m, n::{self, o}, p as q};
fn f() { super::super::r::s(); crate::t::<crate::u::V>() }
"####;
    let source = Source::new("src/one/two/three.rs".into(), text);
    assert_eq!(source.code.lines().count(), text.lines().count());
    let named: Vec<String> =
        paths(&source).into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect();
    assert_eq!(named, ["2 b", "7 l::m", "7 l::n::self", "7 l::n::o", "7 l::p", "8 one::r::s", "8 t", "8 u::V"]);
    assert_eq!(source.lines_with_word("crate").collect::<Vec<_>>(), [2, 7, 8]);
    assert!(holds("x.unwrap()", ".unwrap()") && !holds("my_todo!", "todo!") && !holds("env::vars()", "env::var"));
}
