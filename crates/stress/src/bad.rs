//! One person's reels always fail, while others paste good ones: these must not be held up. Owns who pastes
//! what; the rule is `check`'s.

use std::time::Duration;

use super::Run;
use super::check::Usual;
use super::faults::Faults;
use super::report::Entry;
use super::scene::{self, Scene};
use super::storm::{self, StormSetting};
use sandbox::Terms;

/// How the shortcodes of the failing reels begin: the sandbox lets their runs fail.
const BAD: &str = "DFAIL";

/// Each is tried three times; so many would open a breaker that counted reels alone, or attempts.
const BAD_REELS: u32 = 5;

/// Those who paste good ones, and how many in all.
const PEOPLE: u32 = 8;
const GOOD_REELS: u32 = 40;

/// From its slot to its end, a good reel takes about a second as it is played. An open breaker would hold it up for 30 s.
const USUAL_MS: i64 = 15_000;

pub(super) async fn paste(run: &Run<'_>) -> anyhow::Result<Vec<Entry>> {
    let most = u32::try_from(run.settings.messages).unwrap_or(u32::MAX).saturating_sub(BAD_REELS).max(PEOPLE);
    // In life thirty times as long; the failing ones are tried for half a minute as it is played.
    let span = run.span().max(Duration::from_secs(20)) * 30;
    let arrivals = StormSetting::arrivals(PEOPLE, most.min(GOOD_REELS), u32::MAX, span, run.settings.seed);
    let setting = StormSetting::usual(arrivals, run.settings.seed);
    let mut play = setting.play(Faults::None, run.host)?;
    play.rules.usual = Some(Usual { bad: BAD, ms: USUAL_MS });
    play.people += 1;
    play.lie = run.settings.lie;
    let terms: Terms = play.setting.terms;
    let played = scene::play(run.host, play, run.stop, run.tell, async |scene| {
        futures::future::join(storm::come(scene, &setting), fail(scene)).await;
        Ok(())
    })
    .await?;
    let note = format!(
        "{BAD_REELS} reels of one person fail while {PEOPLE} others paste {}; {} times as fast",
        setting.arrivals.len(),
        setting.compress
    );
    Ok(vec![Entry::of("bad-reel", note, terms, played.figures).compressed(setting.compress)])
}

/// The one with the failing reels, who pastes them all at once: they start as the spacing lets them.
async fn fail(scene: &Scene<'_>) {
    for reel in 0..BAD_REELS {
        let code = format!("{BAD}{reel:06}");
        let text = format!("https://www.instagram.com/reel/{code}/");
        // Nobody hears it only when all is over.
        let _ = scene.crowd.say(scene.wish(u64::from(PEOPLE), text, Some(code), 1.0)).await;
    }
}
