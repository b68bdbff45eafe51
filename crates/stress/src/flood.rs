//! One account on each platform that never stops writing, in direct messages and in a group, while others go on as usual.
//! Owns what it sends and how the others speak; whether they are in anybody's way is `check`'s.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::crowd::Wish;
use super::faults::Faults;
use super::report::Entry;
use super::scene::{self, Scene};
use super::{Run, talk};
use reelcoach::ids::BoardId;
use sandbox::Terms;
use sandbox::hand::{On, Say, SayKind};

/// The most messages of one person in a minute, as it is by default.
const PER_MINUTE: u32 = 30;

/// For each command, so many texts; and a press for so many commands.
const TEXTS: usize = 4;
const COMMANDS_PER_PRESS: usize = 5;

/// The accounts that flood.
const ACCOUNT: u64 = 7_000_000;

/// So many others speak at a time in direct messages, after a pause; so many take turns in each place.
const PLACES: u64 = 12;
const TURNS: u64 = 25;
const PAUSE: Duration = Duration::from_millis(500);

/// In the group of each platform one of so many speaks so often: what a group of Telegram can be answered in a minute.
const IN_GROUP: u64 = 8;
const GROUP_PAUSE: Duration = Duration::from_millis(2_500);

/// How often a part of the flood goes out.
const TICK: Duration = Duration::from_millis(50);

/// How much longer than usual the last answer may take: a group that has had its minute waits for the next one.
const BACKLOG: Duration = Duration::from_secs(120);

pub(super) async fn flood(run: &Run<'_>) -> anyhow::Result<Vec<Entry>> {
    let terms = Terms { first_token: 0.3, per_token: 0.001, ..Terms::at(1.0) };
    let mut play = run.play(terms);
    // What one account does to others is to be seen, not what faults do.
    play.faults = Faults::None;
    (play.setting.instances, play.setting.is_breakable) = (1, false);
    play.setting = play.setting.with("MESSAGES_PER_MINUTE", PER_MINUTE);
    play.rules.per_minute = Some(PER_MINUTE);
    play.backlog = BACKLOG;
    play.people = PLACES * TURNS + 2 * IN_GROUP;
    let commands = run.settings.messages;
    let played = scene::play(run.host, play, run.stop, run.tell, async |scene| {
        let who = |place, turn| (place + PLACES * turn) % (PLACES * TURNS);
        let others = talk::keep_asking(scene, PLACES, OTHERS, commands, who, |_| PAUSE);
        let ((), (), sent) = tokio::join!(others, in_groups(scene), send(scene, commands));
        sent
    });
    let note = format!(
        "one account on each platform sends {commands} commands, {} texts and {} presses, half of them in a group",
        commands * TEXTS,
        commands.div_ceil(COMMANDS_PER_PRESS)
    );
    Ok(vec![Entry::of("flood", note, terms, played.await?.figures)])
}

/// What the others say: a question, and sometimes a command.
const OTHERS: talk::Text = |nth| if nth % 3 == 2 { "/help".to_owned() } else { talk::SIMPLE(nth) };

/// The others in the groups, until the load is over.
async fn in_groups(scene: &Scene<'_>) {
    let began = Instant::now();
    for nth in 0.. {
        for on_discord in [0, 1] {
            let person = PLACES * TURNS + 2 * (nth % IN_GROUP) + on_discord;
            let wish = scene.wish(person, talk::SIMPLE(nth), None, 1.0);
            scene.crowd.say(Wish { in_group: true, ..wish }).await;
        }
        let rest = GROUP_PAUSE.min(scene.play.span.saturating_sub(began.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = scene.stop.cancelled() => return,
        }
        if began.elapsed() >= scene.play.span {
            return;
        }
    }
}

/// The flood, evenly over the time of the load.
async fn send(scene: &Scene<'_>, commands: usize) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for (on, who) in [(On::Telegram, ACCOUNT), (On::Discord, ACCOUNT + 1)] {
        let press = format!("/cancel {}", BoardId::new());
        let kinds = [
            (commands, SayKind::Command, "help".to_owned()),
            (commands * TEXTS, SayKind::Text, "and another thing".to_owned()),
            (commands.div_ceil(COMMANDS_PER_PRESS), SayKind::Press, press),
        ];
        for (count, kind, text) in kinds {
            let say = |nth: usize| {
                let text = if kind == SayKind::Text { format!("{text} ({nth})") } else { text.clone() };
                Say { on, who, text, in_group: nth % 2 == 1, kind, twice: false, lost: false }
            };
            all.extend((0..count).map(say));
        }
    }
    all.shuffle(&mut StdRng::seed_from_u64(scene.play.seed ^ 0xf100d));
    let began = Instant::now();
    let mut sent = 0;
    while sent < all.len() && !scene.stop.is_cancelled() {
        let through = ((began.elapsed() + TICK).as_secs_f64() / scene.play.span.as_secs_f64()).min(1.0);
        let until = ((all.len() as f64 * through).ceil() as usize).clamp(sent, all.len());
        scene.crowd.flood(&all[sent..until]).await?;
        sent = until;
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}
