//! What Discord refuses and how it says so. Owns the documented limits and error bodies (Discord API
//! reference: Create Message, Application Commands, JSON Error Codes); changes nothing.

use serde_json::{Value, json};

/// A refusal: status, and the body.
pub(super) struct No {
    pub status: u16,
    pub body: Value,
}

pub(super) fn no(status: u16, code: u64, message: &str) -> No {
    No { status, body: json!({"message": message, "code": code}) }
}

pub(super) fn unknown_channel() -> No {
    no(404, 10003, "Unknown Channel")
}

pub(super) fn unknown_message() -> No {
    no(404, 10008, "Unknown Message")
}

pub(super) fn invalid(path: &str, code: &str, message: &str) -> No {
    let mut errors = json!({"_errors": [{"code": code, "message": message}]});
    for part in path.rsplit('.') {
        errors = json!({part: errors});
    }
    No { status: 400, body: json!({"message": "Invalid Form Body", "code": 50035, "errors": errors}) }
}

pub(super) fn too_large() -> No {
    no(413, 40005, "Request entity too large")
}

pub(super) fn rate_limited(seconds: f64) -> No {
    let body = json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false, "code": 0});
    No { status: 429, body }
}

/// A new message or an edit (`new` says which): its lengths, its buttons, and that there is something to show.
pub(super) fn message(body: &Value, files: usize, new: bool) -> Result<(), No> {
    if !body.is_object() {
        return Err(no(400, 50109, "The request body contains invalid JSON."));
    }
    let content = body["content"].as_str().unwrap_or("");
    if content.chars().count() > 2000 {
        return Err(invalid("content", "BASE_TYPE_MAX_LENGTH", "Must be 2000 or fewer in length."));
    }
    let empty = |field: &str| body[field].as_array().is_none_or(Vec::is_empty);
    let shown = ["embeds", "components", "sticker_ids"].iter().any(|field| !empty(field));
    let clears = new || body.get("content").is_some();
    if content.trim().is_empty() && files == 0 && !shown && clears {
        return Err(no(400, 50006, "Cannot send an empty message"));
    }
    let nonce = body["nonce"].as_str().map_or_else(|| body["nonce"].to_string().len(), |nonce| nonce.chars().count());
    if !body["nonce"].is_null() && nonce > 25 {
        return Err(invalid("nonce", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length."));
    }
    components(&body["components"])
}

/// Whether a message could mention somebody: then what is wrong with it.
pub(super) fn mentions(body: &Value) -> Option<String> {
    let allowed = &body["allowed_mentions"];
    let nobody = |field: &str| allowed[field].as_array().is_none_or(Vec::is_empty);
    let none = allowed["parse"].as_array().is_some_and(Vec::is_empty) && nobody("users") && nobody("roles");
    (!none || allowed["replied_user"] == true).then(|| format!("a message may mention people: {allowed}"))
}

fn components(rows: &Value) -> Result<(), No> {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.len() > 5 {
        return Err(invalid("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length."));
    }
    let mut ids = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let buttons = row["components"].as_array().map_or(&[][..], Vec::as_slice);
        let path = format!("components.{i}.components");
        if row["type"] != 1 || buttons.is_empty() || buttons.len() > 5 {
            return Err(invalid(&path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length."));
        }
        for (j, button) in buttons.iter().enumerate() {
            let length = |field: &str| button[field].as_str().map_or(0, |text| text.chars().count());
            let path = |field: &str| format!("{path}.{j}.{field}");
            if !(1..=80).contains(&length("label")) {
                return Err(invalid(&path("label"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length."));
            }
            if !(1..=100).contains(&length("custom_id")) {
                return Err(invalid(
                    &path("custom_id"),
                    "BASE_TYPE_BAD_LENGTH",
                    "Must be between 1 and 100 in length.",
                ));
            }
            if ids.contains(&&button["custom_id"]) {
                let message = "Component custom id cannot be duplicated";
                return Err(invalid(&path("custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", message));
            }
            ids.push(&button["custom_id"]);
        }
    }
    Ok(())
}

/// A bulk overwrite of the commands.
pub(super) fn commands(body: &Value) -> Result<(), No> {
    let Some(commands) = body.as_array() else {
        return Err(invalid("0", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"));
    };
    let of_kind = |kind: u64| commands.iter().filter(|command| kind_of(command) == kind).count();
    if of_kind(1) > 100 || of_kind(2) > 15 || of_kind(3) > 15 {
        return Err(no(400, 30032, "Maximum number of application commands reached"));
    }
    for (i, command) in commands.iter().enumerate() {
        self::command(command).map_err(|(field, code, message)| invalid(&format!("{i}.{field}"), code, message))?;
        let same = |other: &Value| kind_of(other) == kind_of(command) && other["name"] == command["name"];
        if commands.iter().filter(|other| same(other)).count() > 1 {
            let message = "Application command names must be unique";
            return Err(invalid(&format!("{i}.name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", message));
        }
    }
    Ok(())
}

pub(super) fn kind_of(command: &Value) -> u64 {
    command["type"].as_u64().unwrap_or(1)
}

type Fault = (String, &'static str, &'static str);

fn command(command: &Value) -> Result<(), Fault> {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let bad_length = |field: &str| (field.to_owned(), "BASE_TYPE_BAD_LENGTH", "Must be within the length limits.");
    let slash = kind_of(command) == 1;
    if !(1..=32).contains(&length(&command["name"])) {
        return Err(bad_length("name"));
    }
    if slash && !is_slash_name(&command["name"]) {
        return Err(("name".to_owned(), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"));
    }
    if slash != (1..=100).contains(&length(&command["description"])) {
        return Err(bad_length("description"));
    }
    let options = command["options"].as_array().map_or(&[][..], Vec::as_slice);
    if options.len() > 25 || (!slash && !options.is_empty()) {
        return Err(bad_length("options"));
    }
    let mut size = length(&command["name"]) + length(&command["description"]);
    let mut optional_before = false;
    for (i, option) in options.iter().enumerate() {
        let path = |field: &str| format!("options.{i}.{field}");
        if !is_slash_name(&option["name"]) || !(1..=32).contains(&length(&option["name"])) {
            return Err((path("name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"));
        }
        if !(1..=100).contains(&length(&option["description"])) {
            return Err(bad_length(&path("description")));
        }
        if option["max_length"].as_u64().is_some_and(|max| !(1..=6000).contains(&max)) {
            return Err((path("max_length"), "NUMBER_TYPE_MAX", "int value should be less than or equal to 6000."));
        }
        let required = option["required"] == true;
        if required && optional_before {
            let message = "Required options must be placed before non-required options";
            return Err((path("required"), "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message));
        }
        optional_before |= !required;
        size += length(&option["name"]) + length(&option["description"]);
    }
    if size > 8000 {
        return Err(bad_length("options"));
    }
    let within = |field: &str, max: u64| {
        command[field].as_array().is_none_or(|all| all.iter().all(|one| one.as_u64().is_some_and(|n| n <= max)))
    };
    match (within("contexts", 2), within("integration_types", 1)) {
        (true, true) => Ok(()),
        (false, _) => Err(("contexts".to_owned(), "BASE_TYPE_CHOICES", "Value must be one of {0, 1, 2}.")),
        (_, false) => Err(("integration_types".to_owned(), "BASE_TYPE_CHOICES", "Value must be one of {0, 1}.")),
    }
}

/// `^[-_'\p{L}\p{N}]{1,32}$`, in lower case (Discord API reference, Application Command Naming).
fn is_slash_name(name: &Value) -> bool {
    let allowed = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '-' | '_' | '\'');
    name.as_str().is_some_and(|name| !name.is_empty() && name.chars().all(allowed))
}
