### Every sentence of the bot's own, in English, which is the reference for every other language.
###
### The program formats every placeable (seconds, dates, money, names); a sentence never does. `$eta` and `$wait` include
### "about". `listed` at the end of an id is the short form, for a list of several reels. Italics
### of notes are added by the program. One word for one thing: queue, position, watch, lane, limit, budget, owner, admin,
### server (Discord), group (Telegram), blocked, invitation.

## Times

duration-few-seconds = a few seconds
duration-about = about { $span }
duration-range = { $from }–{ $to } s
duration-milliseconds = { $count } ms
duration-seconds = { $count } s
duration-minutes = { $count } min
duration-minutes-seconds = { $minutes } min { $seconds } s
duration-days = { $count } d
duration-hours-minutes = { $hours } h { $minutes } min

## The queue

queue-position =
    { $position ->
        [1] ⏳ You're next in the queue, { $eta } to go.
       *[other] ⏳ You're number { $position } in the queue, { $eta } to go.
    }
queue-position-listed =
    { $position ->
        [1] ⏳ { $reel }: next in the queue, { $eta } to go.
       *[other] ⏳ { $reel }: number { $position } in the queue, { $eta } to go.
    }
# Second sentence, after either form of the position.
queue-slow = One of my reel services isn't responding, so this takes longer than usual.
# The time runs until the coaching begins, not until the reel starts.
queue-spaced = ⏳ Next up: your reel starts soon, { $eta } to go.
queue-spaced-listed = ⏳ { $reel }: next up, { $eta } to go.
queue-retry-now = 🔁 That didn't work. Trying again now, { $eta } to go.
queue-retry-now-listed = 🔁 { $reel }: that didn't work. Trying again now, { $eta } to go.
queue-retry-later = 🔁 That didn't work. Next try in { $wait }, { $eta } to go.
queue-retry-later-listed = 🔁 { $reel }: that didn't work. Next try in { $wait }, { $eta } to go.
queue-paused = ⏸️ Reels are paused for now. You're number { $position } and you keep your position.
queue-paused-listed = ⏸️ { $reel }: paused. It stays number { $position }.
queue-trouble-now = ⚠️ The reel services aren't responding, so I'm trying them again now. You're still number { $position }.
queue-trouble-now-listed = ⚠️ { $reel }: the reel services aren't responding. Trying again now; it stays number { $position }.
queue-trouble-later = ⚠️ The reel services aren't responding. I'll try again in { $wait }. You're still number { $position }.
queue-trouble-later-listed = ⚠️ { $reel }: the reel services aren't responding. Next try in { $wait }; it stays number { $position }.
queue-fetching = 🔎 Getting your reel from Instagram, { $eta } to go.
queue-fetching-listed = 🔎 { $reel }: getting it from Instagram, { $eta } to go.
queue-fetching-late = 🔎 Still getting your reel from Instagram. It's taking longer than usual, but I'm on it.
queue-fetching-late-listed = 🔎 { $reel }: still getting it from Instagram. It's taking longer than usual.
queue-watching = 🎬 Watching your reel, { $eta } to go.
queue-watching-listed = 🎬 { $reel }: watching it, { $eta } to go.
queue-watching-late = 🎬 Still watching your reel. It's taking longer than usual, but I'm on it.
queue-watching-late-listed = 🎬 { $reel }: still watching it. It's taking longer than usual.
queue-writing = ✍️ Watched it! Writing your coaching…
queue-writing-listed = ✍️ { $reel }: watched. Writing your coaching…
queue-done = ✅ Done.
queue-done-listed = ✅ { $reel }: done.
queue-failed = ❌ I couldn't watch your reel: { $reason }
queue-failed-listed = ❌ { $reel }: { $reason }
queue-cancelled = Cancelled.
queue-cancelled-listed = { $reel }: cancelled.
button-cancel = Cancel

queue-several = { $count } new reels. They start { $interval } apart, so everyone gets a turn.
queue-several-unspaced = { $count } new reels. They start as soon as there's room.
# A reel of several that was denied, or is known to fail.
queue-line = { $reel }: { $sentence }
queue-left-out =
    I take { $limit } reels per message. { $count ->
        [one] I left one out. Send it again later.
       *[other] I left { $count } out. Send them again later.
    }
queue-denied-draining = I'm not taking new reels right now (maintenance). Reels already in the queue will still be done. Please send this one again later.
queue-denied-waiting =
    { $limit ->
        [one] You already have one reel waiting, which is the most I can hold for you. Try again in { $wait }.
       *[other] You already have { $limit } reels waiting, which is the most I can hold for you. Try again in { $wait }.
    }
queue-denied-full = The queue is full. Try again in { $wait }.
queue-fresh-admins-only = Only the bot's admins can have a reel watched again. Without “fresh” you get what I already have, right away.

queue-status = { $working } in progress, { $waiting } waiting. A reel takes { $eta }.
queue-status-empty = The queue is empty. A reel takes { $eta }.
queue-none-yours = You have no reels in the queue.

cancel-nothing = Nothing to cancel: you have no reels in the queue.
cancel-done =
    { $count ->
        [one] Cancelled { $reel }.
       *[other] Cancelled { $count } reels.
    }
cancel-not-in-queue = { $reel } isn't in the queue.
cancel-not-yours = Nothing to cancel here. Only the person who sent the reel can cancel it, and only while it's waiting.
cancel-blocked = You no longer have access to this bot, so your waiting reels were cancelled.
cancel-blocked-result = This reel was cancelled because you no longer have access to this bot.

## Reels

reel-unavailable = I can't see this reel. It's private, deleted or restricted. If it's yours, make the account public or paste its text here.
reel-unavailable-listed = private, deleted or restricted.
reel-not-video = There's no video in this post, so there's nothing for me to watch. Paste a reel link instead.
reel-not-video-listed = no video in this post.
reel-too-long = This video is { $length } long, which is more than I can watch. Try a shorter one.
reel-too-long-unknown = This video is longer than I can watch. Try a shorter one.
reel-too-long-listed = longer than I can watch.
reel-too-large = This video's file is too big for me. Try a shorter one.
reel-too-large-listed = file too big.
reel-blocked = The reel service won't describe this video, so I can't coach you on it. Tell me what happens in it and we'll work from that.
reel-blocked-listed = the reel service won't describe it.
reel-unreadable = I couldn't make sense of this video. Try another one, or tell me what happens in it.
reel-unreadable-listed = I couldn't make sense of it.
reel-busy = The reel services are overloaded right now. Please send the link again in a few minutes.
reel-busy-listed = the reel services are overloaded. Send it again in a few minutes.
reel-timeout = This reel took too long, so I stopped. Please send it again in a few minutes.
reel-timeout-listed = it took too long. Send it again in a few minutes.
reel-download = I couldn't download this video. Please send the link again in a few minutes.
reel-download-listed = I couldn't download it. Send it again in a few minutes.
reel-no-video-address = Instagram didn't give me a video for this reel. Try another one.
reel-no-video-address-listed = Instagram didn't give me a video.
reel-foreign-address = This video is stored somewhere I'm not allowed to download from. Try another one.
reel-foreign-address-listed = stored somewhere I'm not allowed to download from.
reel-language = I can't process the language of this video yet. Tell me what's said and we'll work from that.
reel-language-listed = I can't process its language yet.
reel-day-quota = I've watched as many reels as the reel service allows in a day. Please send the link again after { $resets }.
reel-day-quota-listed = the reel service's daily limit is used up.
reel-out-of-credit = I can't watch reels right now: the reel service is out of credit. The bot's owner needs to fix this.
reel-out-of-credit-listed = the reel service is out of credit.
reel-misconfigured = I can't watch reels right now: the reel service isn't set up correctly. The bot's owner needs to fix this.
reel-misconfigured-listed = the reel service isn't set up correctly.
reel-no-room = I couldn't watch this reel: I'm out of disk space. The bot's owner needs to fix this.
reel-no-room-listed = I'm out of disk space.
reel-cancelled = This reel was cancelled.
reel-cancelled-listed = cancelled.
# Everyone who waits for the reel reads this, not only the person whose budget it was.
reel-budget-other = I couldn't finish this reel: { mark-other-payer } ran out of budget. Paste it again and it will run on yours; `/me` shows what you have left.
reel-budget-bot = I couldn't watch this reel. { $why }
reel-budget-listed = not enough budget left for it.
# Remembered by a newer version of the program.
reel-failed = I couldn't watch this reel. Please try again later.
reel-failed-listed = I couldn't watch it. Please try again later.

transcript-title = **Transcript** of { $reel }
transcript-title-creator = **Transcript** of { $reel } by { $creator }
transcript-no-speech = (no one speaks)
transcript-more = …

## Links

# Second sentence of the next six.
link-how = Open the reel itself, tap Share → Copy link and paste it here (instagram.com/reel/…).
link-story = Stories disappear and need a login, so I can't watch them. { link-how }
link-highlight = Highlights need a login, so I can't watch them. { link-how }
link-profile = That's a profile, not a reel. { link-how }
link-audio = That's an audio page, not a reel. { link-how }
link-explore = That's a search page, not a reel. { link-how }
link-other = I can't open that Instagram page. { link-how }
link-incomplete = That link looks incomplete or mistyped. Copy it again: tap Share → Copy link on the reel.
link-share-lost = I can't tell where this share link leads. Open it and copy the address of the reel itself (instagram.com/reel/…).
link-missing = I don't see a reel link there. Paste one like https://www.instagram.com/reel/DLlGZiCOBQ0/

## Coaching

chat-here = I'm here! Ask me anything about your content, or paste a reel link.
chat-attachment-only = I can't open photos, voice notes or files yet. Paste a reel link, or just tell me what you're working on.
chat-file-beside =
    { $count ->
        [one] I can't open the attachment you sent, so this is based on your words alone.
       *[other] I can't open the { $count } attachments you sent, so this is based on your words alone.
    }
chat-in-demand = Lots of people are asking right now. Your answer starts in { $eta }.
chat-crowded = I'm swamped right now, { mark-crowded } { $wait }.
chat-from-memory = I've answered this one before, so this was instant. Tap for a fresh take.
button-fresh = Fresh answer
button-try-again = Try again
try-again-gone = I don't have that message anymore. Please send it again.
try-again-not-yours = That's someone else's question, so only they can ask it again. Send me your own.
answer-too-long = That's as long as I can go in one answer. Say “continue” for the rest.
answer-broke-off = My answer broke off here ({ $reference }). Say “continue” and I'll pick it up.
answer-broke-off-because = My answer broke off here.
answer-stopped-by-service = The AI service stopped my answer here ({ $reference }). Try putting it another way.
answer-repeated = ({ mark-repeated } I was interrupted while sending.)
memory-new = Fresh start! I've set our conversation aside. What are you working on?
memory-new-already = We're already on a fresh start. What are you working on?
memory-empty = This conversation is new, so there's nothing to remember yet.
memory-lines =
    This conversation started on { $date }. { $count ->
        [0] I remember it only by my summary.
        [one] I remember the last message word for word.
       *[other] I remember the last { $count } messages word for word.
    }
memory-summary = Here's my summary of what came before:
memory-reset = `/new` starts a new conversation.
unknown-command = I don't know `/{ $name }`. `/help` lists what I can do.

## When something fails

error-reference = { $sentence } ({ $reference })
error-busy = { mark-overloaded } Please try again in a minute.
error-busy-wait = { mark-overloaded } Please try again in { $wait }.
error-busy-until = { mark-overloaded } Please try again after { $until }.
error-daily-quota = { mark-daily-quota } Please try again after { $until }.
error-unfinished = The AI service didn't finish its answer. Please try again.
error-unreadable = The AI service sent back something I couldn't read. Please try again.
error-out-of-credit = I can't answer right now: the AI service is out of credit. The bot's owner needs to fix this.
error-misconfigured = I can't answer right now: the AI service isn't set up correctly. The bot's owner needs to fix this.
error-declined = The AI service won't answer that one. Try putting it another way.
error-context = This conversation has grown too long for me. Start fresh with `/new`, or send a shorter message.
error-answer-too-long = That needs a longer answer than I can give at once. Ask for one part of it.
error-cancelled = I stopped before I could answer. Please ask again.
error-no-room = I'm out of disk space. The bot's owner needs to fix this.
error-internal = Something went wrong on my side. Please try again. If it keeps happening, send the bot's owner this: { $reference }.
error-not-saved = I couldn't save that just now, so nothing was started. Please try again in a minute.
error-late = I'm having trouble on my side, so this will take longer. Your message is safe and the answer is coming.
error-outdated-command = This command has changed. Please restart Discord and try again.

## Words by which the load test recognises what it reads on a screen. The sentences above and below share them.

mark-reference = reference { $reference }
mark-crowded = so I haven't started on this. Please ask again in
mark-overloaded = The AI service is overloaded right now.
mark-daily-quota = I've used up today's allowance at the AI service.
mark-still = Until then you can still get
mark-other-payer = the person who sent it first
mark-repeated = Seeing this twice?
mark-too-fast = You're sending faster than I can answer

## Budgets

budget-used-up =
    { $scope ->
        [person] You've used up your budget.
        [chat] This chat's budget is used up.
        [server] This server's budget is used up.
       *[bot] My budget is used up.
    }
budget-not-enough =
    { $scope ->
        [person] You don't have enough budget left for this answer.
        [chat] This chat doesn't have enough budget left for this answer.
        [server] This server doesn't have enough budget left for this answer.
       *[bot] I don't have enough budget left for this answer.
    }
budget-not-enough-reel =
    { $scope ->
        [person] You don't have enough budget left for a reel.
        [chat] This chat doesn't have enough budget left for a reel.
        [server] This server doesn't have enough budget left for a reel.
       *[bot] I don't have enough budget left for a reel.
    }
budget-resets = It resets on { $resets }.
budget-still = { mark-still } `/help` and the transcripts of reels I've already watched.
budget-saving =
    { $scope ->
        [person] You've used { $percent }% of your budget, so my answers are shorter and simpler until { $resets }.
        [chat] This chat has used { $percent }% of its budget, so my answers are shorter and simpler until { $resets }.
        [server] This server has used { $percent }% of its budget, so my answers are shorter and simpler until { $resets }.
       *[bot] I've used { $percent }% of my budget, so my answers are shorter and simpler until { $resets }.
    }
budget-saving-left =
    { $scope ->
        [person] You don't have enough budget left for my usual answer, so this one is simpler.
        [chat] This chat doesn't have enough budget left for my usual answer, so this one is simpler.
        [server] This server doesn't have enough budget left for my usual answer, so this one is simpler.
       *[bot] I don't have enough budget left for my usual answer, so this one is simpler.
    }
budget-nearly-used = You've used { $percent }% of today's budget. It resets on { $resets }; see `/me`.

me-budget =
    { $span ->
        [day] **Today** you have { $left } of { $cap } left. It resets on { $resets }.
       *[month] **This month** you have { $left } of { $cap } left. It resets on { $resets }.
    }
# Behind the line above, while calls for this person are in progress.
me-set-aside = That already leaves out { $amount } set aside for what I'm working on.
me-no-budget = You have no budget limit.
me-waiting =
    { $count ->
        [0] You have no reels in the queue.
        [one] You have one reel in the queue; `/queue` shows where.
       *[other] You have { $count } reels in the queue; `/queue` shows where.
    }
me-next-now = You can send a new reel now.
me-next-later = Your next new reel can start in { $wait }.
me-limits = One new reel every { $interval }, up to { $waiting } waiting. Reels I've already watched are free.
me-limits-no-spacing = New reels start as soon as a lane is free, up to { $waiting } waiting. Reels I've already watched are free.
me-activity =
    { $span ->
        [day] Today: { count-messages }, { count-reels }.
       *[month] This month: { count-messages }, { count-reels }.
    }
me-account = Your ID here is `{ $account }`.
ask-in-private = Ask me in a direct message: here everyone would see it.

count-messages =
    { $messages ->
        [one] 1 message
       *[other] { $messages } messages
    }
count-reels =
    { $reels ->
        [one] 1 reel
       *[other] { $reels } reels
    }

## Limits

slow-down = { mark-too-fast }, so I skipped that one. Send it again in { $wait }.

## Access

access-blocked = You don't have access to this bot: its admins have blocked you. If that's a mistake, contact the bot's owner.
access-blocked-here = You don't have access to this bot in this server.
access-not-here = I'm not set up to talk here.
access-other-channel = I don't talk in this channel. Try { $channels }.
access-private = This bot is private. Use it in a server or group it belongs to, or ask its owner for access.
access-invite-only = This bot is invite-only. If you have an invitation link, open it. If you have a code, send `/start` and the code. You can get one from the bot's owner.
access-bad-code = This invitation doesn't work. It may be used up, expired, revoked or mistyped. Ask the person who gave it to you for a new one.
access-anonymous = I can't tell who's writing, so I can't answer. Turn off “Remain anonymous” for your admin role, or write as yourself.
access-channel-post = I only answer people, not channel posts. Write to me in the group or in a direct message.
access-paused = I'm taking a break. Reels in the queue keep their position. Please write again a little later.
access-paused-because = I'm taking a break ({ $reason }). Reels in the queue keep their position. Please write again a little later.

## Start and help

start = Hi! I'm a coach for creators. Paste an Instagram reel link and I'll watch it and coach you on the hook, structure, pacing, call to action and caption. Or just tell me what you're working on.
help = Paste an Instagram reel link and I'll watch it and coach you. Or ask me about your hooks, scripts, captions and ideas.
help-command = `/{ $usage }`: { $meaning }
help-admin = Admin commands:
help-spacing = You can send one new reel every { $interval }. Reels I've already watched come back instantly, and for free.
help-no-spacing = Reels I've already watched come back instantly, and for free.

## Menus: descriptions of commands. At most 100 characters.

cmd-coach = Ask your coach anything about your content
cmd-reel = Get a reel watched and coached
cmd-queue = See where your reels are in the queue
cmd-me = Your usage and what you have left
cmd-cancel = Cancel the reels you're waiting for
cmd-new = Start a new conversation
cmd-history = See what I remember of this conversation
cmd-help = See what I can do
cmd-usage = Messages, reels and response times
cmd-cost = What it cost, and the forecast for this month
cmd-budget = View or set budgets
cmd-capacity = How loaded each part is, and what to change
cmd-limits = View or set limits
cmd-block = Block a person
cmd-unblock = Give a blocked person access again
cmd-blocked = See who is blocked
cmd-invite = Create an invitation
cmd-invites = View or revoke open invitations
cmd-pause = Pause the whole bot
cmd-resume = Resume the bot
cmd-audit = See what admins have changed

## Menus: Discord's options and choices. At most 100 characters.

opt-coach-text = Your question or text
opt-reel-url = Link to the reel
opt-reel-fresh = Watch it again instead of using the earlier result (admins)
opt-cancel-url = Only this reel, by its link. Leave empty to cancel all of yours
opt-queue-action = Leave empty to see the queue. Admins can pause, resume or drain it
opt-queue-lane = Only this lane, for example direct:0. Leave empty for all (admins)
opt-period = today, week, month, year, 7d, 2026-10 or 2026-10-01..2026-10-31. Default: this month
opt-by = What to group by. Default: model
opt-csv = Get every row as a file
opt-budget-change = For example: here month 5, or person @somebody day 2. Leave empty to view
opt-limits-change = For example: spacing 60. Leave empty to view
opt-person = Who: a mention, or an ID like telegram:42
opt-block-reason = Why. Only admins see this
opt-invite-uses = How many people can use it. Default: 1
opt-invite-days = How many days it's valid. Default: 7
opt-invites-revoke = Name or code to revoke. Leave empty to list them
opt-pause-reason = Why. Everyone who writes sees this
opt-audit-days = Only the last N days
opt-audit-page = Page. 1 is the newest
choice-pause = Pause
choice-resume = Resume
choice-drain = Drain (take no new reels)
# In the menu of a message. At most 32 characters.
menu-reel = Coach this reel

## Answers to admins. English only: no other language has the messages from here to the dashboard.

admin-only = Only the bot's admins can see that.
admin-whole-bot = That affects the whole bot, so only its own admins can do it.
pause-set = Paused. Everyone but admins now reads: “{ $notice }” Reels in progress finish; the rest keep their position. `/resume` to go on.
pause-resumed = Resumed.
pause-none = I wasn't paused.
block-set = Blocked: `{ $account }`.
block-set-here = Blocked in this server: `{ $account }`.
block-reels =
    { $count ->
        [one] Their waiting reel was cancelled.
       *[other] Their { $count } waiting reels were cancelled.
    }
block-undo = `/unblock { $account }` gives access back.
block-removed = `{ $account }` has access again.
block-removed-here = `{ $account }` has access again in this server.
block-not-set = `{ $account }` wasn't blocked with `/block`. If the configuration blocks them, change it there and restart.
block-not-set-here = `{ $account }` wasn't blocked in this server with `/block`. If the configuration blocks them, change it there and restart.
block-refused = `{ $account }` is an admin or you. You can't block them.
person-unknown = I don't know who “{ $name }” is. Use an ID like `telegram:42` (everyone sees theirs in `/me`), or mention them on Discord.
person-ambiguous = More than one person may be called “{ $name }”. Use the ID: { $accounts }.
person-or = or
person-usage = Name a person: `/block telegram:42 spam`, `/block @mention`, `/unblock discord:80351110224678912`.
blocked-none = Nobody is blocked.
blocked-none-here = Nobody is blocked in this server.
blocked-line = `{ $accounts }`, since { $date } by `{ $admin }`
blocked-line-server = `{ $accounts }` in server { $server }, since { $date } by `{ $admin }`
blocked-hint = `/unblock` and the ID gives access back.
invite-created =
    { $uses ->
        [one] An invitation for one person, valid until { $until }. I don't store the code, so this is the only time you'll see it.
       *[other] An invitation for { $uses } people, valid until { $until }. I don't store the code, so this is the only time you'll see it.
    }
invite-revoke-hint = `/invites revoke { $name }` takes it back.
invite-link = https://t.me/{ $bot }?start={ $code }
invite-telegram = On Telegram: `/start { $code }`
invite-telegram-too = Or on Telegram: `/start { $code }`
invites-none = There are no open invitations. `/invite 5 14` creates one for 5 people, valid 14 days.
invites-line =
    { $uses ->
        [one] `{ $name }`: 1 use left, until { $until }; created { $date } by `{ $admin }`
       *[other] `{ $name }`: { $uses } uses left, until { $until }; created { $date } by `{ $admin }`
    }
invites-more = Showing the { $count } that end first.
invites-hint = `/invites revoke` and the name or code takes one back. People who already joined with it stay.
invite-revoked = Invitation `{ $name }` no longer works. People who already joined with it stay; `/block` removes someone.
invite-not-found = No open invitation has that name or code. `/invites` lists them.
invites-usage = `/invites` lists open invitations; `/invites revoke NAME` takes one back.
invite-usage = How many people, for how many days? `/invite 5 14` (1 to 10,000; 1 to 365). `/invite` alone: one person, 7 days.
limits-spacing =
    { $seconds ->
        [0] no wait between new reels
       *[other] one new reel every { $seconds } s per person
    }
limits-waiting =
    { $count ->
        [one] 1 new reel may wait per person
       *[other] { $count } new reels may wait per person
    }
limits-queue =
    { $count ->
        [one] 1 reel may wait in all
       *[other] { $count } reels may wait in all
    }
limits-set-mark = (set in chat)
limits-blocked =
    { $count ->
        [0] Nobody is blocked.
        [one] One person is blocked (`/blocked`).
       *[other] { $count } people are blocked (`/blocked`).
    }
limits-hint = `/limits spacing 60` sets a limit; `/limits spacing default` goes back to the configured one.
limit-set-spacing =
    { $value ->
        [0] Done: no wait between new reels.
       *[other] Done: one new reel every { $value } s per person.
    }
limit-set-waiting =
    { $value ->
        [one] Done: up to 1 new reel may wait per person.
       *[other] Done: up to { $value } new reels may wait per person.
    }
limit-set-queue =
    { $value ->
        [one] Done: up to 1 reel may wait in all.
       *[other] Done: up to { $value } reels may wait in all.
    }
limit-reset = Done: `{ $limit }` is back to what the configuration says.
limits-usage = Name a limit and a number: `/limits spacing 60` (0 to 3600 s), `/limits waiting 5` (1 to 100), `/limits queue 500` (1 to 100,000), or `default`.
budget-own-only-lower = The bot's owner pays, so you can only lower this server's budget. The most you can set is { $cap }.
budget-own-only = You can set this server's budget: `/budget here month 5`.
audit-line = { $at }, `{ $admin }`: { $change }
audit-empty =
    { $page ->
        [1] No admin has changed anything yet.
       *[other] There's nothing on page { $page }.
    }
audit-more = `/audit { $next }` shows older changes, `/audit 7d` the last week's.
audit-usage = Name a page, a number of days, or both: `/audit 2`, `/audit 7d`, `/audit 30d 2`.
budget-table-owner =
    { $scope ->
        [platform] this platform
        [server] this server
        [chat] this chat
        [person] you
       *[bot] the bot
    }
budget-table-of = of
budget-table-aside = set aside
budget-set-elsewhere =
    { $span ->
        [day] set in chat: { $budget }, a day: { $cap }
       *[month] set in chat: { $budget }, a month: { $cap }
    }
budget-set-by-managers =
    { $span ->
        [day] set in chat by the server's managers: { $budget }, a day: { $cap }
       *[month] set in chat by the server's managers: { $budget }, a month: { $cap }
    }
budget-no-limit = no limit
budget-name =
    { $scope ->
        [each-platform] each platform
        [each-server] each server
        [each-chat] each chat
        [each-person] each person
        [platform] { $name }
        [server] server { $name }
        [chat] chat { $name }
        [person] { $name }
       *[bot] the whole bot
    }
budget-set =
    { $span ->
        [day] Done: { $cap } a day for { $budget }.
       *[month] Done: { $cap } a month for { $budget }.
    }
budget-set-none =
    { $span ->
        [day] Done: no daily limit for { $budget }.
       *[month] Done: no monthly limit for { $budget }.
    }
budget-usage = Whose budget, `day` or `month`, and dollars or `none`: `/budget bot month 100`, `/budget person day 0.50`, `/budget here month none`, `/budget person telegram:42 day 2`. Platforms, servers and chats have months only.
lanes-working = { $phase } { $reel } for { $seconds } s
lanes-working-paused = { $phase } { $reel } for { $seconds } s, then paused
lanes-paused-state = paused
lanes-free = free
lanes-testing = testing again
lanes-out = out of use, next try in { $seconds } s
lanes-last-failure = last failed { $ago } ago: { $cause } ({ $reference })
lanes-longest-wait = Longest wait right now: { $wait }.
lanes-draining = **Draining: finishing the queue, taking no new reels.**
lanes-hint = `/queue pause` and `/queue resume` (one lane or all), `/queue drain` (take no new reels).
lanes-failures = **Latest failures**
lanes-failure-line = { $reel }, { $ago } ago: { $sentence }
lanes-paused = Paused: { $lanes }. Reels in progress finish; the queue waits. `/queue resume` to go on.
lanes-resumed = Resumed: { $lanes }.
lanes-resumed-all = Resumed: { $lanes }. New reels are welcome again.
lanes-drain = Draining: no new reels from now on. The queue finishes. `/queue resume` to reopen it.
queue-usage = `/queue`, `/queue pause`, `/queue resume` (one lane or all), `/queue drain`. Lanes: { $lanes }.
phase-fetching = fetching
phase-watching = watching

## Reports on usage and cost

report-title-usage = **Usage, { $period }**
report-title-usage-server = **Usage of this server, { $period }**
report-title-cost = **Cost, { $period }**
report-title-cost-server = **Cost of this server, { $period }**
report-period = { $days }, UTC
report-period-running = { $days } so far, UTC
report-answered = Answered: { count-messages }, { count-reels }
report-undelivered = { $count } couldn't be delivered
report-sources = Answers: { $sources }
report-source-model = { $count } from the model
report-source-memory = { $count } from memory
report-source-own = { $count } ready-made
report-source-failures =
    { $count ->
        [one] 1 failure
       *[other] { $count } failures
    }
report-reels = Reels sent: { $new } new, { $joined } joined, { $cached } already watched
report-reels-known-failing = { $count } known to fail
report-reels-share = ({ $share } free)
report-reels-refused = { $count } refused
report-reels-refused-alone = Reels refused: { $count }
report-first-text = First text: median { $p50 }, 95% within { $p95 }
report-whole-answer = Whole answer: median { $p50 }, 95% within { $p95 }
report-queue-wait = Queue wait: median { $p50 }, 95% within { $p95 }
report-success = Succeeded: { $shares }
report-success-calls = { $share } of calls
report-success-tools = { $share } of tool calls
report-tokens = Tokens: { $input } in, { $output } out
report-tokens-cached = Tokens: { $input } in ({ $cached } cached), { $output } out
report-cost =
    { $calls ->
        [one] Cost: { $amount } in 1 paid call
       *[other] Cost: { $amount } in { $calls } paid calls
    }
report-cost-per-day = { $amount } a day
report-estimated = Estimated: { $amount } of that, until the provider reports it
report-set-aside = Set aside: { $amount } for calls in progress
report-forecast = Forecast: { $forecast }
report-forecast-amount =
    { $basis ->
        [0] { $amount } by { $by }, at { $per_day } a day (today so far)
        [1] { $amount } by { $by }, at { $per_day } a day (yesterday)
       *[other] { $amount } by { $by }, at { $per_day } a day (last { $basis } days)
    }
report-average = Average: { $parts }
report-average-answer = { $amount } per model answer
report-average-reel = { $amount } per new reel
report-saved = Saved: { $parts }
report-saved-cached = { $share } of input was cached
report-saved-reels = { $share } of reels were free
report-head-calls = calls
report-head-in = in
report-head-out = out
report-head-cost = cost
report-more = and { $count } more
report-precision = Times are accurate to within { $percent }%.
report-usage = Name a period and what to group by, for example `/cost 7d by tool`. Periods: { $periods }. Group by: { $groups }. Add `csv` for a file.

## Capacity

capacity-title =
    { $days ->
        [one] **Capacity**, based on the last day:
       *[other] **Capacity**, based on the last { $days } days:
    }
capacity-title-scenarios = **Capacity** of three example communities (small, growing, viral). There isn't enough usage yet to plan from yours:
capacity-part-lanes = Lanes
capacity-part-requests = OpenAI requests/min
capacity-part-tokens = OpenAI tokens/min
capacity-part-tokens-a-day = OpenAI tokens/day
capacity-part-spending = OpenAI spending limit
capacity-part-processor = Bot: CPU
capacity-part-turns = Bot: parallel answers
capacity-part-database = Database
capacity-row-reel = Reel, median
capacity-row-reel-high = Reel, 95%
capacity-row-first-text = First text, 95%
capacity-row-free = Free reels
capacity-row-cost = Cost a month
capacity-row-break-even = Break-even, people
capacity-no-limit = no limit
capacity-watch = { $percent } watch
capacity-over = { $percent } OVER
capacity-bottleneck = { $plan }: { $part } at { $percent }
capacity-advice = cheapest fix: { $change } ({ $effect })
capacity-no-advice = nothing I tried is enough
capacity-change-lanes =
    { $count ->
        [one] one more direct lane
       *[other] { $count } more direct lanes
    }
capacity-change-webhooks =
    { $count ->
        [one] one more n8n webhook
       *[other] { $count } more n8n webhooks
    }
capacity-change-tier = OpenAI tier { $tier }
capacity-change-model = { $model } as the coach's model
capacity-change-instances =
    { $count ->
        [one] one more instance on PostgreSQL
       *[other] { $count } more instances on PostgreSQL
    }
capacity-change-postgres = PostgreSQL instead of SQLite
capacity-effect-free = no extra cost
capacity-effect-more = +{ $amount } a month
capacity-effect-less = saves { $amount } a month
capacity-effect-paid = once you've paid { $amount } in total
capacity-effect-load = load { $percent }
capacity-also = Also near or over the limit: { $parts }
capacity-also-part = { $part } at { $percent }
capacity-fine = Nothing runs short.
capacity-basis =
    { $days ->
        [one] at the busiest moment, based on the last day
       *[other] at the busiest moment, based on the last { $days } days
    }
capacity-basis-scenarios = at the busiest moment, in three example communities

## Alerts

alert-title-cpu = CPU
alert-title-memory = Memory
alert-title-first-text = Response time
alert-title-tokens = OpenAI tokens today
alert-title-rate-limits = Rate limits
alert-title-cost = Cost today
alert-title-lane-out = Lane
alert-title-lane-slow = Reel time
alert-title-queue-length = Queue length
alert-title-queue-wait = Queue wait
alert-title-tools = Tool calls
alert-title-instance = Instance
alert-title-clock = Clock
alert-title-disk = Disk
alert-title-n8n = n8n ({ $lane })

alert-raised = ⚠️ **{ $title }**: { $sentence }
alert-cleared = ✅ **{ $title }**: { $sentence }
alert-in-use-cpu = { $value } in use (limit { $limit }). Give it more cores, start another instance or lower `MAX_TURNS`.
alert-in-use-memory = { $value } in use (limit { $limit }). Give it more memory or lower `MAX_TURNS`.
alert-first-text = 95% of answers started within { $value } over the last 10 min (limit { $limit }). Check OpenAI's status. A lower `COACH_EFFORT` or a faster `COACH_MODEL` starts sooner.
alert-tools = only { $value } succeeded over the last 10 min (limit { $limit }). Search the log for “a tool failed”: it names the tool and the cause.
alert-queue-length =
    { $count ->
        [one] 1 reel is waiting (limit { $limit }). Add lanes with `REEL_LANES` or `N8N_WEBHOOK_URLS`. `/queue` shows the lanes.
       *[other] { $count } reels are waiting (limit { $limit }). Add lanes with `REEL_LANES` or `N8N_WEBHOOK_URLS`. `/queue` shows the lanes.
    }
alert-queue-wait = the first reel in the queue has waited { $value } (limit { $limit }). Add lanes with `REEL_LANES` or `N8N_WEBHOOK_URLS`. `/queue` shows the lanes.
alert-lane-out = out of use. I'm trying it again on my own; `/queue` shows when.
alert-lane-out-cause = out of use after { $cause } (reference { $reference }). I'm trying it again on my own; `/queue` shows when.
alert-lane-out-provider = out of use after { $provider }: { $cause } (reference { $reference }). I'm trying it again on my own; `/queue` shows when.
alert-lane-slow = reels take { $value } of the usual time (limit { $limit }). Check the status of Apify, Gemini or your n8n. `/queue` shows the lanes.
alert-lane-slow-times = a reel takes { $latest }, usually { $usual } ({ $value }, limit { $limit }). Check the status of Apify, Gemini or your n8n. `/queue` shows the lanes.
alert-rate-limits =
    { $count ->
        [one] paid services told me to slow down once in the last 10 min (limit { $limit }). Ask for a higher tier, or lower `MAX_TURNS` (answers) or `REEL_LANES` (reels).
       *[other] paid services told me to slow down { $count } times in the last 10 min (limit { $limit }). Ask for a higher tier, or lower `MAX_TURNS` (answers) or `REEL_LANES` (reels).
    }
alert-tokens = { $value } since midnight UTC (limit { $limit }). Compare with your OpenAI tier. `/usage` shows which model used them.
alert-cost = { $value } since midnight UTC (limit { $limit }). `/cost` shows what for. `/budget bot day { $suggested }` caps it.
alert-instance = silent for { $value }. Other instances take over its work. Check its log and start it again.
alert-clock = { $instance } is { $value } off. Set up time synchronisation there.
alert-clock-stopped = { $instance } is { $value } off and has stopped taking work. Fix its clock and restart it.
alert-disk = { $cause }. Free space there, or set `TMPDIR` to a folder the bot can write to. Reels wait until then.
alert-disk-cause = no room for videos
# An alert whose details are missing.
alert-plain = { $what } ({ $limit }).
alert-cleared-peak = resolved after { $lasted }, peak { $worst }.
alert-cleared-lowest = resolved after { $lasted }, lowest { $worst }.
alert-cleared-lane = resolved after { $lasted }, it's working again.
alert-cleared-provider = working again after { $lasted }.
alert-cleared-model = resolved after { $lasted }, { $model } is no longer used or stays longer.
alert-cleared-clock = { $instance } is right again after { $lasted }.
alert-cleared-instance = resolved after { $lasted }, it's back or was shut down on purpose.
alert-cleared-disk = resolved after { $lasted }, there is room for videos again.
alert-million = { $count } million
alert-days = { $count } days

alert-openai-credit = out of credit. Add credit or raise the limit at platform.openai.com (Billing). No answers until then.
alert-gemini-credit = out of quota or billing is off. Check billing of the key's project at aistudio.google.com. No new reels on direct lanes until then.
alert-apify-credit = out of credit. Top up at console.apify.com/billing. No new reels on direct lanes until then.
alert-n8n-credit = its services are out of credit. Check the workflow's last execution. Lane { $lane } is out of use until then.
alert-openai-key = refuses the key. Replace OPENAI_API_KEY and restart. No answers until then.
alert-gemini-key = refuses the key. Replace GEMINI_API_KEY and restart. No new reels on direct lanes until then.
alert-apify-key = refuses the token. Replace APIFY_TOKEN and restart. No new reels on direct lanes until then.
alert-n8n-key = refuses the secret. Make N8N_SECRET match the workflow's X-Reel-Secret and restart.
alert-openai-gone-coach = no longer has the model { $model }. { $remedy } and restart. No answers until then.
alert-openai-gone-economy = no longer has the model { $model }. { $remedy } and restart. No summaries until then.
alert-gemini-gone = no longer has the model { $model }. { $remedy } and restart. No new reels on direct lanes until then.
alert-apify-gone = no longer has the actor { $actor }. Set APIFY_ACTOR and restart. No new reels on direct lanes until then.
alert-n8n-gone = doesn't know the webhook. Publish the workflow and check N8N_WEBHOOK_URLS.
alert-request = refused a request of mine. This is a fault in reelcoach. Please report it.
alert-request-detail = refused a request of mine ({ $detail }, reference { $reference }). This is a fault in reelcoach. Please report it.
alert-going =
    { $days ->
        [0] { $model } is switched off today ({ $date }). { $remedy } and restart before then.
        [1] { $model } is switched off tomorrow ({ $date }). { $remedy } and restart before then.
       *[other] { $model } is switched off in { $days } days ({ $date }). { $remedy } and restart before then.
    }
alert-went = { $model } was switched off on { $date }. { $remedy } and restart.
alert-set = Set { $variables } to { $successor }
alert-set-current = Set { $variables } to a current model (docs/models-and-money.md)
alert-set-and = and
alert-failing-openai = { $share } of the last { $count } answers failed ({ $cause }). { $remedy }
alert-failing-gemini = { $share } of the last { $count } videos failed ({ $cause }). { $remedy }
alert-failing-runs = { $share } of the last { $count } runs failed ({ $cause }). { $remedy }
alert-failing-calls = { $share } of the last { $count } calls failed ({ $cause }). { $remedy }
alert-check-openai = Check status.openai.com. I keep trying.
alert-check-openai-limited = Ask OpenAI for a higher tier or lower `MAX_TURNS`. I keep trying.
alert-check-gemini = Check Google's status page. I keep trying.
alert-check-gemini-limited = Ask Google for a higher tier or lower `REEL_LANES`. I keep trying.
alert-check-apify = Check status.apify.com. I keep trying.
alert-check-apify-limited = Ask Apify for a larger plan or lower `REEL_LANES`. I keep trying.
alert-check-n8n = Check the workflow's executions. I keep trying.
alert-check-other = I keep trying.

alert-title-budget = Budget of { $budget } for { $period }
alert-budget = { $percent }% used, { $spent }.
alert-budget-early = Nothing changes yet. `/usage` shows what for.
alert-budget-saving = Answers get shorter and simpler from here, and stop when it's used up. `/budget` changes it.
alert-budget-used-up = Paid answers and new reels are refused until it resets. `/budget` changes it.
alert-budget-of = { $spent } of { $cap }
alert-database = Database
alert-database-over = it didn't respond for { $lasted }, until { $until }. Nothing was lost; what people wrote meanwhile is being answered now. If you didn't restart it, check its log.
alert-group-upgraded = The group `{ $old }` got a new ID: `{ $new }`. Settings and budgets moved along. Update ALLOWED_CHANNELS or ALERT_CHAT if they name the old one.

## The console

console-greeting =
    Write to your coach or paste a reel link. /help lists the commands.
    Alt-Enter starts a new line, /as NAME speaks as somebody else, Ctrl-D quits.
console-placeholder = A message, a reel link or /help
console-typing = coach is typing…
console-you = you
console-coach = coach
console-coach-to = coach to { $name }
console-edited = (edited)
console-not-stored = ! This message couldn't be saved. Please send it again.
console-no-terminal = This needs a terminal.
console-output-closed = The output was closed: { $error }
console-file-saved = [{ $name } saved as { $path }]
console-file-not-saved = [{ $name } could not be saved: { $error }]

## The dashboard: frame, signing in, single pages

web-title = { $page } · reelcoach
web-page-overview = Overview
web-page-usage = Usage
web-page-failure = Failure
web-sign-in = Sign in
web-token = Dashboard token
web-token-hint = This is the value of DASHBOARD_TOKEN.
web-token-wrong = That token isn't right. Check DASHBOARD_TOKEN.
web-token-later = Too many attempts. Wait { $seconds } seconds, then try again.
web-token-here = Sign in on this page, not from another site.
web-sign-out = Sign out
web-connecting = connecting
web-too-many-pages = Too many dashboard pages are open. Close one and reload.
web-off = The dashboard is off
web-off-how = Set DASHBOARD_TOKEN to a random text of at least 16 characters and restart reelcoach.
web-off-example = For example: openssl rand -hex 16
web-not-found = Page not found
web-to-overview = Back to the overview
web-no-database = The database isn't responding
web-no-database-how = Try again in a moment.
web-failure = Failure { $reference }
web-failure-cause = Cause
web-failure-when = When
web-failure-where = Where
web-failure-details = Details
web-failure-more = The log has more under the same reference.
web-no-failure = No failure found for “{ $reference }”
web-no-failure-how = References have six letters and digits, without I, L, O, U, 0 and 1. Failures are deleted after the days that RETENTION_DAYS sets.
web-find-reference = Reference
web-find = Find
web-back = ← Overview
web-chart = { $title }, chart
web-ago = { $time } ago

## The dashboard: panels

web-section-lanes = Lanes
web-section-queue = Queue
web-section-failures = Failures
web-section-providers = Providers
web-section-providers-about = last hour
web-section-budgets = Budgets
web-section-budgets-about = UTC
web-section-usage = Usage
web-section-usage-about = 30 days
web-section-usage-larger = Larger, by model
web-section-models = Models
web-section-models-about = this month
web-section-instances = Instances
web-notice-database = The database isn't responding. These figures may be old.
web-notice-draining = Draining: taking no new reels. /queue resume reopens the queue.
web-notice-lanes-paused = Every lane is paused. The queue waits. /queue resume to go on.
web-notice-lanes-out = No lane is working: the reel services keep failing. See Failures.
web-notice-provider = { $provider }: { $problem }
web-tile-working = In progress
web-tile-lanes =
    { $count ->
        [one] of 1 lane
       *[other] of { $count } lanes
    }
web-tile-lanes-usable = of { $count }, { $usable } usable
web-tile-waiting = Waiting
web-tile-nobody = nobody is waiting
web-tile-longest = longest { $wait }
web-tile-typical = A reel takes
web-tile-usually = usually
web-tile-spent-today = Spent today
web-tile-spent-month = Spent this month
web-tile-cap = of { $cap }
web-tile-no-limit = no limit
web-tile-failures = Failures
web-tile-day = last 24 h
web-lane-free = free
web-lane-working = working
web-lane-paused = paused
web-lane-pausing = pauses after this
web-lane-testing = testing again
web-lane-out = out of use, next try in { $wait }
web-lane-doing = { $phase } { $reel } for { $time }
web-lane-last = last failed { $ago } ago: { $cause }
web-queue-empty = The queue is empty.
web-queue-caption = Reels in progress, then those waiting, in order
web-queue-position = Position
web-queue-reel = Reel
web-queue-state = State
web-queue-sent = Sent
web-queue-ready = Ready in
web-queue-working = in progress
web-queue-waiting = waiting
web-queue-retrying = retrying
web-queue-spaced = spaced, { $wait }
web-queue-about = ~ { $wait }
web-more = and { $count } more
web-budget-bot = Whole bot
web-budget-server = A server
web-budget-chat = A chat
web-budget-person = A person
web-budget =
    { $span ->
        [day] { $whose }, today
       *[month] { $whose }, this month
    }
web-budget-of = of { $cap }
web-budget-no-limit = no limit
web-budget-bar = { $budget }: { $percent }% of the budget used
web-budget-resets = { $percent }% used, resets in { $wait }
web-budget-resets-forecast = { $percent }% used, resets in { $wait }, forecast { $forecast }%
web-budget-aside = + { $amount } set aside
web-forecast =
    { $basis ->
        [0] At this pace this month will cost { $amount } ({ $per_day } a day, based on today so far).
        [one] At this pace this month will cost { $amount } ({ $per_day } a day, based on yesterday).
       *[other] At this pace this month will cost { $amount } ({ $per_day } a day, based on the last { $basis } complete days).
    }
web-forecast-none = The forecast appears after the first day with a cost.
web-usage-empty = Nothing has happened yet. Messages, reels and cost will show up here.
web-usage-messages = Messages
web-usage-reels = Reels
web-usage-watched = Reels watched
web-usage-cost = Cost
web-usage-day = Day
web-usage-peak = peak { $peak }, today { $today }
web-usage-alt = { $title } per day over { $days } days: { $total } in total, { $today } today
web-usage-numbers = Same figures as a table
web-usage-table = Usage per day
web-usage-caption = Usage per day (UTC)
web-models-empty = No paid calls this month.
web-models-caption = Calls and cost this month, by model
web-models-model = Model
web-models-calls = Calls
web-models-in = Tokens in
web-models-cached = Cached
web-models-out = Out
web-models-cost = Cost
web-providers-empty = No calls in the last hour.
web-providers-caption = Calls to each provider in the last hour
web-providers-provider = Provider
web-providers-state = State
web-providers-calls = Calls
web-providers-failed = Failed
web-providers-limited = Too many requests
web-provider-working = working
web-provider-some-fail = some fail
web-provider-failing = failing
web-provider-credit = out of credit
web-provider-key = key refused
web-provider-gone = not found
web-provider-request = bad request
web-provider-last = { $cause }, { $ago } ago
web-failures-empty = No failures.
web-failures-caption = Latest failures, newest first
web-failures-reference = Reference
web-failures-cause = Cause
web-failures-where = Where
web-failures-when = When
web-instances-caption = Running instances
web-instances-instance = Instance
web-instances-roles = Roles
web-instances-answers = Answers
web-instances-reels = Reels
web-instances-this = this one
web-instances-none = none

## Pictures of reports

chart-cost = Cost per day
chart-by-model = by model, { $period }
chart-by-tool = by tool, { $period }
chart-server = this server, { $what }
chart-messages = Messages and reels per day
chart-answer-time = Time to the whole answer
chart-queue-wait = Queue wait for a reel
chart-series-messages = messages
chart-series-reels = reels
chart-series-median = median
chart-series-high = 95%
chart-load = Load of each part
chart-overview-messages = Messages per day
chart-overview-reels = Reels watched per day
chart-overview-last = Last 30 days, UTC
chart-overview-by-model = Last 30 days, by model, UTC
