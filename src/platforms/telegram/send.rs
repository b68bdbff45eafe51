//! Says what the core wants said. Owns how a [`Piece`] becomes a call of the Bot API; never waits,
//! repeats or splits: the outbox does that.

use std::time::Duration;

use async_trait::async_trait;
use serde::de::IgnoredAny;
use teloxide::payloads::{EditMessageMedia, EditMessageText, SendChatAction, SendDocument, SendMessage, SendPhoto};
use teloxide::payloads::{EditMessageTextSetters as _, SendChatActionSetters as _, SendMessageSetters as _};
use teloxide::types::{
    ChatAction, ChatId as TelegramChat, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, InputMedia,
    InputMediaDocument, InputMediaPhoto, LinkPreviewOptions, MessageId, ParseMode, ReplyParameters, ThreadId,
};

use super::Telegram;
use super::api::{self, Fault, Sent};
use super::inbound::press_of;
use crate::core::chat::{
    Allowance, Button, ChatPace, Destination, File, FileRules, LengthUnit, Markup, Messenger, MessengerRules, NOTICE,
    Piece, SendError,
};
use crate::ids::{ChatId, MessageRef, Platform};

/// What one message takes. Albums are left alone: they take no buttons, and photos and documents do not mix (Bot API,
/// sendMediaGroup). Sizes are those of Sending files; its MB are taken as 10^6 bytes.
const FILES: FileRules =
    FileRules { most: 1, caption: 1024, picture_bytes: 10_000_000, file_bytes: 50_000_000, all_bytes: 50_000_000 };
/// The longest `callback_data`, in bytes (Bot API, InlineKeyboardButton).
const BUTTON_DATA: usize = 64;

#[async_trait]
impl Messenger for Telegram {
    /// 4096 UTF-16 units (Bot API, sendMessage). The pace of edits is not documented: about one message a
    /// second in a chat and twenty a minute in a group is what Telegram's FAQ says of messages. The
    /// 48 hours after which a message can not be edited are those of business messages only.
    fn rules(&self, chat: &ChatId) -> MessengerRules {
        let private = Place::read(chat).is_some_and(|place| place.chat > 0);
        MessengerRules {
            unit: LengthUnit::Utf16,
            limit: 4096,
            markup: Markup::Html,
            edit_interval: Duration::from_millis(if private { 1500 } else { 3000 }),
            editable_for: None,
            dedupes_sends: false,
            per_second: self.per_second(),
            in_chat: Some(self.pace(private)),
            files: FILES,
        }
    }

    /// `nonce` goes unused: the Bot API knows no key for a repeated send. If the topic is gone, the
    /// message goes to the chat itself. If the group has become a supergroup, the message goes there, and the returned
    /// reference names the new chat, also in its id: whoever still knows the old chat can edit it all the same.
    ///
    /// What is for one person alone is not sent into a group, whoever asks for it: there is no such message on Telegram.
    ///
    /// A picture goes out as a photo and another file as a document, with the text as its caption.
    async fn send(&self, to: &Destination, piece: &Piece, plain: bool, _nonce: &str) -> Result<MessageRef, SendError> {
        let mut place = Place::read(&to.chat).ok_or_else(not_a_chat)?;
        if piece.private && place.chat < 0 {
            return Err(SendError::Failed("what is for one person alone is not sent to a group".to_owned()));
        }
        let mut reply_to = to.reply_to.as_ref().filter(|message| message.chat == to.chat).and_then(message_id);
        let outgoing = Outgoing::new(piece, plain)?;
        let mut sent = self.put(place, reply_to, &outgoing).await;
        if sent.as_ref().is_err_and(is_thread_gone) && place.topic.is_some() {
            tracing::info!(chat = %to.chat, "telegram: the topic is gone, the message goes to the chat");
            place.topic = None;
            sent = self.put(place, reply_to, &outgoing).await;
        }
        if let Err(Fault::Migrated(supergroup)) = sent {
            let new = ChatId::new(Platform::Telegram, supergroup.to_string());
            if self.chat_moved(to.chat.clone(), new.clone()).await.is_err() {
                // The group tells of it too, and every further send would.
                tracing::warn!(chat = %to.chat, supergroup, "telegram: it could not be kept that the group is a supergroup now");
            }
            // Messages have other ids there, so the one to answer can not be named.
            (place, reply_to) = (Place { chat: supergroup, topic: None }, None);
            let id = self.put(place, reply_to, &outgoing).await.map_err(SendError::from)?;
            return Ok(MessageRef::new(new, format!("{supergroup}:{id}")));
        }
        let id = sent.map_err(SendError::from)?;
        Ok(MessageRef::new(to.chat.clone(), id.to_string()))
    }

    /// A text message takes a file by editMessageMedia ("or to add media to text messages") and keeps its id. Where
    /// that is refused the message counts as [`SendError::Gone`], which makes the core send a new one. So does a button
    /// press, which is no message, unless a notice on it says it all.
    async fn edit(&self, message: &MessageRef, piece: &Piece, plain: bool) -> Result<(), SendError> {
        let mut place = Place::read(&message.chat).ok_or_else(not_a_chat)?;
        if let Some(press) = press_of(message) {
            return self.notify(press, piece, place.chat < 0).await;
        }
        let (chat, id) = sent_message(message).ok_or(SendError::Gone)?;
        place.chat = chat.unwrap_or(place.chat);
        let outgoing = Outgoing::new(piece, plain)?;
        if let Some(file) = outgoing.file {
            let mut edit = EditMessageMedia::new(TelegramChat(place.chat), id, outgoing.media(file));
            edit.reply_markup = outgoing.keyboard.clone();
            let _: IgnoredAny = api::upload(self.bot(), edit).await?;
            return Ok(());
        }
        let mut edit =
            EditMessageText::new(TelegramChat(place.chat), id, outgoing.text).link_preview_options(no_preview());
        edit.parse_mode = outgoing.parse_mode;
        edit.reply_markup = outgoing.keyboard.clone();
        let _: IgnoredAny = api::call(self.bot(), edit).await?;
        Ok(())
    }

    async fn dismiss(&self, placeholder: &MessageRef) -> Result<(), SendError> {
        match press_of(placeholder) {
            Some(press) => Ok(self.answer_press(press, None).await?),
            None => Ok(()),
        }
    }

    async fn is_unanswered(&self, message: &MessageRef) -> Result<bool, SendError> {
        Ok(super::polling::is_pending(self, message).await?)
    }

    async fn typing(&self, chat: &ChatId) -> Result<(), SendError> {
        let place = Place::read(chat).ok_or_else(not_a_chat)?;
        let mut action = SendChatAction::new(TelegramChat(place.chat), ChatAction::Typing);
        if let Some(topic) = place.topic {
            action = action.message_thread_id(topic);
        }
        let _: IgnoredAny = api::call(self.bot(), action).await?;
        Ok(())
    }
}

impl Telegram {
    /// One message a second with a short burst, and 20 a minute in a group (Telegram's FAQ for bots). Whether edits count
    /// is not documented; here they do.
    fn pace(&self, private: bool) -> ChatPace {
        // What leaves evenly need not arrive so: a twentieth longer than Telegram asks.
        let span = |seconds: u64| Duration::from_millis(seconds * 1050) / self.per_chat().max(1);
        ChatPace {
            burst: Allowance { times: 5, within: span(5) },
            steady: (!private).then(|| Allowance { times: 20, within: span(60) }),
            edits_apart: false,
        }
    }

    /// Says something to whoever pressed a button, and to nobody else. What is no notice is [`SendError::Gone`] there: it
    /// goes out as a message, which in a group only what everybody may read is.
    async fn notify(&self, press: &str, piece: &Piece, is_group: bool) -> Result<(), SendError> {
        let is_notice = piece.private && piece.files.is_empty() && piece.plain.encode_utf16().count() <= NOTICE;
        let notice = is_notice.then_some(piece.plain.as_str());
        match self.answer_press(press, notice).await {
            Ok(()) if is_notice => Ok(()),
            Ok(()) => Err(SendError::Gone),
            // Too late for a notice: in a group nobody is told then.
            Err(Fault::Refused(words)) => {
                tracing::debug!("telegram: answerCallbackQuery failed: {}", Fault::Refused(words).words());
                if is_notice && is_group { Ok(()) } else { Err(SendError::Gone) }
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Sends once, and returns the id of the message that can be edited later.
    async fn put(&self, place: Place, reply_to: Option<MessageId>, outgoing: &Outgoing<'_>) -> Result<i64, Fault> {
        let chat = TelegramChat(place.chat);
        let sent: Sent = match outgoing.file {
            Some(file) if file.kind.is_picture() => {
                let mut photo = SendPhoto::new(chat, input(file));
                photo.message_thread_id = place.topic;
                photo.reply_parameters = reply_to.map(may_be_gone);
                photo.caption = outgoing.caption();
                photo.parse_mode = outgoing.parse_mode;
                photo.reply_markup = outgoing.keyboard.clone().map(Into::into);
                api::upload(self.bot(), photo).await?
            }
            Some(file) => {
                let mut document = SendDocument::new(chat, input(file));
                document.message_thread_id = place.topic;
                document.reply_parameters = reply_to.map(may_be_gone);
                document.caption = outgoing.caption();
                document.parse_mode = outgoing.parse_mode;
                document.reply_markup = outgoing.keyboard.clone().map(Into::into);
                api::upload(self.bot(), document).await?
            }
            None => {
                let mut message = SendMessage::new(chat, outgoing.text).link_preview_options(no_preview());
                message.message_thread_id = place.topic;
                message.reply_parameters = reply_to.map(may_be_gone);
                message.parse_mode = outgoing.parse_mode;
                message.reply_markup = outgoing.keyboard.clone().map(Into::into);
                api::call(self.bot(), message).await?
            }
        };
        Ok(sent.message_id)
    }
}

/// A chat's key, read: `chat` or `chat/topic`.
#[derive(Clone, Copy)]
struct Place {
    chat: i64,
    topic: Option<ThreadId>,
}

impl Place {
    fn read(chat: &ChatId) -> Option<Self> {
        if chat.platform != Platform::Telegram {
            return None;
        }
        let (chat, topic) = match chat.key.split_once('/') {
            Some((chat, topic)) => (chat, Some(ThreadId(MessageId(topic.parse().ok()?)))),
            None => (chat.key.as_str(), None),
        };
        Some(Place { chat: chat.parse().ok()?, topic })
    }
}

fn not_a_chat() -> SendError {
    SendError::Failed("not a chat on Telegram".to_owned())
}

/// The message's number; `None` for a button press.
fn message_id(message: &MessageRef) -> Option<MessageId> {
    message.id.parse().ok().map(MessageId)
}

/// The number of a message of the bot's own, and its chat where the id names it (see [`Messenger::send`]).
fn sent_message(message: &MessageRef) -> Option<(Option<i64>, MessageId)> {
    match message.id.split_once(':') {
        Some((chat, id)) => Some((Some(chat.parse().ok()?), MessageId(id.parse().ok()?))),
        None => Some((None, message_id(message)?)),
    }
}

/// What one piece comes to on the wire.
struct Outgoing<'p> {
    text: &'p str,
    parse_mode: Option<ParseMode>,
    keyboard: Option<InlineKeyboardMarkup>,
    file: Option<&'p File>,
}

impl<'p> Outgoing<'p> {
    fn new(piece: &'p Piece, plain: bool) -> Result<Self, SendError> {
        if piece.files.len() > FILES.most {
            return Err(SendError::Failed("one file at most goes into a message".to_owned()));
        }
        Ok(Outgoing {
            text: if plain { &piece.plain } else { &piece.markup },
            parse_mode: (!plain).then_some(ParseMode::Html),
            keyboard: keyboard(&piece.buttons)?,
            file: piece.files.first(),
        })
    }

    fn caption(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.text.to_owned())
    }

    fn media(&self, file: &File) -> InputMedia {
        match file.kind.is_picture() {
            true => {
                let mut photo = InputMediaPhoto::new(input(file));
                (photo.caption, photo.parse_mode) = (self.caption(), self.parse_mode);
                InputMedia::Photo(photo)
            }
            false => {
                let mut document = InputMediaDocument::new(input(file));
                (document.caption, document.parse_mode) = (self.caption(), self.parse_mode);
                InputMedia::Document(document)
            }
        }
    }
}

fn input(file: &File) -> InputFile {
    InputFile::memory(file.content.clone()).file_name(file.name().to_owned())
}

fn keyboard(buttons: &[Button]) -> Result<Option<InlineKeyboardMarkup>, SendError> {
    if buttons.iter().any(|button| button.command.is_empty() || button.command.len() > BUTTON_DATA) {
        return Err(SendError::Failed(format!("a button's command must be 1 to {BUTTON_DATA} bytes long")));
    }
    let row = buttons.iter().map(|button| InlineKeyboardButton::callback(&button.label, &button.command));
    Ok((!buttons.is_empty()).then(|| InlineKeyboardMarkup::new([row])))
}

fn may_be_gone(message: MessageId) -> ReplyParameters {
    ReplyParameters::new(message).allow_sending_without_reply()
}

fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

fn is_thread_gone(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(words) if words.contains("message thread not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_chat_and_perhaps_a_topic() {
        let read = |text: &str| {
            Place::read(&text.parse().unwrap()).map(|place| (place.chat, place.topic.map(|topic| topic.0.0)))
        };
        assert_eq!(read("telegram:42"), Some((42, None)));
        assert_eq!(read("telegram:-1001234567890/7"), Some((-1_001_234_567_890, Some(7))));
        for bad in ["discord:42", "telegram:x", "telegram:1/", "telegram:1/x", "telegram:"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_button_is_refused_before_telegram_would_refuse_it() {
        let button = |command: &str| Button { label: "x".to_owned(), command: command.to_owned() };
        assert!(keyboard(&[button(&"x".repeat(64))]).unwrap().is_some());
        assert!(keyboard(&[]).unwrap().is_none());
        for bad in [String::new(), "x".repeat(65), "ä".repeat(33)] {
            assert!(matches!(keyboard(&[button(&bad)]), Err(SendError::Failed(_))), "{bad}");
        }
    }
}
