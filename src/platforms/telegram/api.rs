//! What is asked of the Bot API and the ways it fails. Owns how an answer and a refusal are read; never
//! lets a URL (the token is in it) or the text of an answer (people's texts are in it) into an error.

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use teloxide::payloads;
use teloxide::requests::{JsonRequest, MultipartPayload, MultipartRequest, Payload};
use teloxide::types::{AllowedUpdate, InputFile};
use teloxide::{ApiError, Bot, RequestError};

use crate::core::chat::SendError;

/// The kinds of update this bot wants. `edited_message` is asked for, so that what Telegram stores for the bot does not
/// change on the day it is needed; it is passed over today.
pub(super) const WANTED: [AllowedUpdate; 4] =
    [AllowedUpdate::Message, AllowedUpdate::EditedMessage, AllowedUpdate::CallbackQuery, AllowedUpdate::MyChatMember];

/// What is read of a message the bot sent. teloxide 0.17 knows Bot API 9.1 and refuses a whole message
/// for one entity it does not know; the send would then look failed and be repeated.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    pub message_id: i64,
}

/// `getUpdates` with every update as it came; see [`updates`].
#[derive(Serialize)]
pub(super) struct NewUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Seconds.
    pub timeout: u64,
    pub allowed_updates: [AllowedUpdate; 4],
}

impl Payload for NewUpdates {
    type Output = Vec<Value>;
    const NAME: &'static str = payloads::GetUpdates::NAME;
}

/// Makes a call and reads of its answer only what `R` names.
pub(super) async fn call<P, R>(bot: &Bot, payload: P) -> Result<R, Fault>
where
    P: Payload + Serialize + 'static,
    R: DeserializeOwned + 'static,
{
    let lean = Lean { payload, answer: PhantomData };
    JsonRequest::new(bot.clone(), lean).await.map_err(Fault::from)
}

/// The same for a call that carries a file.
pub(super) async fn upload<P, R>(bot: &Bot, payload: P) -> Result<R, Fault>
where
    P: MultipartPayload + Serialize + 'static,
    R: DeserializeOwned + 'static,
{
    let lean = Lean { payload, answer: PhantomData };
    MultipartRequest::new(bot.clone(), lean).await.map_err(Fault::from)
}

/// The next updates. One that is not JSON to us (half of a surrogate pair in a text, more nesting than a parser takes) must
/// not hide the others, nor come again for ever: only its `update_id` is left of it.
pub(super) async fn updates(bot: &Bot, asked: NewUpdates) -> Result<Vec<Value>, Fault> {
    JsonRequest::new(bot.clone(), asked).await.or_else(|error| match error {
        RequestError::InvalidJson { raw, source } => {
            one_by_one(&raw).ok_or_else(|| Fault::from(RequestError::InvalidJson { raw, source }))
        }
        other => Err(Fault::from(other)),
    })
}

/// The updates of an answer that cannot be read as a whole; `None` if it is no list of updates.
fn one_by_one(raw: &str) -> Option<Vec<Value>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        result: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Id {
        update_id: i64,
    }
    let Answer { result } = serde_json::from_str(raw).ok()?;
    let updates = result.into_iter().filter_map(|update| {
        serde_json::from_str(update.get()).ok().or_else(|| {
            let Id { update_id } = serde_json::from_str(update.get()).ok()?;
            tracing::warn!(update_id, "telegram: an update that is not JSON was passed over");
            Some(json!({ "update_id": update_id }))
        })
    });
    Some(updates.collect())
}

/// One of teloxide's calls with another type of answer.
#[derive(Serialize)]
#[serde(transparent)]
struct Lean<P, R> {
    payload: P,
    #[serde(skip)]
    answer: PhantomData<fn() -> R>,
}

impl<P: Payload, R> Payload for Lean<P, R> {
    type Output = R;
    const NAME: &'static str = P::NAME;
}

impl<P: MultipartPayload, R> MultipartPayload for Lean<P, R> {
    fn copy_files(&self, into: &mut dyn FnMut(InputFile)) {
        self.payload.copy_files(into);
    }
    fn move_files(&mut self, into: &mut dyn FnMut(InputFile)) {
        self.payload.move_files(into);
    }
}

/// Why a call did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Telegram said no, in these words (the `description`).
    Refused(String),
    RateLimited(Duration),
    /// The group is a supergroup now, with this id.
    Migrated(i64),
    /// No connection: the call was surely not carried out.
    Unreachable,
    /// No answer, or none that can be read: the call may have been carried out.
    Unanswered(&'static str),
}

impl Fault {
    /// Whether the token is wrong: `Unauthorized`, with more words behind if it has not even the form of
    /// one, or `Not Found` from whatever answers in front of the Bot API.
    pub fn is_bad_token(&self) -> bool {
        matches!(self, Fault::Refused(words) if words.starts_with("Unauthorized") || words == "Not Found")
    }

    /// For the operator's log.
    pub fn words(&self) -> String {
        match self {
            // A parse error quotes the text.
            Fault::Refused(words) if words.contains("can't parse entities") => "can't parse entities".to_owned(),
            Fault::Refused(words) => words.chars().take(200).collect(),
            Fault::RateLimited(pause) => format!("too many requests, retry after {} s", pause.as_secs()),
            Fault::Migrated(_) => "the group was upgraded to a supergroup".to_owned(),
            Fault::Unreachable => "no connection".to_owned(),
            Fault::Unanswered(what) => (*what).to_owned(),
        }
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::RetryAfter(seconds) => Fault::RateLimited(seconds.duration()),
            RequestError::MigrateToChatId(chat) => Fault::Migrated(chat.0),
            // teloxide turns both of these words into one variant with words of its own.
            RequestError::Api(ApiError::InvalidToken) => Fault::Refused("Unauthorized".to_owned()),
            RequestError::Api(ApiError::Unknown(words)) => Fault::refused(words),
            RequestError::Api(known) => Fault::refused(known.to_string()),
            RequestError::Network(error) if error.is_connect() => Fault::Unreachable,
            RequestError::Network(error) if error.is_timeout() => Fault::Unanswered("timed out"),
            RequestError::Network(error) if error.is_builder() => Fault::Refused("not a usable API address".to_owned()),
            RequestError::Network(_) => Fault::Unanswered("the connection broke"),
            // An error whose `parameters` teloxide does not know comes out here, too.
            RequestError::InvalidJson { raw, .. } => Fault::from_raw(&raw),
            RequestError::Io(_) => Fault::Refused("the file could not be read".to_owned()),
        }
    }
}

impl Fault {
    fn refused(words: String) -> Self {
        // 5xx: the server cannot tell what became of the call.
        if words.starts_with("Internal Server Error") || words.starts_with("Bad Gateway") {
            Fault::Unanswered("server error")
        } else if let Some(seconds) = words.strip_prefix("Too Many Requests: retry after ") {
            Fault::RateLimited(Duration::from_secs(seconds.trim().parse().unwrap_or(1)))
        } else {
            Fault::Refused(words)
        }
    }

    fn from_raw(raw: &str) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            ok: bool,
            description: Option<String>,
            #[serde(default)]
            parameters: Parameters,
        }
        #[derive(Default, Deserialize)]
        struct Parameters {
            retry_after: Option<u64>,
            migrate_to_chat_id: Option<i64>,
        }
        match serde_json::from_str(raw) {
            Ok(Answer { ok: false, parameters: Parameters { retry_after: Some(seconds), .. }, .. }) => {
                Fault::RateLimited(Duration::from_secs(seconds))
            }
            Ok(Answer { ok: false, parameters: Parameters { migrate_to_chat_id: Some(chat), .. }, .. }) => {
                Fault::Migrated(chat)
            }
            Ok(Answer { ok: false, description: Some(words), .. }) => Fault::refused(words),
            _ => Fault::Unanswered("the answer was not what the Bot API documents"),
        }
    }
}

/// The way of going on after a send or an edit. The words are those of tdlib/telegram-bot-api.
impl From<Fault> for SendError {
    fn from(fault: Fault) -> Self {
        let words = match &fault {
            Fault::Refused(words) => words.as_str(),
            Fault::RateLimited(retry_after) => return SendError::RateLimited { retry_after: *retry_after },
            Fault::Migrated(_) => return SendError::Gone,
            Fault::Unreachable => return SendError::Unreachable(fault.words()),
            Fault::Unanswered(what) => return SendError::Unknown((*what).to_owned()),
        };
        let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if has(&["message is not modified"]) {
            SendError::NotModified
        } else if has(&["can't parse entities"]) {
            SendError::Unparsable
        } else if has(&[
            "message to edit not found",
            "message can't be edited",
            "MESSAGE_ID_INVALID",
            // A message that was sent as a document.
            "there is no text in the message to edit",
            // A text, to a Bot API server that adds no media to one.
            "there is no media in the message to edit",
        ]) {
            SendError::Gone
        } else if words.starts_with("Forbidden")
            // teloxide's words for three of Telegram's 403s
            || words.starts_with("Unauthorized: ")
            || has(&[
                "chat not found",
                "group chat was deactivated",
                "group is deactivated",
                "not enough rights",
                "have no rights",
                "need administrator rights",
                "CHAT_WRITE_FORBIDDEN",
                "CHAT_RESTRICTED",
                "TOPIC_CLOSED",
                "USER_IS_BLOCKED",
                "PEER_ID_INVALID",
            ])
        {
            SendError::Forbidden
        } else {
            SendError::Failed(fault.words())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_json_hides_nothing_else() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for broken in [r#""\ud83d half""#, r#""\udc00\ud83d""#, deep.as_str(), r#"{"a":"\ud83d"}"#, "1e999"] {
            let raw = format!(
                r#"{{"ok":true,"result":[{{"message":{{"text":{broken}}},"update_id":7}},{{"update_id":8,"message":{{"text":"good"}}}}]}}"#
            );
            let read = one_by_one(&raw).expect("a list");
            assert_eq!(
                read,
                [json!({ "update_id": 7 }), json!({ "update_id": 8, "message": { "text": "good" } })],
                "{broken}"
            );
        }
        for no_list in ["", "{}", r#"{"ok":false,"description":"Conflict"}"#, r#"{"ok":true,"result":[{"update_id":7"#]
        {
            assert!(one_by_one(no_list).is_none(), "{no_list}");
        }
    }

    fn read(body: &str) -> SendError {
        let source = std::sync::Arc::new(serde_json::from_str::<u8>("x").unwrap_err());
        Fault::from(RequestError::InvalidJson { source, raw: body.into() }).into()
    }

    #[test]
    fn every_refusal_has_its_way_of_going_on() {
        let failed = |words: &str| SendError::Failed(words.to_owned());
        for (code, words, wanted) in [
            (
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
                SendError::NotModified,
            ),
            (
                400,
                "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 3",
                SendError::Unparsable,
            ),
            (400, "Bad Request: message to edit not found", SendError::Gone),
            (400, "Bad Request: message can't be edited", SendError::Gone),
            (400, "Bad Request: there is no text in the message to edit", SendError::Gone),
            (400, "Bad Request: chat not found", SendError::Forbidden),
            (403, "Forbidden: bot was blocked by the user", SendError::Forbidden),
            (403, "Forbidden: user is deactivated", SendError::Forbidden),
            (403, "Forbidden: bot was kicked from the supergroup chat", SendError::Forbidden),
            (400, "Bad Request: not enough rights to send text messages to the chat", SendError::Forbidden),
            (400, "Bad Request: TOPIC_CLOSED", SendError::Forbidden),
            (400, "Bad Request: message is too long", failed("Bad Request: message is too long")),
            (400, "Bad Request: MESSAGE_TOO_LONG", failed("Bad Request: MESSAGE_TOO_LONG")),
            (400, "Bad Request: BUTTON_DATA_INVALID", failed("Bad Request: BUTTON_DATA_INVALID")),
            (500, "Internal Server Error: restart", SendError::Unknown("server error".to_owned())),
            (429, "Too Many Requests: retry after 7", SendError::RateLimited { retry_after: Duration::from_secs(7) }),
        ] {
            let body = serde_json::json!({"ok": false, "error_code": code, "description": words}).to_string();
            assert_eq!(read(&body), wanted, "{words}");
            // The same words when teloxide could read the answer.
            let api: ApiError = serde_json::from_value(Value::from(words)).unwrap();
            assert_eq!(SendError::from(Fault::from(RequestError::Api(api))), wanted, "{words}");
        }
    }

    #[test]
    fn parameters_win_over_words_and_unknown_ones_do_no_harm() {
        let body = r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":5,"new":1}}"#;
        assert_eq!(read(body), SendError::RateLimited { retry_after: Duration::from_secs(5) });
        let body = r#"{"ok":false,"error_code":400,"description":"x","parameters":{"migrate_to_chat_id":-100}}"#;
        assert_eq!(read(body), SendError::Gone);
        let body = r#"{"ok":false,"error_code":403,"description":"Forbidden: x","parameters":{"new":1}}"#;
        assert_eq!(read(body), SendError::Forbidden);
    }

    #[test]
    fn an_unreadable_answer_is_unknown_and_its_text_stays_out() {
        for body in ["<html>502 private text</html>", r#"{"ok":true,"result":"private text"}"#, ""] {
            let error = read(body);
            assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
            assert!(!format!("{error:?} {error}").contains("private"), "{error:?}");
        }
    }
}
