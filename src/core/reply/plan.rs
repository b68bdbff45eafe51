//! What a turn comes to: reads what was said, and decides between a sentence, the line, and the coach. What has an
//! effect waits until no more messages can join the turn.

use std::collections::HashSet;

use super::{Replies, Screen, ShowEnd};
use crate::core::access::Authority;
use crate::core::admin::Asked;
use crate::core::chat::{Addressed, Audience, Body, Inbound, NOTICE};
use crate::core::coach::{Question, Replaced, Sharing, tools};
use crate::core::command::{CancelWish, Command, QueueWish};
use crate::core::reels::{KnownFailure, Mentioned, read_result};
use crate::core::wording;
use crate::crash;
use crate::ids::TurnId;
use crate::store::StoreError;
use crate::store::chats::Role;
use crate::store::reels::{Cancelled, Submitted, Subscription, Wish};
use crate::store::turns::{NewMessage, Turn};

/// What a turn comes to.
pub(super) enum Plan {
    /// A sentence, and what enters the memory with it.
    Say(Body, Kept),
    /// The same where something failed: the button under it asks once more.
    Fail(Body, Kept),
    /// The answer stands elsewhere: a board, or nothing is owed.
    Nothing,
    /// The same, and what shows that an answer is awaited goes away.
    Done,
    Coach(Question),
    /// More messages have joined meanwhile: plan anew.
    Again,
    /// Somebody else has the turn.
    Lost,
}

/// What enters the memory with a sentence of our own.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) lines: Vec<NewMessage>,
    /// The failed turn that these lines take the place of.
    pub(super) replaces: Option<TurnId>,
}

impl Kept {
    /// The question, and the sentence as its answer.
    pub(super) fn of(question: &Question, sentence: &str) -> Self {
        let mut lines = question.lines();
        lines.push(NewMessage { role: Role::Coach, content: sentence.to_owned() });
        Self { lines, replaces: question.replaces.as_ref().map(|replaced| replaced.turn) }
    }
}

/// How reels are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    First,
    /// Read anew, whatever is known of them.
    Fresh,
    /// By a button, which is used up by it.
    Again,
}

impl Plan {
    fn say(text: String) -> Plan {
        Plan::Say(Body::text(text), Kept::default())
    }

    /// For the asker's eyes, where the platform can do that.
    pub(super) fn say_privately(text: String) -> Plan {
        Plan::Say(Body { private: true, ..Body::text(text) }, Kept::default())
    }

    /// As it may be said to this audience. Nothing that does not belong into a room comes here for one (`plan_command`), so
    /// that what is said there is meant for it; a notice is for one person alone, and what does not fit into it is no notice.
    fn to(self, audience: Audience) -> Plan {
        match (self, audience) {
            (Plan::Say(body, kept), Audience::Room) => Plan::Say(Body { private: false, ..body }, kept),
            (Plan::Say(body, _), Audience::Notice)
                if !body.files.is_empty() || body.text.encode_utf16().count() > NOTICE =>
            {
                Plan::say_privately(wording::ask_in_private())
            }
            (Plan::Say(body, kept), Audience::Notice) => Plan::Say(Body { private: true, ..body }, kept),
            (plan, _) => plan,
        }
    }
}

/// What the person said in one turn.
pub(super) struct Said {
    pub(super) inbounds: Vec<Inbound>,
    pub(super) text: String,
    links: Vec<String>,
}

impl Replies {
    pub(super) async fn plan_talk(&self, turn: &Turn, screen: &mut Screen) -> Result<Plan, StoreError> {
        let said = self.said(turn).await?;
        let Some(audience) = said.inbounds.first().map(Inbound::audience) else { return Ok(Plan::Nothing) };
        Ok(self.plan_said(turn, said, screen).await?.to(audience))
    }

    async fn plan_said(&self, turn: &Turn, said: Said, screen: &mut Screen) -> Result<Plan, StoreError> {
        let Some(first) = said.inbounds.first() else { return Ok(Plan::Nothing) };
        if let Some(turned_away) = self.turned_away(first).await? {
            return self.once_sealed(turn, screen, turned_away).await;
        }
        let command = Command::read(&said.text);
        let must_have_link = matches!(command, Command::Reel { .. });
        let fresh = matches!(command, Command::Reel { fresh: true, .. });
        let wanted = match command {
            Command::Talk(text) | Command::Reel { text, .. } => text,
            Command::Again(turn_id) => {
                let plan = self.plan_again(turn, first, &turn_id, screen).await?;
                // Whoever pressed somebody else's button says nothing to a room by that.
                let is_for_one = matches!(&plan, Plan::Say(body, _) if body.private);
                return Ok(if is_for_one && first.audience() == Audience::Room { Plan::Done } else { plan });
            }
            command => {
                return match self.seal(turn, screen).await? {
                    // In a box: the reports among them would make every turn large.
                    None | Some(ShowEnd::Answered) => Box::pin(self.plan_command(turn, first, command)).await,
                    Some(ShowEnd::Grown) => Ok(Plan::Again),
                    Some(ShowEnd::Lost) => Ok(Plan::Lost),
                };
            }
        };
        if let Some(pausing) = self.pausing(first).await? {
            return self.once_sealed(turn, screen, pausing).await;
        }
        let mentioned = match must_have_link {
            true => self.reels.requested(&wanted, &said.links).await,
            false => self.reels.mentioned(&wanted, &said.links).await,
        };
        let overheard = said.inbounds.iter().all(|inbound| inbound.addressed == Addressed::Overheard);
        let question = Question::of(wanted.trim().to_owned(), first.author.name.clone());
        // A talk may begin to think before it is known whether more follows; everything else has an effect that could not
        // be taken back, and waits.
        let files: u32 = said.inbounds.iter().map(|inbound| inbound.attachments).sum();
        let note = mentioned
            .unsupported
            .map(wording::unsupported)
            .or((mentioned.unresolved > 0).then(wording::share_unresolved));
        let is_talk = mentioned.reels.is_empty() && !mentioned.question.is_empty() && !overheard && !must_have_link;
        if is_talk {
            let is_reply = said.inbounds.iter().any(|inbound| inbound.reply_to.is_some());
            let is_only_text = said.links.is_empty() && files == 0 && !is_reply;
            let sharing = if is_only_text { Sharing::IfCommon } else { Sharing::Never };
            let note = note.or((files > 0).then(|| wording::files_beside(files)));
            return Ok(Plan::Coach(Question { note, sharing, ..question }));
        }
        match self.seal(turn, screen).await? {
            None | Some(ShowEnd::Answered) => {}
            Some(ShowEnd::Grown) => return Ok(Plan::Again),
            Some(ShowEnd::Lost) => return Ok(Plan::Lost),
        }
        if fresh && self.gate.authority(first) != Authority::Everything {
            return Ok(Plan::say(wording::fresh_is_for_admins()));
        }
        if !mentioned.reels.is_empty() {
            let asking = if fresh { Asking::Fresh } else { Asking::First };
            return self.plan_submission(turn, question, mentioned, asking).await;
        }
        Ok(match note {
            _ if overheard => Plan::Nothing,
            Some(sentence) => Plan::say(sentence),
            None if must_have_link => Plan::say(wording::no_link()),
            None if files > 0 => Plan::say(wording::only_attachments()),
            None => Plan::say(wording::nothing_said()),
        })
    }

    /// This plan, unless more messages have joined meanwhile.
    pub(super) async fn once_sealed(&self, turn: &Turn, screen: &mut Screen, plan: Plan) -> Result<Plan, StoreError> {
        Ok(match self.seal(turn, screen).await? {
            None | Some(ShowEnd::Answered) => plan,
            Some(ShowEnd::Grown) => Plan::Again,
            Some(ShowEnd::Lost) => Plan::Lost,
        })
    }

    async fn plan_command(&self, turn: &Turn, inbound: &Inbound, command: Command) -> Result<Plan, StoreError> {
        let authority = self.gate.authority(inbound);
        let is_admin = authority == Authority::Everything;
        // Among people not every command can be answered to its asker alone.
        let is_alone = inbound.audience() == Audience::Author;
        let now = self.clock.now();
        let asked = Asked { turn, inbound, authority: &authority, now };
        Ok(match command {
            Command::Talk(_) | Command::Reel { .. } | Command::Again(_) => Plan::Nothing,
            Command::Help | Command::Start { .. } => {
                let interval = self.reels.limits().await?.interval;
                let is_for_admins = authority != Authority::None && is_alone;
                let is_start = matches!(command, Command::Start { .. });
                Plan::say_privately(match is_start {
                    true => wording::greeting(is_for_admins, interval),
                    false => wording::help(is_for_admins, interval),
                })
            }
            Command::Unknown(name) => Plan::say_privately(wording::unknown_command(&name)),
            Command::New => {
                Plan::say_privately(wording::new_conversation(self.store.forget(turn.person, &turn.chat, now).await?))
            }
            Command::History => {
                let memory = self.store.memory(turn.person, &turn.chat, now).await?;
                Plan::say_privately(wording::history(&memory.summary, memory.lines.len(), memory.started_at))
            }
            Command::Queue(wish) => {
                // Who runs the bot sees more, where nobody else does.
                let sees_all = is_admin && is_alone;
                Plan::say_privately(match wish {
                    QueueWish::Show => {
                        if sees_all {
                            // What was set a moment ago must be seen.
                            self.boards.look().await?;
                        }
                        let (view, own) = tools::own_reels(&self.store, &self.boards, turn).await?;
                        let line = wording::queue(view.waiting, view.working, view.typical, &own);
                        if sees_all { format!("{line}\n{}", self.admin.lanes(&view, now).await?) } else { line }
                    }
                    _ if !is_admin => wording::not_an_admin(),
                    _ if !is_alone => wording::ask_in_private(),
                    wish => self.admin.set_queue(&wish, self.boards.lanes(), &asked).await?,
                })
            }
            Command::Cancel(wish) => {
                // An admin may take back anyone's.
                let own = Some(turn.person).filter(|_| !is_admin);
                let which = match wish {
                    CancelWish::Everything => Cancelled::AllOf(turn.person),
                    CancelWish::Board(board) => Cancelled::Board(board, own),
                    CancelWish::Reel(text) => match self.reels.named(&text).await {
                        Some(code) => Cancelled::Reel(code, own),
                        None => return Ok(Plan::say_privately(wording::no_link())),
                    },
                };
                let codes = self.reels.cancel(&which, now).await?;
                match which {
                    // The board that the button stands under says it already.
                    Cancelled::Board(..) if !codes.is_empty() => Plan::Done,
                    Cancelled::Board(..) => Plan::say_privately(wording::not_yours_to_cancel()),
                    Cancelled::Reel(code, _) if codes.is_empty() => Plan::say_privately(wording::not_waiting(&code)),
                    _ => Plan::say_privately(wording::cancelled(&codes)),
                }
            }
            Command::Me if !is_alone => Plan::say_privately(wording::ask_in_private()),
            Command::Me => {
                let (_, own) = tools::own_reels(&self.store, &self.boards, turn).await?;
                Plan::say_privately(self.admin.me(turn, &inbound.author.account, own.len(), now).await?)
            }
            _ if authority == Authority::None => Plan::say_privately(wording::not_an_admin()),
            _ if !is_alone => Plan::say_privately(wording::ask_in_private()),
            command => match self.admin.answer(command, &asked).await? {
                Some(body) => Plan::Say(body, Kept::default()),
                None => Plan::Nothing,
            },
        })
    }

    /// Reel links: into the line; a single one that is known already is answered at once.
    pub(super) async fn plan_submission(
        &self,
        turn: &Turn,
        question: Question,
        mentioned: Mentioned,
        asking: Asking,
    ) -> Result<Plan, StoreError> {
        let now = self.clock.now();
        let Mentioned { reels, left_out, unresolved, unsupported, question: asked } = mentioned;
        let mut also: Vec<String> = unsupported.map(wording::unsupported).into_iter().collect();
        also.extend((unresolved > 0).then(wording::share_unresolved));
        also.extend((left_out > 0).then(|| wording::left_out(left_out)));
        let wish = Wish {
            turn: turn.id,
            person: turn.person,
            chat: &turn.chat,
            reply_to: turn.reply_to.as_deref(),
            placeholder: turn.placeholder.as_deref(),
            question: &asked,
            reels: &reels,
            fresh: asking == Asking::Fresh,
        };
        let interval = self.reels.limits().await?.interval.as_secs();
        let note = |outcomes: &[Submitted]| wording::submission_note(&reels, outcomes, &also, interval, now);
        let outcomes = self.reels.submit(&wish, &note, now).await?;
        crash::point("reel submitted");
        let on_board = outcomes.iter().any(|o| matches!(o, Submitted::Joined | Submitted::Queued { .. }))
            || outcomes.len() > 1 && outcomes.contains(&Submitted::Cached);
        if on_board {
            return Ok(Plan::Nothing);
        }
        let sentence = match (&outcomes[..], &reels[..]) {
            ([Submitted::Cached], [code]) => match self.reels.known(code, now).await? {
                Some(Ok(reel)) => return Ok(Plan::Coach(question.about(&reel, self.coach.fences()))),
                Some(Err(failure)) => return Ok(Self::plan_known_failure(turn, &question, &failure, None)),
                // It grew too old this very moment: the next look submits it anew.
                None => return Err(StoreError::Corrupt("a reel that was known")),
            },
            ([Submitted::Failed(content)], _) => return Ok(Self::plan_known_failure(turn, &question, content, None)),
            _ => note(&outcomes),
        };
        // Remembered with its links, so that the coach may take them up when the person asks again.
        let kept = Kept::of(&question, &sentence);
        let may_work_later = outcomes.iter().any(|outcome| match outcome {
            Submitted::Denied(_) => true,
            Submitted::Failed(content) => is_passing(content),
            _ => false,
        });
        Ok(match asking {
            Asking::Again if may_work_later => Plan::Fail(asks_again(turn, sentence), kept),
            _ => Plan::Say(Body::text(sentence), kept),
        })
    }

    /// A reel whose result is known now.
    pub(super) async fn plan_reel(&self, turn: &Turn, wish: Subscription) -> Result<Plan, StoreError> {
        if let Some(kept_out) = self.kept_out(turn).await? {
            return Ok(kept_out);
        }
        let question = self.reel_question(turn, &wish).await?;
        Ok(match read_result(wish.result)? {
            Ok(reel) => Plan::Coach(question.about(&reel, self.coach.fences())),
            Err(failure) => {
                let named = (wish.on_board > 1).then_some(&wish.shortcode);
                Self::plan_known_failure(turn, &question, &failure, named)
            }
        })
    }

    /// What is asked about a reel, without the reel.
    pub(super) async fn reel_question(&self, turn: &Turn, wish: &Subscription) -> Result<Question, StoreError> {
        let name = self.store.names(turn.person).await?.into_iter().next().unwrap_or_default();
        let text = format!("{} {}", wish.shortcode.url(), wish.question).trim().to_owned();
        let replaces = self.store.retry_of_reel(wish.id).await?.map(|(turn, lines)| Replaced { turn, lines });
        Ok(Question { replaces, ..Question::of(text, name) })
    }

    pub(super) async fn said(&self, turn: &Turn) -> Result<Said, StoreError> {
        let inbounds = self
            .store
            .turn_inputs(turn.id)
            .await?
            .iter()
            .map(|payload| serde_json::from_str::<Inbound>(payload).map_err(|_| StoreError::Corrupt("inbox.payload")))
            .collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&str> =
            inbounds.iter().map(|inbound| inbound.text.trim()).filter(|text| !text.is_empty()).collect();
        let mut seen = HashSet::new();
        let links = inbounds
            .iter()
            .flat_map(|inbound| &inbound.links)
            .filter(|link| seen.insert(link.as_str()))
            .cloned()
            .collect();
        Ok(Said { text: texts.join("\n"), links, inbounds })
    }
}

/// Whether a reel that could not be watched, for this cause as JSON, may be watched a little later.
pub(super) fn is_passing(content: &str) -> bool {
    serde_json::from_str(content).is_ok_and(|known: KnownFailure| known.failure.is_passing())
}

/// A sentence in place of an answer, with the button that asks this turn's question once more.
pub(super) fn asks_again(turn: &Turn, text: String) -> Body {
    Body { text, buttons: vec![wording::try_again(turn.id)], ..Body::default() }
}
