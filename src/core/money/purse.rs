//! Every paid call's way through the ledger: reserve the worst case, call, settle what it really was. Owns what a call is
//! taken to cost where its provider does not say; the store holds the budgets.

use std::sync::Arc;
use std::time::Duration;

use super::Prices;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::{ChatId, InstanceId, PersonId, Platform};
use crate::store::budgets::{Amounts, Scope, Span, Spending, Standing};
use crate::store::ledger::{Entry, Hold, Lost, Reserved};
use crate::store::{Store, StoreError};
use crate::telemetry::{COST, OPENAI_TOKENS};
use crate::upstream::apify::RunId;
use crate::upstream::{Provider, STARTED, Usage};

/// How long after a run Apify's word on what it cost is final ("wait about 10 seconds after the run completed, then fetch
/// the run again", Apify's API reference, "Actor runs").
pub const CONFIRM_AFTER: Duration = Duration::from_secs(10);

/// A call that has not ended by then never will: longer than any deadline.
pub const RESERVED_FOR: Duration = Duration::from_secs(2 * 3600);

/// Reservations given up at a time.
const GIVEN_UP: u32 = 100;

/// From this part of a budget on, in percent, the cheaper ways are taken.
pub const SPARING: i64 = 80;

/// Percent of a budget at which the operator is told.
pub const TOLD_AT: [i64; 3] = [100, 80, 50];

/// A paid call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Names the call.
    pub key: &'a str,
    pub person: PersonId,
    pub chat: &'a ChatId,
    pub provider: Provider,
    pub model: &'a str,
    /// What it is for: coach, summary, scrape, analyse, workflow.
    pub tool: &'a str,
    pub latency_ms: i64,
    /// `ok`, or why it failed in one word.
    pub outcome: &'a str,
    /// Before the call the worst case, afterwards what it was.
    pub usage: Usage,
}

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// This budget does not cover it.
    Over(Standing),
    /// Nobody knows what it would cost.
    Unpriced,
}

/// Spends, within budgets.
pub struct Purse {
    store: Arc<Store>,
    pub prices: Prices,
    clock: Clock,
    /// This instance, if it writes heartbeats.
    instance: Option<InstanceId>,
    /// Of the configuration: kind of scope, span, micro-USD.
    caps: Vec<(&'static str, Span, i64)>,
    apify: i64,
    apify_most: i64,
    n8n: i64,
    video_model: String,
    /// The model of the answers that are tried last.
    cheapest: String,
}

impl Purse {
    pub fn new(store: Arc<Store>, prices: Prices, clock: Clock, instance: Option<InstanceId>, config: &Config) -> Self {
        let budget = &config.money;
        let caps = [
            ("bot", Span::Day, budget.bot_day),
            ("bot", Span::Month, budget.bot_month),
            ("platform", Span::Month, budget.platform_month),
            ("guild", Span::Month, budget.guild_month),
            ("chat", Span::Month, budget.chat_month),
            ("person", Span::Day, budget.person_day),
            ("person", Span::Month, budget.person_month),
        ];
        Self {
            store,
            prices,
            clock,
            instance,
            caps: caps.into_iter().filter_map(|(kind, span, cap)| Some((kind, span, cap?))).collect(),
            apify: config.apify.estimate_micro_usd,
            apify_most: config.apify.max_charge_micro_usd,
            n8n: config.n8n.estimate_micro_usd,
            video_model: config.gemini.model.clone(),
            cheapest: config.coach.economy_model.clone(),
        }
    }

    /// Sets the worst case of a call aside, if every budget covers it.
    ///
    /// # Errors
    /// Without the database nothing may be spent.
    pub async fn reserve(&self, call: &Call<'_>) -> Result<Allowed, StoreError> {
        let now = self.clock.now();
        let most = match call.provider {
            Provider::Apify => self.apify_most,
            Provider::N8n => self.n8n,
            Provider::OpenAi | Provider::Gemini => match self.prices.cost(call.model, &call.usage, now) {
                Ok(most) => most,
                Err(unknown) => {
                    // The start refuses such a model, so this is a fault of the program.
                    tracing::error!("a call was refused: {unknown}");
                    return Ok(Allowed::Unpriced);
                }
            },
        };
        let call = Call { outcome: STARTED, ..call.clone() };
        let entry = self.entry(&call, most, now);
        let hold = Hold { until: now + RESERVED_FOR, by: self.instance };
        let reserve = || self.store.reserve(&entry, &self.caps, hold);
        match self.store.insist("reserving a cost", reserve).await? {
            Reserved::Over(standing) => {
                // Near the end not even the cheapest answer fits: to people the budget is used up. What is dearer being
                // refused does not say that, nor does what waits for calls under way to give back what they do not need.
                let fits_later = standing.used.spent.saturating_add(most) <= standing.cap.micro_usd;
                let nothing_fits =
                    !fits_later && standing.percent() >= SPARING && call.tool == "coach" && call.model == self.cheapest;
                let used = if nothing_fits { 100 } else { standing.percent() };
                self.tell(&standing, used, now).await;
                Ok(Allowed::Over(standing))
            }
            Reserved::Yes => Ok(Allowed::Yes),
        }
    }

    /// Writes down what a call was; what was reserved for it gives way. Its cost in micro-USD if that is news.
    pub async fn settle(&self, call: &Call<'_>) -> Result<Option<i64>, StoreError> {
        self.settle_with_audio(call, 0).await
    }

    /// The same for a call with so much audio in its input.
    pub async fn settle_with_audio(&self, call: &Call<'_>, audio_tokens: u64) -> Result<Option<i64>, StoreError> {
        let now = self.clock.now();
        // What Apify says right after a run may be too little, or nothing.
        let is_run = call.provider == Provider::Apify && call.key.parse::<RunId>().is_ok();
        let confirm_at = is_run.then(|| now + CONFIRM_AFTER);
        let micro_usd = match is_run {
            true => self.cost(call, audio_tokens, now).max(self.apify),
            false => self.cost(call, audio_tokens, now),
        };
        let mut entry = self.entry(call, micro_usd, now);
        entry.usage.estimated |= is_run;
        let settle = || self.store.settle(entry.clone(), &self.caps, confirm_at);
        let moved = self.store.insist("writing a cost down", settle).await?;
        self.tell_passed(moved.iter().flatten(), now).await;
        let news = moved.is_some();
        if news {
            metrics::counter!(COST, "provider" => call.provider.name()).increment(micro_usd.unsigned_abs());
            if call.provider == Provider::OpenAi {
                count_tokens(&call.usage);
            }
        }
        Ok(news.then_some(micro_usd))
    }

    /// The provider's final word on what a call cost, in micro-USD; by how much that differs from what was counted, if it is
    /// news.
    pub async fn confirm(&self, key: &str, micro_usd: i64) -> Result<Option<i64>, StoreError> {
        let confirm = || self.store.confirm_charge(key, micro_usd, &self.caps);
        let confirmed = self.store.insist("writing a final cost down", confirm).await?;
        let Some((difference, standings)) = confirmed else { return Ok(None) };
        self.tell_passed(standings.iter(), self.clock.now()).await;
        Ok(Some(difference))
    }

    /// What is reserved for a call stands under another key from now on: that of the thing which costs.
    pub async fn rekey(&self, key: &str, new: &str) -> Result<(), StoreError> {
        self.store.insist("giving a reserved cost its key", || self.store.rekey(key, new)).await.map(|_| ())
    }

    /// What was reserved last since `since` under a key that begins with `prefix`, and never came to an end that anybody
    /// heard of, was for `run`: the row has its key from now on, and is settled as that. `false` if `run` is another call's.
    pub async fn adopt(&self, prefix: &str, since: Timestamp, run: &str) -> Result<bool, StoreError> {
        let adopt = || self.store.adopt(prefix, since, run, self.clock.now() + CONFIRM_AFTER);
        self.store.insist("giving a lost cost its run", adopt).await
    }

    /// The call was not made.
    pub async fn unreserve(&self, key: &str) -> Result<(), StoreError> {
        self.store.insist("taking a reserved cost back", || self.store.unreserve(key)).await
    }

    /// The budget of a person in a chat that is used up most.
    pub async fn tightest(&self, person: PersonId, chat: &ChatId) -> Result<Option<Standing>, StoreError> {
        Ok(self.standings(person, chat).await?.into_iter().max_by_key(Standing::percent))
    }

    /// How all budgets of a person in a chat stand.
    pub async fn standings(&self, person: PersonId, chat: &ChatId) -> Result<Vec<Standing>, StoreError> {
        self.store.standings(person, chat, &self.caps, self.clock.now()).await
    }

    /// The budgets in force, of any scope.
    pub async fn amounts(&self) -> Result<Amounts, StoreError> {
        self.store.amounts(self.caps.clone()).await
    }

    /// How the budgets of the bot and of whole platforms stand.
    pub async fn overall(&self) -> Result<Vec<Standing>, StoreError> {
        Ok(self.spending().await?.into_iter().filter_map(Spending::standing).collect())
    }

    /// What the bot and each platform have spent, for the operator.
    pub async fn spending(&self) -> Result<Vec<Spending>, StoreError> {
        let whole = [(Scope::Bot, Span::Day), (Scope::Bot, Span::Month)];
        let platforms = Platform::ALL.map(|platform| (Scope::Platform(platform), Span::Month));
        let scopes: Vec<_> = whole.into_iter().chain(platforms).collect();
        self.store.spending_of(&scopes, &self.caps, self.clock.now()).await
    }

    /// Gives up reservations whose calls never ended, because their process died: what was sent is taken to have been paid,
    /// what would have come back is not. Returns how many there were.
    pub async fn give_up_lost(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut given_up = 0;
        loop {
            let lost = self.store.lost_reservations(now, GIVEN_UP).await?;
            for call in &lost {
                let micro_usd = self.cost_of_lost(call, now).min(call.micro_usd);
                self.store.give_up_reservation(&call.key, micro_usd).await?;
                tracing::warn!(key = call.key, micro_usd, "a call that never ended is counted at what was sent");
            }
            given_up += lost.len();
            if lost.len() < GIVEN_UP as usize {
                return Ok(given_up);
            }
        }
    }

    /// Takes back what is still set aside for calls that have ended; see [`Store::free_left_over`].
    pub async fn free_left_over(&self) -> Result<(), StoreError> {
        loop {
            let freed = self.store.free_left_over(GIVEN_UP).await?;
            if freed > 0 {
                tracing::info!(freed, "calls that an older release has ended do not hold budgets any more");
            }
            if freed < u64::from(GIVEN_UP) {
                return Ok(());
            }
        }
    }

    fn cost_of_lost(&self, call: &Lost, now: Timestamp) -> i64 {
        if call.provider == Provider::Apify.name() {
            return self.apify;
        }
        let input_tokens = u64::try_from(call.input_tokens).unwrap_or(0);
        let sent = Usage { input_tokens, cache_write_tokens: input_tokens, estimated: true, ..Usage::default() };
        // A call that is not paid by tokens costs what was reserved.
        self.prices.cost(&call.model, &sent, now).unwrap_or(call.micro_usd)
    }

    fn entry<'a>(&'a self, call: &Call<'a>, micro_usd: i64, now: Timestamp) -> Entry<'a> {
        let estimated = call.usage.estimated
            || call.usage.charged_micro_usd.is_none() && matches!(call.provider, Provider::Apify | Provider::N8n);
        Entry {
            key: call.key,
            at: now,
            person: call.person,
            chat: call.chat,
            provider: call.provider,
            model: call.model,
            tool: call.tool,
            usage: Usage { estimated, ..call.usage },
            micro_usd,
            price_version: &self.prices.version,
            latency_ms: call.latency_ms,
            outcome: call.outcome,
        }
    }

    fn cost(&self, call: &Call<'_>, audio_tokens: u64, now: Timestamp) -> i64 {
        if let Some(charged) = call.usage.charged_micro_usd {
            return charged.max(0);
        }
        match call.provider {
            Provider::Apify => return self.apify,
            Provider::N8n => return self.n8n,
            Provider::OpenAi | Provider::Gemini => {}
        }
        // A model that answers under another name than it was called by costs what was called.
        let cost = |model| self.prices.cost_with_audio(model, &call.usage, audio_tokens, now);
        cost(call.model).or_else(|_| cost(&self.video_model)).unwrap_or_else(|unknown| {
            // The start refuses such a model, so this is a fault of the program. The dearest price is the safe side.
            tracing::error!(model = call.model, "an unpriced call was made: {unknown}");
            self.prices.dearest(&call.usage, now)
        })
    }

    /// Tells of the marks that were passed since the owner was told last.
    async fn tell_passed(&self, standings: impl Iterator<Item = &(Standing, i64)>, now: Timestamp) {
        for (standing, told) in standings {
            if TOLD_AT.into_iter().any(|mark| mark > *told && standing.percent() >= mark) {
                self.tell(standing, standing.percent(), now).await;
            }
        }
    }

    /// Tells the operator once of each mark that a budget passes. People's own are their own business.
    async fn tell(&self, standing: &Standing, used: i64, now: Timestamp) {
        let Some(mark) = TOLD_AT.into_iter().find(|mark| used >= *mark) else { return };
        if standing.cap.scope.kind() == "person" {
            return;
        }
        match self.store.alert_budget(&standing.cap.scope, standing.cap.span, now, mark).await {
            Ok(true) => tracing::warn!(
                scope = standing.cap.scope.kind(),
                span = standing.cap.span.name(),
                spent_micro_usd = standing.used.spent,
                budget_micro_usd = standing.cap.micro_usd,
                "{mark}% of a budget is used"
            ),
            Ok(false) => {}
            Err(error) => tracing::warn!("a budget's mark could not be noted: {error}"),
        }
    }
}

fn count_tokens(usage: &Usage) {
    let kinds = [
        ("input", usage.input_tokens),
        ("cached", usage.cached_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("output", usage.output_tokens),
        ("reasoning", usage.reasoning_tokens),
    ];
    for (kind, tokens) in kinds {
        metrics::counter!(OPENAI_TOKENS, "kind" => kind).increment(tokens);
    }
}
