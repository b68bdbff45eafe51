//! The rules on made-up evidence: each breach is found, and what is allowed is not called one.

use super::*;
use reelcoach::clock::Timestamp;
use reelcoach::core::wording;
use reelcoach::store::history::{InboxRow, JobRow, LedgerRow, SpendingRow};
use reelcoach::upstream::{Budget, BudgetOf};
use sandbox::hand::{Charge, Run, Workflow};

/// One message, answered and paid for; then whatever a test does to it.
struct Made {
    asked: Vec<Asked>,
    flood: Vec<Asked>,
    changes: Vec<Change>,
    screens: Vec<OnScreen>,
    history: History,
    books: Books,
    errors: usize,
    exits: Vec<String>,
    rules: Rules,
}

fn on_screen(message: &str, reply_to: Option<&str>, tail: &str) -> OnScreen {
    let (chat, message, tail) = ("42".to_owned(), message.to_owned(), tail.to_owned());
    let reply_to = reply_to.map(str::to_owned);
    OnScreen {
        on: On::Telegram,
        chat,
        message,
        head: tail.clone(),
        tail,
        buttons: 0,
        edits: 0,
        reply_to,
        interaction: None,
    }
}

fn made() -> Made {
    let asked = Asked {
        on: On::Telegram,
        who: 42,
        chat: "42".into(),
        message: "7".into(),
        in_group: false,
        at: 1_000,
        reel: None,
        twice: false,
        lost: false,
    };
    let change = Change {
        at: 3_000,
        on: On::Telegram,
        chat: "42".into(),
        message: "8".into(),
        state: State::Final,
        chars: 100,
        is_edit: false,
    };
    let turn = TurnRow {
        id: "t1".into(),
        kind: "talk".into(),
        state: "closed".into(),
        chat: "telegram:42".into(),
        subscription_id: None,
        attempt: 1,
        shown: r#"["8"]"#.into(),
        outcome: Some("answered".into()),
        created_at: 1,
        closed_at: Some(2),
    };
    let inbox = InboxRow { chat: "telegram:42".into(), message: "7".into(), turn_id: "t1".into(), received_at: 1 };
    let charge =
        Charge { model: "gpt-6-luna".into(), input: 1_000, cached: 0, cache_write: 0, output: 100, finished: true };
    let paid = LedgerRow {
        key: "t1:1:0:0".into(),
        at: 1,
        person_id: "p".into(),
        platform: "telegram".into(),
        provider: "openai".into(),
        model: "gpt-6-luna".into(),
        input_tokens: 1_000,
        cached_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 100,
        micro_usd: 150,
        estimated: false,
        outcome: "ok".into(),
    };
    let spent = SpendingRow { scope: "bot".into(), period: "2026-11-24".into(), micro_usd: 150 };
    Made {
        asked: vec![asked],
        flood: Vec::new(),
        changes: vec![change],
        screens: vec![on_screen("8", Some("7"), "done")],
        history: History {
            inbox: vec![inbox],
            turns: vec![turn],
            ledger: vec![paid],
            spending: vec![spent],
            ..History::default()
        },
        books: Books { openai: vec![charge], ..Books::default() },
        rules: Rules {
            lanes: 1,
            workflow_micro_usd: 12_000,
            interval_ms: 30_000,
            caps: vec![("bot", true, 150)],
            ..Rules::default()
        },
        errors: 0,
        exits: Vec::new(),
    }
}

impl Made {
    fn verdict(&self) -> Verdict {
        check(&Evidence {
            asked: &self.asked,
            flood: &self.flood,
            changes: &self.changes,
            screens: &self.screens,
            history: &self.history,
            books: &self.books,
            errors: self.errors,
            exits: &self.exits,
            rules: &self.rules,
        })
    }

    #[track_caller]
    fn assert_broken(&self, rule: &str) {
        let verdict = self.verdict();
        assert!(!verdict.breaches.is_empty(), "nothing is broken");
        let broken: Vec<&str> = verdict.breaches.iter().map(|breach| breach.rule).collect();
        assert!(broken.iter().all(|broken| broken.contains(rule)), "{:#?}", verdict.breaches);
    }
}

/// Two messages of one account that may send one.
fn flooded() -> Made {
    let mut made = made();
    let of_flood =
        |message: &str| Asked { who: 99, message: message.into(), chat: "99".into(), ..made.asked[0].clone() };
    made.flood = vec![of_flood("20"), of_flood("21")];
    made.rules.per_minute = Some(1);
    let told = wording::too_fast(std::time::Duration::from_secs(20));
    made.screens.push(OnScreen { chat: "99".into(), ..on_screen("22", Some("21"), &told) });
    made
}

#[test]
fn an_answer_only_grows() {
    let frames = |all: &[(State, usize)]| {
        let mut made = made();
        let last = made.changes.remove(0);
        made.changes.extend(all.iter().map(|(state, chars)| Change { state: *state, chars: *chars, ..last.clone() }));
        let rule = "no answer goes back on the screen";
        made.verdict()
            .breaches
            .into_iter()
            .filter(|breach| breach.rule == rule)
            .map(|breach| breach.what)
            .collect::<Vec<_>>()
    };
    let (growing, done) = (State::Growing, State::Final);
    // Marks that close a bold word come and go; an apology is shorter than what stood there.
    assert_eq!(frames(&[(growing, 40), (growing, 90), (growing, 86), (growing, 200), (done, 20)]), [""; 0]);
    assert_eq!(
        frames(&[(growing, 627), (growing, 53), (done, 700)]),
        ["telegram:42 8: 627 characters stood there, then 53"]
    );
    // The frame of one that stood still meanwhile.
    assert_eq!(
        frames(&[(growing, 90), (done, 200), (growing, 90)]),
        ["telegram:42 8: 200 characters stood there, then 90"]
    );
}

#[test]
fn others_are_heard_beside_a_flood() {
    let mut made = flooded();
    made.changes[0].at = 2_002_000;
    let verdict = made.verdict();
    let signs = verdict.checks.iter().find(|check| check.rule.contains("a sign of life")).unwrap();
    assert!(signs.looked_at == 0 && signs.note.contains("not judged"), "one is too few: {}", signs.note);
    made.asked = vec![made.asked[0].clone(); 20];
    made.assert_broken("a sign of life");
    // It is typing: that is enough.
    let typing = Change { at: 1_900_000, message: String::new(), state: State::Typing, ..made.changes[0].clone() };
    made.changes.insert(0, typing);
    assert!(made.verdict().breaches.is_empty(), "{:#?}", made.verdict().breaches);
}

#[test]
fn whoever_sends_too_much_is_told_once() {
    let mut never = flooded();
    never.screens.pop();
    never.assert_broken("told once");
    let mut by_notice = flooded();
    by_notice.books.notices = by_notice.screens.pop().map(|shown| shown.head).into_iter().collect();
    assert!(by_notice.verdict().breaches.is_empty(), "{:#?}", by_notice.verdict().breaches);
    let mut twice = flooded();
    twice.screens.push(OnScreen { message: "23".into(), ..twice.screens[1].clone() });
    twice.assert_broken("told once");
    let mut within = flooded();
    within.rules.per_minute = Some(2);
    within.assert_broken("told once");
}

#[test]
fn what_is_right_holds() {
    let verdict = made().verdict();
    assert!(verdict.breaches.is_empty(), "{:#?}", verdict.breaches);
    let answer = Answer { asked: 1_000, first: 3_000, last: 3_000, kind: Kind::Answered, is_reel: false };
    assert_eq!((verdict.answers, verdict.checks.len()), (vec![answer], 11));
}

#[test]
fn an_answer_that_its_row_does_not_name_is_nobodys() {
    let mut made = made();
    made.history.turns[0].shown = "[]".into();
    let verdict = made.verdict();
    let broken: Vec<&str> = verdict.breaches.iter().map(|breach| breach.rule).collect();
    assert_eq!(broken, ["each message has one final answer", "nothing is answered twice, one board each"]);
}

#[test]
fn each_way_to_lose_a_message_is_found() {
    let rule = "one final answer";
    type Spoil = fn(&mut Made);
    let spoils: [Spoil; 5] = [
        |made| {
            made.history.inbox.clear();
            made.history.turns.clear();
            made.screens.clear();
        },
        |made| made.history.turns[0].state = "open".into(),
        |made| made.history.turns[0].outcome = Some("undeliverable".into()),
        |made| made.screens.clear(),
        |made| made.screens[0].tail = "growing ▌".into(),
    ];
    for spoil in spoils {
        let mut made = made();
        spoil(&mut made);
        made.assert_broken(rule);
    }
}

#[test]
fn an_answer_stands_in_one_message_and_answers_what_was_asked() {
    let mut made = made();
    made.screens.push(on_screen("9", Some("7"), "done"));
    made.changes.push(Change { message: "9".into(), ..made.changes[0].clone() });
    made.history.turns[0].shown = r#"["8","9"]"#.into();
    made.assert_broken("one final answer");
    let mut unasked = super::tests::made();
    unasked.history.turns.push(TurnRow { id: "t2".into(), ..unasked.history.turns[0].clone() });
    unasked.assert_broken("answered twice");
}

#[test]
fn a_message_beyond_what_is_owed_is_found_unless_it_says_so() {
    let mut made = made();
    made.screens.push(on_screen("9", Some("7"), "done"));
    made.assert_broken("answered twice");
    made.rules.faults = true;
    made.assert_broken("answered twice");
    made.screens[1].tail = format!("done {}", wording::maybe_repeated());
    assert!(made.verdict().breaches.is_empty());
    // One for each mark.
    made.screens.push(on_screen("10", Some("7"), "done"));
    made.assert_broken("answered twice");
    made.screens.pop();
    made.rules.faults = false;
    made.assert_broken("answered twice");
    // Discord recognises a repeat.
    made.rules.faults = true;
    made.screens[1].on = On::Discord;
    made.assert_broken("answered twice");
}

#[test]
fn what_fails_by_itself_is_found() {
    type Spoil = fn(&mut Made);
    let spoils: [Spoil; 2] = [
        |made| made.errors = 1,
        |made| made.screens[0].tail = wording::internal_failure(&reelcoach::telemetry::Reference::new()),
    ];
    for spoil in spoils {
        let mut made = made();
        spoil(&mut made);
        made.assert_broken("fails by itself");
        made.rules.faults = true;
        assert!(made.verdict().breaches.is_empty());
        (made.rules.faults, made.rules.overload) = (false, true);
        assert!(made.verdict().breaches.is_empty());
    }
    let mut dead = made();
    (dead.rules.faults, dead.rules.deaths) = (true, true);
    dead.exits = vec!["an instance ended by itself (signal: 9)\nits last words".into()];
    dead.assert_broken("fails by itself");
    assert_eq!(dead.verdict().breaches[0].history, ["its last words"]);
}

#[test]
fn money_is_compared_to_the_micro_dollar() {
    let mut dearer = made();
    dearer.history.ledger[0].micro_usd = 151;
    dearer.history.spending[0].micro_usd = 151;
    dearer.rules.caps.clear();
    dearer.assert_broken("ledger");
    let mut missing = made();
    missing.history.ledger.clear();
    missing.history.spending.clear();
    missing.assert_broken("ledger");
    // Also where calls fail.
    missing.rules.faults = true;
    missing.assert_broken("ledger");
    let mut sums = made();
    sums.history.spending[0].micro_usd = 149;
    sums.assert_broken("ledger");
}

#[test]
fn each_charge_of_unknown_fate_has_an_estimate_of_its_own() {
    let mut cut = made();
    cut.history.ledger[0].estimated = true;
    cut.assert_broken("ledger");
    cut.rules.faults = true;
    assert!(cut.verdict().breaches.is_empty());
    // An attempt that was refused is noted, and costs nothing.
    let refused =
        LedgerRow { key: "t1:1:0:0.2".into(), micro_usd: 0, estimated: false, ..cut.history.ledger[0].clone() };
    cut.history.ledger.push(refused);
    assert!(cut.verdict().breaches.is_empty());
    // Two charges, one row for them.
    cut.books.openai.push(cut.books.openai[0].clone());
    cut.history.ledger[0].micro_usd = 300;
    cut.history.spending[0].micro_usd = 300;
    cut.rules.caps.clear();
    cut.assert_broken("ledger");
    let mut cheap = made();
    cheap.rules.faults = true;
    (cheap.history.ledger[0].estimated, cheap.history.ledger[0].micro_usd) = (true, 149);
    cheap.history.spending[0].micro_usd = 149;
    cheap.assert_broken("ledger");
    // Of a call that died with its process only what was sent is known.
    cheap.history.ledger[0].outcome = "lost".into();
    assert!(cheap.verdict().breaches.is_empty());
    // A row that says it is exact, and was never charged.
    let mut over = made();
    over.rules.faults = true;
    over.rules.caps.clear();
    over.history.ledger.push(LedgerRow { key: "t1:1:0:1".into(), ..over.history.ledger[0].clone() });
    over.history.spending[0].micro_usd = 300;
    over.assert_broken("ledger");
}

#[test]
fn a_workflow_is_paid_for_as_agreed() {
    let mut made = made();
    made.rules.caps.clear();
    let workflow = Workflow { webhook: "reel-0".into(), job: "j1".into(), code: "DQ1".into(), at: 1, until: 2 };
    made.books.n8n.push(workflow);
    made.assert_broken("ledger");
    let row = LedgerRow {
        key: "j1:workflow:1".into(),
        provider: "n8n".into(),
        micro_usd: 12_000,
        estimated: true,
        ..made.history.ledger[0].clone()
    };
    made.history.ledger.push(row);
    made.history.spending[0].micro_usd += 12_000;
    assert!(made.verdict().breaches.is_empty());
    made.history.ledger[1].key = "j2:workflow:1".into();
    made.assert_broken("ledger");
    // Whether it ran is not known where it did not answer.
    made.history.ledger[1].outcome = "cut".into();
    made.assert_broken("ledger");
    made.rules.faults = true;
    assert!(made.verdict().breaches.is_empty());
}

#[test]
fn a_budget_is_compared_and_must_be_felt_where_it_is_meant_to_be() {
    let looked_at =
        |made: &Made| made.verdict().checks.iter().find(|check| check.rule.contains("budget")).unwrap().looked_at;
    let mut over = made();
    assert_eq!(looked_at(&over), 1);
    over.rules.caps = vec![("bot", true, 149)];
    over.assert_broken("budget");
    over.rules.caps.clear();
    assert_eq!(looked_at(&over), 0);
    let mut felt = made();
    felt.rules.felt_from = Some(2);
    assert!(felt.verdict().breaches.is_empty());
    felt.rules.felt_from = Some(1);
    // Used up, but nobody was refused.
    felt.assert_broken("budget");
    let again = Budget { whose: BudgetOf::Everybody, percent: 100, resets_at: Timestamp(1_795_564_800_000) };
    felt.screens[0].head = wording::over_budget(&again);
    felt.screens[0].tail = wording::over_budget(&again);
    assert!(felt.verdict().breaches.is_empty());
    assert_eq!(felt.verdict().answers[0].kind, Kind::Refused(Some(BudgetOf::Everybody)));
    felt.rules.caps.push(("person", true, 1_000));
    felt.assert_broken("budget");
}

/// A person's two reels: asked for at once, begun at the given seconds.
fn two_reels(begun: [u64; 2]) -> Made {
    let mut made = made();
    made.rules.lanes = 2;
    for (nth, at) in begun.into_iter().enumerate() {
        let (turn, code) = (format!("r{nth}"), format!("DQ{nth}"));
        let mut asked = made.asked[0].clone();
        (asked.message, asked.at) = (format!("1{nth}"), 1_000_000);
        let inbox = InboxRow { message: asked.message.clone(), turn_id: turn.clone(), ..made.history.inbox[0].clone() };
        let mut owner = made.history.turns[0].clone();
        (owner.id, owner.shown) = (turn.clone(), format!("[\"2{nth}\"]"));
        made.screens.push(on_screen(&format!("2{nth}"), None, "done"));
        made.changes.push(Change { message: format!("2{nth}"), ..made.changes[0].clone() });
        made.history.subscriptions.push(SubscriptionRow {
            id: format!("s{nth}"),
            state: "answered".into(),
            job_id: Some(format!("j{nth}")),
            shortcode: code.clone(),
            board_id: "b".into(),
            turn_id: turn,
        });
        made.history.jobs.push(JobRow {
            id: format!("j{nth}"),
            shortcode: code.clone(),
            state: "done".into(),
            asked_by: "p".into(),
            slot_at: Some(nth as i64 * 30_000),
            ready_at: 0,
            lane: Some(format!("direct:{nth}")),
            attempt: 1,
            created_at: 0,
            started_at: Some(0),
            finished_at: Some(1),
        });
        let (at, status) = (at * 1_000_000, "SUCCEEDED".to_owned());
        made.books.apify.push(Run { id: code.clone(), code, status, micro_usd: 3_600, at, until: at + 1 });
        let of_run = made.history.ledger[0].clone();
        let paid = LedgerRow { key: format!("DQ{nth}"), provider: "apify".into(), micro_usd: 3_600, ..of_run };
        made.history.ledger.push(paid);
        made.history.spending[0].micro_usd += 3_600;
        made.history.inbox.push(inbox);
        made.history.turns.push(owner);
        made.asked.push(asked);
    }
    made.rules.caps.clear();
    made
}

#[test]
fn messages_that_share_a_turn_have_the_answers_for_their_own_reels() {
    let mut made = two_reels([1, 31]);
    for (nth, asked) in made.asked[1..].iter_mut().enumerate() {
        asked.reel = Some(format!("DQ{nth}"));
    }
    for nth in 0..2 {
        (made.history.inbox[1 + nth].turn_id, made.history.subscriptions[nth].turn_id) = ("r0".into(), "r0".into());
        let answer = TurnRow {
            id: format!("a{nth}"),
            kind: "reel".into(),
            subscription_id: Some(format!("s{nth}")),
            shown: format!("[\"2{nth}\"]"),
            ..made.history.turns[0].clone()
        };
        made.history.turns.push(answer);
    }
    made.history.turns.retain(|turn| turn.id != "r1");
    let shared = made.history.turns.iter_mut().find(|turn| turn.id == "r0").unwrap();
    (shared.outcome, shared.shown) = (Some("silent".into()), "[]".into());
    assert!(made.verdict().breaches.is_empty(), "{:#?}", made.verdict().breaches);
    made.history.turns.retain(|turn| turn.id != "a1");
    assert_eq!(made.verdict().breaches[0].what, "message telegram:42 11: it has no answer");
}

#[test]
fn the_second_reel_of_a_person_waits_for_its_time_and_lanes_are_counted() {
    let fine = two_reels([1, 31]).verdict();
    assert!(fine.breaches.is_empty(), "{:#?}", fine.breaches);
    // The first one waited for its lane.
    assert!(two_reels([30, 31]).verdict().breaches.is_empty());
    two_reels([1, 30]).assert_broken("interval");
    let mut close = two_reels([1, 31]);
    close.history.jobs[1].slot_at = Some(29_999);
    close.assert_broken("interval");
    let mut free = two_reels([1, 31]);
    free.history.jobs[1].slot_at = None;
    free.assert_broken("interval");
    let mut crowded = two_reels([1, 31]);
    crowded.books.apify[0].until = u64::MAX;
    assert!(crowded.verdict().breaches.is_empty());
    crowded.rules.lanes = 1;
    crowded.assert_broken("lanes");
    let mut shared = two_reels([1, 31]);
    shared.history.jobs[1].lane = Some("direct:0".into());
    shared.history.jobs[0].finished_at = Some(5);
    shared.assert_broken("lanes");
}

#[test]
fn reels_of_a_workflow_are_spaced_and_one_at_a_time() {
    let of_workflow =
        |run: Run| Workflow { webhook: "reel-0".into(), job: run.id, code: run.code, at: run.at, until: run.until };
    let through = |begun| {
        let mut made = two_reels(begun);
        made.books.n8n = std::mem::take(&mut made.books.apify).into_iter().map(of_workflow).collect();
        for row in made.history.ledger.iter_mut().filter(|row| row.provider == "apify") {
            (row.provider, row.estimated) = ("n8n".into(), true);
        }
        made.rules.workflow_micro_usd = 3_600;
        made
    };
    let fine = through([1, 31]).verdict();
    assert!(fine.breaches.is_empty(), "{:#?}", fine.breaches);
    let looked_at = |rule: &str| fine.checks.iter().find(|check| check.rule.contains(rule)).unwrap().looked_at;
    assert_eq!((looked_at("interval"), looked_at("lanes")), (1, 2));
    through([1, 30]).assert_broken("interval");
    let mut crowded = through([1, 31]);
    crowded.books.n8n[0].until = u64::MAX;
    crowded.assert_broken("lanes");
    crowded.books.n8n[0].webhook = "reel-1".into();
    assert!(crowded.verdict().breaches.is_empty());
}

#[test]
fn a_refusal_for_the_rate_is_a_breach_but_after_a_death() {
    let mut made = made();
    made.books.refused_by_telegram = 1;
    made.assert_broken("limits");
    made.rules.deaths = true;
    assert!(made.verdict().breaches.is_empty());
    made.books.violations.push("pinged everyone".into());
    made.assert_broken("limits");
}
