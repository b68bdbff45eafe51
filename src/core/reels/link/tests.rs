//! Every form a link comes in, and those that only look like one.

use proptest::prelude::*;

use super::*;

const CODE: &str = "DLlGZiCOBQ0";

fn found(text: &str) -> Vec<Link> {
    find(text, &[], &Hosts::default()).links
}

fn reel(code: &str) -> Link {
    Link::Reel(code.parse().unwrap())
}

#[test]
fn every_form_of_a_reel_link_is_read() {
    for text in [
        "https://www.instagram.com/reel/CODE/",
        "https://www.instagram.com/reels/CODE/",
        "https://www.instagram.com/p/CODE/",
        "https://www.instagram.com/tv/CODE",
        "https://www.instagram.com/some.user/reel/CODE/",
        "https://www.instagram.com/some_user/p/CODE/?img_index=2",
        "instagram.com/p/CODE/?img_index=2",
        "http://m.instagram.com/p/CODE",
        "www.instagram.com/reel/CODE?igsh=MTc4MmM1YmI2Ng==",
        "https://instagr.am/p/CODE/",
        "kkinstagram.com/reel/CODE",
        "https://www.ddinstagram.com/reel/CODE/",
        "https://d.ddinstagram.com/reel/CODE/",
        "HTTPS://WWW.INSTAGRAM.COM/Reel/CODE",
        "https://www.instagram.com/reel/CODE/embed/captioned/",
        "https://www.instagram.com/reel/CODE#comments",
        "https://www.instagram.com//reel//CODE//",
        "https://www.instagram.com/reel/CODE/).",
        "see https://www.instagram.com/reel/CODE, please",
        "https://www.instagram.com/reel/CODE!",
        "\"https://www.instagram.com/reel/CODE\"",
        "“https://www.instagram.com/reel/CODE”",
        "「https://www.instagram.com/reel/CODE」",
        "https://www.instagram.com/reel/CODE。",
        "https://www.instagram.com/reel/CODE看看",
        "看看https://www.instagram.com/reel/CODE",
        "<https://www.instagram.com/reel/CODE/>",
        "[this one](https://www.instagram.com/reel/CODE/)",
        "[https://www.instagram.com/reel/CODE/](https://www.instagram.com/reel/CODE/)",
        "||https://www.instagram.com/reel/CODE/||",
        "`https://www.instagram.com/reel/CODE`",
        "*https://www.instagram.com/reel/CODE*",
        "_https://www.instagram.com/reel/CODE_",
        "~~https://www.instagram.com/reel/CODE~~",
        "link:https://www.instagram.com/reel/CODE",
        "1.https://www.instagram.com/reel/CODE",
        "instagram://media?id=3667365614373573684",
        "instagram://media?id=3667365614373573684_123456",
        "https://www.instagram.com/p/CODExxxxxxxxxxxxxxxxxxxxxxxxxxxx/",
        "https://www.instagram.com/reel/CODE/ https://www.instagram.com/p/CODE/",
    ] {
        let text = text.replace("CODE", CODE);
        assert_eq!(found(&text), [reel(CODE)], "{text}");
    }
    assert_eq!(found("https://instagram.com/p/-Cmh1cukG2/"), [reel("-Cmh1cukG2")]);
    assert_eq!(found("https://instagram.com/p/aye83DjauH"), [reel("aye83DjauH")]);
}

#[test]
fn what_only_looks_like_a_link_is_not_one() {
    for text in [
        "",
        "instagram.com",
        "https://www.instagram.com/",
        "https://notinstagram.com/reel/CODE/",
        "https://www.instagram.com.evil.tld/reel/CODE/",
        "https://evil.tld/?u=https://www.instagram.com/reel/CODE/",
        "https://evil.tld/https://www.instagram.com/reel/CODE/",
        "evil.tld/www.instagram.com/reel/CODE/",
        "https://instagram.com@evil.tld/reel/CODE",
        "https://evil@instagram.com/reel/CODE",
        "https://evil.tld\\@instagram.com/reel/CODE",
        "https://www.instagram.com:8443/reel/CODE",
        "https://x.instagram.com/reel/CODE",
        "https://xn--nstagram-p2a.com/reel/CODE",
        "https://instagrаm.com/reel/CODE",
        "https://éinstagram.com/reel/CODE",
        "éinstagram.com/reel/CODE",
        "https:///instagram.com/reel/CODE",
        "ftp://instagram.com/reel/CODE",
        "me@instagram.com/reel/CODE",
        "the word reel/CODE alone",
    ] {
        let text = text.replace("CODE", CODE);
        assert_eq!(found(&text), [], "{text}");
    }
}

#[test]
fn other_pages_are_named() {
    use Unsupported::*;
    for (path, kind) in [
        ("reels/audio/1234567890/", Audio),
        ("reel/audio/1/", Audio),
        ("stories/some.user/3667365614373573684/", Story),
        ("stories/highlights/17900000000000000/", Highlight),
        ("s/aGlnaGxpZ2h0OjE3?story_media_id=1", Highlight),
        ("some.user/", Profile),
        ("some.user?igsh=x", Profile),
        ("some.user/reels/", Profile),
        ("explore/tags/x/", Explore),
        ("reels/", Explore),
        ("accounts/login/", Other),
        ("direct/inbox/", Other),
        ("reel/abc/", Other),
        ("p/", Other),
        ("share/reel/", Other),
    ] {
        let text = format!("https://www.instagram.com/{path}");
        assert_eq!(found(&text), [Link::Unsupported(kind)], "{text}");
    }
    assert_eq!(found("instagram://user?username=x"), [Link::Unsupported(Profile)]);
}

#[test]
fn share_links_wait_for_their_redirect() {
    for (path, kind) in [
        ("share/reel/BARSSL4rTu", ShareKind::Reel),
        ("share/p/BARSSL4rTu/", ShareKind::Post),
        ("share/BARSSL4rTu?igsh=1", ShareKind::Unknown),
    ] {
        let want = Link::Share { token: "BARSSL4rTu".into(), kind };
        assert_eq!(found(&format!("https://www.instagram.com/{path}")), [want]);
    }
    let base = Url::parse("http://127.0.0.1:8080/x?y#z").unwrap();
    assert_eq!(share_url(&base, "BARSSL4rTu").as_str(), "http://127.0.0.1:8080/share/BARSSL4rTu/");
    for (location, want) in [
        ("https://www.instagram.com/reel/CODE/?igsh=1", ShareTarget::Reel(CODE.parse().unwrap())),
        ("/p/CODE/", ShareTarget::Reel(CODE.parse().unwrap())),
        ("https://www.instagram.com/accounts/login/?next=%2Freel%2FCODE%2F", ShareTarget::Reel(CODE.parse().unwrap())),
        ("https://www.instagram.com/accounts/login/?next=%2Fshare%2Freel%2FBARSSL4rTu", ShareTarget::Login),
        ("https://www.instagram.com/accounts/login/", ShareTarget::Login),
        ("https://evil.tld/reel/CODE/", ShareTarget::Elsewhere),
        ("//evil.tld/reel/CODE/", ShareTarget::Elsewhere),
        ("https://instagram.com@evil.tld/reel/CODE/", ShareTarget::Elsewhere),
        ("https://x:y@www.instagram.com/reel/CODE/", ShareTarget::Elsewhere),
        ("https://www.instagram.com:444/reel/CODE/", ShareTarget::Elsewhere),
        ("instagram://media?id=1", ShareTarget::Elsewhere),
        ("https://www.instagram.com/some.user/", ShareTarget::Elsewhere),
        ("http://[", ShareTarget::Elsewhere),
    ] {
        assert_eq!(share_target(&location.replace("CODE", CODE)), want, "{location}");
    }
}

#[test]
fn several_links_come_in_order_once_each() {
    let want = [reel("AAAAAAAAAAA"), reel("BBBBBBBBBBB")];
    for text in [
        "https://instagram.com/reel/AAAAAAAAAAA\nhttps://instagram.com/p/BBBBBBBBBBB",
        "https://instagram.com/reel/AAAAAAAAAAA,https://instagram.com/p/BBBBBBBBBBB",
        "https://instagram.com/reel/AAAAAAAAAAA/https://instagram.com/p/BBBBBBBBBBB",
        "instagram.com/reel/AAAAAAAAAAA/ instagram.com/p/AAAAAAAAAAA instagram.com/reel/BBBBBBBBBBB",
    ] {
        assert_eq!(found(text), want, "{text}");
    }
    let extra =
        ["https://instagram.com/reel/BBBBBBBBBBB?x".to_owned(), "https://instagram.com/p/AAAAAAAAAAA".to_owned()];
    assert_eq!(find("instagram.com/p/AAAAAAAAAAA", &extra, &Hosts::default()).links, want);
    // A value in the query of a link is not a second link.
    assert_eq!(found("https://instagram.com/reel/AAAAAAAAAAA/?next=https://instagram.com/p/BBBBBBBBBBB"), want[..1]);
}

#[test]
fn the_rest_is_the_question() {
    for (text, rest) in [
        ("why does LINK work so well?", "why does work so well?"),
        ("LINK", ""),
        ("<LINK>", ""),
        ("||LINK|| what about the hook", "what about the hook"),
        ("[look at this](LINK) and tell me", "look at this and tell me"),
        ("[LINK](LINK)", ""),
        ("Compare LINK, and LINK.", "Compare and"),
        ("LINK\nLINK\n\nwhich one?", "which one?"),
        ("“LINK” 🔥 - is it good?", "🔥 - is it good?"),
        ("  no link, only   spaces ", "no link, only   spaces"),
        ("(LINK)!", ""),
    ] {
        let text = text.replace("LINK", "https://www.instagram.com/reel/DLlGZiCOBQ0/?igsh=a_b-c==");
        assert_eq!(find(&text, &[], &Hosts::default()).rest, rest, "{text}");
    }
}

#[test]
fn mirrors_are_configured() {
    let hosts = Hosts::with_mirrors(&["zzinstagram.com"]);
    assert_eq!(find("https://www.zzinstagram.com/reel/DLlGZiCOBQ0", &[], &hosts).links, [reel(CODE)]);
    assert_eq!(find("https://ddinstagram.com/reel/DLlGZiCOBQ0", &[], &hosts).links, []);
}

#[test]
fn codes_and_media_ids_are_one_number() {
    let code: Shortcode = CODE.parse().unwrap();
    assert_eq!(media_id(&code), Some(3667365614373573684));
    assert_eq!(from_media_id(3667365614373573684), Some(code));
    assert_eq!(from_media_id(i64::MAX as u64).unwrap().as_str(), "H__________");
    assert_eq!(from_media_id(0), None);
    assert_eq!(from_media_id(63), None);
    assert_eq!(media_id(&"___________".parse().unwrap()), None);
}

proptest! {
    #[test]
    fn never_panics(text in r"(?s)(.|https?://|instagram\.com|/reel/|/p/|DLlGZiCOBQ0|\]\(|[<>|\[\]()é]){0,60}") {
        let found = find(&text, std::slice::from_ref(&text), &Hosts::default());
        prop_assert!(found.rest.len() <= text.len());
        share_target(&text);
    }

    #[test]
    fn a_link_is_found_in_any_text(before in r"[^/?=&#@%\x00]{0,30}", code in "[A-Za-z0-9_-]{11}", after in r"[\s,)>\x{3002}\x{201d}].{0,30}") {
        let text = format!("{before} https://www.instagram.com/reel/{code}{after}");
        prop_assert!(found(&text).contains(&reel(&code)), "{}", text);
    }

    #[test]
    fn ids_round_trip(id in 20_000_000u64..(1 << 63)) {
        prop_assert_eq!(from_media_id(id).as_ref().and_then(media_id), Some(id));
    }
}
