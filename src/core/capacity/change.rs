//! A plan with more of something. Owns what each change does to a plan.

use super::tiers::Tier;
use super::{Database, Plan};

/// One change of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Lanes(u32),
    Webhooks(u32),
    Tier(u8),
    Model(String),
    Instances(u32),
    Postgres,
}

impl Change {
    /// The plan after it.
    pub fn apply(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        match self {
            Change::Lanes(more) => plan.reels.direct_lanes += more,
            Change::Webhooks(more) => plan.reels.n8n_lanes += more,
            Change::Tier(number) => plan.tier = Tier { ..Tier::of(*number, &plan.answers.model) },
            Change::Model(model) => {
                plan.answers.model.clone_from(model);
                if plan.tier.number > 0 {
                    plan.tier = Tier::of(plan.tier.number, model);
                }
            }
            Change::Instances(more) => {
                plan.bot.instances += more;
                // Several instances share a PostgreSQL.
                plan.bot.database = Database::Postgres;
            }
            Change::Postgres => plan.bot.database = Database::Postgres,
        }
        plan
    }
}
