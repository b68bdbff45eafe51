//! Few people with little to spend, until their budgets and the bot's are used up and everybody is refused. Owns the
//! amounts and who speaks how often.

use std::time::Duration;

use super::faults::Faults;
use super::report::Entry;
use super::scene::{self, Scene};
use super::{Run, talk};
use sandbox::Terms;

/// Of a person a day: two or three of the cheapest answers. Of the bot: some forty.
const PERSON_MICRO_USD: i64 = 1_000;
const BOT_MICRO_USD: i64 = 8_000;

/// The longest answer in tokens: what is set aside for one is not to be far more than what it costs.
const LONGEST: u32 = 300;

/// So many speak all the time, until their own budgets are used up. They are on Discord, where the bot paces itself in
/// each chat.
const TALKATIVE: u64 = 4;

/// The others use the bot's up: so many places, in each of which so many take turns, after a pause so that nobody writes
/// faster than Telegram lets a chat be answered.
const PLACES: u64 = 12;
const TURNS: u64 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// After so many messages the budgets must have been felt.
const ENOUGH: usize = 60;

/// The most that are needed.
const MESSAGES: usize = 200;

pub(super) async fn spend(run: &Run<'_>) -> anyhow::Result<Vec<Entry>> {
    let terms = Terms { first_token: 0.05, per_token: 0.0, ..Terms::at(1.0) };
    let mut play = run.play(terms);
    let dollars = |micro_usd: i64| micro_usd as f64 / 1e6;
    let (person, bot) = (dollars(PERSON_MICRO_USD), dollars(BOT_MICRO_USD));
    play.setting = play
        .setting
        .with("COACH_MAX_OUTPUT_TOKENS", LONGEST)
        .with("BUDGET_PERSON_DAY_USD", person)
        .with("BUDGET_DAY_USD", bot);
    play.rules.caps = vec![("person", true, PERSON_MICRO_USD), ("bot", true, BOT_MICRO_USD)];
    // Where calls are cut, their estimates use the bot's budget up before anybody's own.
    play.rules.felt_from = (play.faults == Faults::None).then_some(ENOUGH);
    play.people = 2 * TALKATIVE + PLACES * TURNS;
    let played = scene::play(run.host, play, run.stop, run.tell, async |scene| {
        talk(scene, run.settings.messages.min(MESSAGES)).await;
        Ok(())
    });
    let figures = played.await?.figures;
    let note = format!("${person} for each person and ${bot} in all a day; {} were refused", figures.refused);
    Ok(vec![Entry::of("money", note, terms, figures)])
}

async fn talk(scene: &Scene<'_>, most: usize) {
    let is_talkative = |place: u64| place < TALKATIVE;
    let who = |place: u64, turn: u64| match is_talkative(place) {
        true => 2 * place + 1,
        false => 2 * TALKATIVE + (place - TALKATIVE) + PLACES * (turn % TURNS),
    };
    let rest = |place| if is_talkative(place) { Duration::ZERO } else { PAUSE };
    talk::keep_asking(scene, TALKATIVE + PLACES, talk::SIMPLE, most, who, rest).await;
}
