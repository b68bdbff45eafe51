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
fn a_link_is_read_through_what_apps_and_fingers_do_to_it() {
    for text in [
        // Pages of Instagram around it.
        "https://www.instagram.com/reels/videos/CODE/",
        "https://www.instagram.com/some.user/reels/CODE/",
        "https://www.instagram.com/_u/reel/CODE/",
        "https://www.instagram.com/p/3667365614373573684/",
        "https://www.instagram.com/p/3667365614373573684_1234567/",
        "https://www.instagram.com/accounts/login/?next=/reel/CODE/",
        "https://www.instagram.com/accounts/login/?next=%2Freel%2FCODE%2F&source=mobile",
        "https://www.instagram.com/accounts/login/?next=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F%3Figsh%3Da",
        "https://www.instagram.com/accounts/login/?next=https://www.instagram.com/reel/CODE/",
        "https://www.instagram.com/accounts/login/?next=%252Freel%252FCODE%252F",
        "https://www.instagram.com/challenge/?next=/reel/CODE/",
        "https://www.instagram.com/accounts/suspended/?next=%2Faccounts%2Flogin%2F%3Fnext%3D%2Freel%2FCODE%2F",
        "https://instagram.com/?next=%2Fp%2FCODE",
        // Pages of others that pass people on.
        "https://l.instagram.com/?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F&e=AT0abc",
        "https://l.instagram.com/?e=AT0abc&u=https://www.instagram.com/reel/CODE/?igsh=x",
        "https://lm.facebook.com/l.php?u=https%3A%2F%2Finstagram.com%2Freel%2FCODE&h=AT1",
        "https://l.facebook.com/l.php?u=http%253A%252F%252Finstagram.com%252Freel%252FCODE",
        "https://www.facebook.com/sharer/sharer.php?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "https://www.google.com/url?q=https://www.instagram.com/reel/CODE/&sa=D&usg=x",
        "https://www.google.co.uk/url?sa=t&url=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F&usg=x",
        "https://out.reddit.com/t3_abc?url=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F&token=x",
        "https://www.youtube.com/redirect?event=video&q=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE",
        "https://away.vk.com/away.php?to=https%3A%2F%2Finstagram.com%2Freel%2FCODE",
        "https://l.threads.com/?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F&data=x",
        "https://t.me/share/url?url=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F&text=look",
        "https://api.whatsapp.com/send?text=Look%20https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F%20now",
        "https://api.instagram.com/oembed/?url=https://www.instagram.com/p/CODE/",
        "https://web.archive.org/web/20250101000000/https://www.instagram.com/reel/CODE/",
        "https://href.li/?https://www.instagram.com/reel/CODE/",
        "https://l.facebook.com/l.php?u=https%3A%2F%2Fl.instagram.com%2F%3Fu%3Dhttps%253A%252F%252Fwww.instagram.com%252Freel%252FCODE",
        // Apps.
        "instagram://reel?id=3667365614373573684",
        "instagram://reel/CODE",
        "instagram://reels?shortcode=CODE",
        "instagram://media?shortcode=CODE",
        "instagram://www.instagram.com/reel/CODE/",
        "instagram://extbrowser/?url=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "intent://www.instagram.com/reel/CODE/#Intent;package=com.instagram.android;scheme=https;end",
        "intent://media?id=3667365614373573684#Intent;package=com.instagram.android;scheme=instagram;end",
        "android-app://com.instagram.android/https/instagram.com/reel/CODE/",
        "android-app://com.instagram.android/instagram/media?id=3667365614373573684",
        "ios-app://389801252/https/www.instagram.com/reel/CODE/",
        "googlechromes://www.instagram.com/reel/CODE",
        "x-safari-https://www.instagram.com/reel/CODE",
        "view-source:https://www.instagram.com/reel/CODE",
        // Misspelt beginnings.
        "https:/www.instagram.com/reel/CODE/",
        "https//www.instagram.com/reel/CODE/",
        "http//instagram.com/reel/CODE/",
        "https/www.instagram.com/reel/CODE/",
        "https:www.instagram.com/reel/CODE/",
        "https;//www.instagram.com/reel/CODE/",
        "https:://www.instagram.com/reel/CODE/",
        "https.//www.instagram.com/reel/CODE/",
        "https.www.instagram.com/reel/CODE/",
        "httpswww.instagram.com/reel/CODE/",
        "https:\\\\www.instagram.com\\reel\\CODE",
        "https:\\/\\/www.instagram.com\\/reel\\/CODE\\/",
        "htps://www.instagram.com/reel/CODE/",
        "htpps://www.instagram.com/reel/CODE/",
        "htttps://www.instagram.com/reel/CODE/",
        "hhttps://www.instagram.com/reel/CODE/",
        "httos://www.instagram.com/reel/CODE/",
        "hxxps://www.instagram.com/reel/CODE/",
        "ttps://www.instagram.com/reel/CODE/",
        "s://www.instagram.com/reel/CODE/",
        "://www.instagram.com/reel/CODE/",
        "//www.instagram.com/reel/CODE/",
        "https://https://www.instagram.com/reel/CODE/",
        "http://https://www.instagram.com/reel/CODE/",
        "https: //www.instagram.com/reel/CODE/",
        "wwwinstagram.com/reel/CODE",
        "https://ww.instagram.com/reel/CODE",
        "https://www..instagram.com/reel/CODE",
        // The usual port, the host's own dot.
        "https://www.instagram.com:443/reel/CODE/",
        "http://instagram.com:80/reel/CODE/",
        "https://www.instagram.com./reel/CODE/",
        "https://www.instagram.com.:443/reel/CODE/",
        // Encoded, as a whole and in parts.
        "https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "https%3a%2f%2fwww.instagram.com%2freel%2fCODE%2f%3figsh%3dabc",
        "https%253A%252F%252Fwww.instagram.com%252Freel%252FCODE%252F",
        "https%3A//www.instagram.com/reel/CODE/",
        "www.instagram.com%2Freel%2FCODE",
        "https://www%2Einstagram%2Ecom/reel/CODE",
        "https://www.instagram.com/%72eel/CODE/",
        "https://www.instagram.com/reel%2FCODE%2F%3Figsh%3Dabc",
        "https://www.instagram.com/reel/CODE%20look",
        "https://www.instagram.com/%2572eel/CODE/",
        // What nobody sees, and what only looks different.
        "https://www.instagram.com/\u{2060}reel/CODE/",
        "https://www.insta\u{200b}gram.com/reel/CODE/",
        "\u{202a}https://www.instagram.com/reel/CODE/\u{202c}",
        "\u{2068}https://www.instagram.com/reel/CODE\u{2069}",
        "https://www.instagram.com/reel/CO\u{ad}DE/",
        "\u{feff}https://www.instagram.com/reel/CODE",
        "ｈｔｔｐｓ：／／ｗｗｗ．ｉｎｓｔａｇｒａｍ．ｃｏｍ／ｒｅｅｌ／CODE／",
        "https：//www.instagram.com/reel/CODE？igsh=1",
        "https://www.instagram.com/reel/CODE\\",
        // What stands around it.
        "‘https://www.instagram.com/reel/CODE’",
        "«https://www.instagram.com/reel/CODE»",
        "—https://www.instagram.com/reel/CODE—",
        "=https://www.instagram.com/reel/CODE=",
        "link=https://www.instagram.com/reel/CODE",
        "#https://www.instagram.com/reel/CODE#",
        "@https://www.instagram.com/reel/CODE@",
        "/https://www.instagram.com/reel/CODE",
        "?https://www.instagram.com/reel/CODE?",
        "%https://www.instagram.com/reel/CODE%",
        "-https://www.instagram.com/reel/CODE-",
        "+https://www.instagram.com/reel/CODE+",
        "$https://www.instagram.com/reel/CODE$",
        "lookhttps://www.instagram.com/reel/CODE",
        "see:www.instagram.com/reel/CODE",
        // Mirrors.
        "https://www.instagramez.com/reel/CODE",
        "https://fxig.seria.moe/reel/CODE",
        "https://d.vxinstagram.com/reel/CODE",
        "https://toinstagram.com/some.user/reel/CODE",
    ] {
        let (first, last) = CODE.split_at(4);
        let text = text.replace("CO\u{ad}DE", &format!("{first}\u{ad}{last}")).replace("CODE", CODE);
        assert_eq!(found(&text), [reel(CODE)], "{text}");
    }
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
        "https://l.instagram.com.evil.tld/?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "https://evil.tld/?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE%2F",
        "https%3A%2F%2Fevil.tld%2F%3Fu%3Dhttps%3A%2F%2Fwww.instagram.com%2Freel%2FCODE",
        "https://evil.tld%2F@www.instagram.com/reel/CODE",
        "me%40instagram.com/reel/CODE",
        "evil.tld%2Fwww.instagram.com%2Freel%2FCODE",
        "https://l.instagram.com/?u=https%3A%2F%2Fevil.tld%2F%3Fu%3Dhttps%3A%2F%2Fwww.instagram.com%2Freel%2FCODE",
        "https://www.instagram.com:444/reel/CODE",
        "https://www.instagram.com:4430/reel/CODE",
        "https://google.evil.tld/url?q=https://www.instagram.com/reel/CODE",
        "https://www.instagram.com.:8443/reel/CODE",
        "https://fxig.seria.moe.evil.tld/reel/CODE",
        "file://www.instagram.com/reel/CODE",
        "smb://instagram.com/reel/CODE",
        "intent://evil.tld/reel/CODE/#Intent;scheme=https;end",
        "android-app://com.instagram.android/https/evil.tld/reel/CODE/",
        "my-instagram.com/reel/CODE",
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
        ("accounts/edit/", Other),
        ("reel/abc/", Incomplete),
        ("reel/DLlGZiCOB", Incomplete),
        ("reel/DLlGZiCOBQ0DLlG", Incomplete),
        ("some.user/reel/DLlGZ", Incomplete),
        ("p/", Incomplete),
        ("share/reel/", Incomplete),
        ("share/abc", Incomplete),
        ("reels/trending/", Explore),
        ("reels/videos/", Explore),
        ("reels/Popular", Explore),
        ("reel/templates/", Explore),
        ("some.user/reels/audio/", Audio),
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
        ("https://www.instagram.com/challenge/?next=/reel/CODE/", ShareTarget::Reel(CODE.parse().unwrap())),
        ("https://www.instagram.com/challenge/", ShareTarget::Login),
        ("https://www.instagram.com:443/reel/CODE/", ShareTarget::Reel(CODE.parse().unwrap())),
        ("https://l.instagram.com/?u=https%3A%2F%2Fwww.instagram.com%2Freel%2FCODE", ShareTarget::Elsewhere),
        ("https://ddinstagram.com/reel/CODE/", ShareTarget::Elsewhere),
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
        // Pasted one directly behind the other.
        "https://www.instagram.com/reel/AAAAAAAAAAA/?igsh=abc==https://www.instagram.com/reel/BBBBBBBBBBB/",
        "https://www.instagram.com/reel/AAAAAAAAAAA/?igsh=https://www.instagram.com/reel/BBBBBBBBBBB/",
        "https://www.instagram.com/reel/AAAAAAAAAAA/?igsh=abc&utm_source=xhttps://www.instagram.com/reel/BBBBBBBBBBB/?igsh=y",
        "https://www.instagram.com/reel/AAAAAAAAAAA#https://www.instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAAhttps://www.instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAAwww.instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAA/instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAA/https:/www.instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAAhttps//www.instagram.com/reel/BBBBBBBBBBB",
        "https://www.instagram.com/reel/AAAAAAAAAAA/?igsh=abcwww.instagram.com/reel/BBBBBBBBBBB/?igsh=x",
        "https://www.instagram.com/reel/AAAAAAAAAAA/?igsh=ahttps://www.instagram.com/accounts/login/?next=/reel/BBBBBBBBBBB/",
        "https%3A%2F%2Fwww.instagram.com%2Freel%2FAAAAAAAAAAA%2F%20https%3A%2F%2Fwww.instagram.com%2Freel%2FBBBBBBBBBBB",
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
        ("\u{2060}LINK\u{2060} why?", "why?"),
        ("intent://www.instagram.com/reel/DLlGZiCOBQ0/#Intent;scheme=https;end is it good?", "is it good?"),
        ("https;//www.instagram.com/reel/DLlGZiCOBQ0/ is it good?", "is it good?"),
        ("https%3A%2F%2Fwww.instagram.com%2Freel%2FDLlGZiCOBQ0 is it good?", "is it good?"),
    ] {
        let text = text.replace("LINK", "https://www.instagram.com/reel/DLlGZiCOBQ0/?igsh=a_b-c==");
        assert_eq!(find(&text, &[], &Hosts::default()).rest, rest, "{text}");
    }
}

#[test]
fn a_code_alone_is_told_from_a_word() {
    for word in ["CODE", "`CODE`", "\"CODE\",", "(CODE)", "\u{2060}CODE", "CODExxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
        let word = word.replace("CODE", CODE);
        assert_eq!(bare_code(&word).as_ref().map(Shortcode::as_str), Some(CODE), "{word}");
    }
    for word in [
        "",
        "hello",
        "motivation",
        "Motivational",
        "inspiration",
        "Inspiration",
        "DLlGZiCO",
        "DLlGZiCOBQ0x",
        "DLlGZ/COBQ0",
    ] {
        assert_eq!(bare_code(word), None, "{word}");
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
    fn a_link_is_found_between_any_signs(
        before in r"[\p{P}\p{S}]{0,4}",
        code in "[A-Za-z0-9_-]{10}[A-Za-z0-9]",
        after in r"([\p{P}\p{S}--/_%-]\PC{0,8})?",
    ) {
        let text = format!("{before}https://www.instagram.com/reel/{code}{after}");
        // A link that somebody else's address holds is not one, nor is one behind three slashes.
        prop_assert!(found(&text).contains(&reel(&code)), "{}", text);
    }

    #[test]
    fn nothing_but_a_code_or_a_token_is_taken_from_a_link(
        host in r"(www\.|l\.|m\.|)(instagram|evil|ddinstagram|facebook|google)\.(com|tld)(:[0-9]{1,4}|\.|@instagram\.com|)",
        tail in r"(/|\?|u=|next=|%2F|%3A|https://|reel|share|p|DLlGZiCOBQ0|BARSSL4rTu|\.\.|[ -~]){0,14}",
    ) {
        for link in found(&format!("https://{host}/{tail}")) {
            match link {
                Link::Reel(code) => prop_assert!(matches!(code.as_str().len(), 10 | 11)),
                Link::Share { token, .. } => {
                    prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
                    let asked = share_url(&Url::parse("https://www.instagram.com/").unwrap(), &token);
                    prop_assert_eq!(asked.host_str(), Some("www.instagram.com"));
                    prop_assert_eq!(asked.path().split('/').count(), 4);
                }
                Link::Unsupported(_) => {}
            }
        }
    }

    #[test]
    fn ids_round_trip(id in 20_000_000u64..(1 << 63)) {
        prop_assert_eq!(from_media_id(id).as_ref().and_then(media_id), Some(id));
    }
}
