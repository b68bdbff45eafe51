//! The words of the menus that are not a command's own: options and choices, by the names that Discord knows. Pure, like its
//! parent.

use crate::locale::fl;

/// What an option of a command is for; `None` if there is no such option.
pub fn option(command: &str, option: &str) -> Option<String> {
    Some(match (command, option) {
        ("coach", "text") => fl!("opt-coach-text"),
        ("reel", "url") => fl!("opt-reel-url"),
        ("reel", "fresh") => fl!("opt-reel-fresh"),
        ("cancel", "url") => fl!("opt-cancel-url"),
        ("queue", "action") => fl!("opt-queue-action"),
        ("queue", "lane") => fl!("opt-queue-lane"),
        ("usage" | "cost", "period") => fl!("opt-period"),
        ("usage" | "cost", "by") => fl!("opt-by"),
        ("usage" | "cost", "csv") => fl!("opt-csv"),
        ("budget", "change") => fl!("opt-budget-change"),
        ("limits", "change") => fl!("opt-limits-change"),
        ("block" | "unblock", "person") => fl!("opt-person"),
        ("block", "reason") => fl!("opt-block-reason"),
        ("invite", "uses") => fl!("opt-invite-uses"),
        ("invite", "days") => fl!("opt-invite-days"),
        ("invites", "revoke") => fl!("opt-invites-revoke"),
        ("pause", "reason") => fl!("opt-pause-reason"),
        ("audit", "days") => fl!("opt-audit-days"),
        ("audit", "page") => fl!("opt-audit-page"),
        _ => return None,
    })
}

/// A choice of an option, where it is not shown as it is typed.
pub fn choice(name: &str) -> Option<String> {
    match name {
        "pause" => Some(fl!("choice-pause")),
        "resume" => Some(fl!("choice-resume")),
        "drain" => Some(fl!("choice-drain")),
        _ => None,
    }
}

/// The entry in the menu of a message.
pub fn coach_this_reel() -> String {
    fl!("menu-reel")
}
