//! Asks OpenAI once a day until when the configured models live. One instance asks for all; what it hears is a row, from
//! which the rules tell it. Gemini's API does not say.

use std::time::Duration;

use super::Watch;
use crate::store::StoreError;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Cause, Provider};

/// How often a model is looked up, and how soon again where that failed.
const EVERY: Duration = Duration::from_secs(24 * 3600);
const AGAIN: Duration = Duration::from_secs(3600);

impl Watch {
    /// Looks the models up that nobody has looked up today.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn look_up_models(&self, openai: &OpenAi) -> Result<(), StoreError> {
        for target in self.targets.iter().filter(|target| target.provider == Provider::OpenAi) {
            let (name, model) = (target.name.as_str(), target.target.as_str());
            let now = self.clock.now();
            if !self.store.claim_look_up(name, model, now - EVERY, now).await? {
                continue;
            }
            match openai.model(model).await {
                Ok(found) => self.store.note_shutdown(name, model, found.shutdown_date.as_deref()).await?,
                // Whether it answers is for the answers to tell: not every key may look models up, not every gateway can.
                Err(failure) => {
                    tracing::warn!(model, "until when a model lives could not be looked up: {failure}");
                    if failure.cause != Cause::NotFound {
                        self.store.claim_look_up(name, model, now, now - EVERY + AGAIN).await?;
                    }
                }
            }
        }
        Ok(())
    }
}
