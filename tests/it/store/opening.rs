//! Opening and migrating the database, hints, and what is done to the leases of a process that is gone.

use reelcoach::store::StoreError;
use reelcoach::store::ledger::Hold;
use reelcoach::store::versions::Tables;

use super::*;
use crate::support::LATER_MIGRATION;

#[tokio::test]
async fn a_wrong_address_is_said_to_be_one() {
    for url in [
        "",
        "mysql://localhost/x",
        "/var/lib/reelcoach.db",
        "file:///tmp/x.db",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://x.db?mode=memory",
        "sqlite://x.db?mode=sideways",
        "postgres://localhost:notaport/x",
    ] {
        match Store::open(url, 2).await {
            Err(StoreError::Url(_)) => {}
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_without_its_password() {
    let began = std::time::Instant::now();
    let error = Store::open("postgres://someone:hunter2@127.0.0.1:1/x", 2).await.expect_err("nothing listens there");
    assert!(matches!(error, StoreError::Open(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    // At once, and once: not as the pool's patience at its end.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.to_string().matches("refused").count(), 1, "{error}");
    let error = Store::open("sqlite:///proc/no/such/folder/x.db", 2).await.expect_err("no such folder can be made");
    assert!(matches!(error, StoreError::Open(_)), "{error:?}");
}

/// Nobody may make a folder there.
#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_named_with_the_user() {
    let error = Store::open("sqlite:///sys/reelcoach/x.db", 2).await.expect_err("no such folder can be made");
    let text = error.to_string();
    assert!(matches!(error, StoreError::Folder { .. }), "{text}");
    assert!(text.contains("/sys/reelcoach as user ") && text.contains("DATABASE_URL"), "{text}");
}

#[tokio::test]
async fn an_ipv6_address_is_one() {
    let db = TestDb::postgres().await;
    let mut url = url::Url::parse(&db.url).unwrap();
    let server = (url.host_str().unwrap().trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(5432));
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    url.set_host(Some("[::1]")).unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let carrying = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let store = Store::open(url.as_str(), 2).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
    carrying.abort();
}

#[tokio::test]
async fn sqlite_makes_the_folder_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/er/reelcoach.db");
    let store = Store::open(&format!("sqlite://{}", file.display()), 2).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    assert!(file.exists());
}

#[tokio::test]
async fn hints_pass_between_instances() {
    let db = TestDb::postgres().await;
    let other = db.another_instance().await;
    let woken = async |hint: tokio::sync::futures::Notified<'_>| {
        tokio::time::timeout(Duration::from_secs(30), hint).await.is_ok()
    };
    // Once it listens, it says so: what was hinted at before is unknown.
    let hint = other.wake.jobs.notified();
    let listening = tokio::spawn({
        let other = other.clone();
        async move { other.listen().await }
    });
    assert!(woken(hint).await, "it listens");
    let mia = person(&db, "mia").await;
    // Nobody polls here: the submission of one instance alone wakes the other, and so does each step of the job.
    let hint = other.wake.jobs.notified();
    submit(&db, mia, &[1], START).await;
    assert!(woken(hint).await, "a job was submitted");
    let job = claim_job(&other, START).await.expect("the job that the hint was about");
    let hint = other.wake.jobs.notified();
    assert!(db.finish_job(&job, &done(), INTERVAL, at(1)).await.unwrap());
    assert!(woken(hint).await, "a lane is free");
    listening.abort();
}

on_both! {
    async fn old_rows_go_and_what_is_owed_stays(db: TestDb) {
        let mia = person(&db, "mia").await;
        let dm = chat("1");
        let turn = asking_turn(&db, mia, &dm, START).await;
        db.close_turn(&turn, Outcome::Answered, START).await.unwrap();
        let owed = MessageRef::new(dm.clone(), "owed");
        db.receive(arrival(&owed, mia, "{}", START)).await.unwrap();
        assert_eq!(db.sweep(START).await.unwrap(), 0, "not yet");
        assert!(db.sweep(at(1)).await.unwrap() > 0);
        while db.sweep(at(1)).await.unwrap() > 0 {}
        assert_eq!(db.open_turns().await.unwrap(), 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM turns", &[]).await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM inbox", &[]).await, 1);
    }

    async fn a_fresh_database_answers(db: TestDb) {
        db.ping().await.unwrap();
        assert_eq!(db.is_shared(), db.url.starts_with("postgres"));
        assert_eq!(db.open_turns().await.unwrap(), 0);
        db.close().await;
        assert!(db.ping().await.is_err());
    }

    async fn migrating_again_changes_nothing(db: TestDb) {
        let mia = person(&db, "mia").await;
        db.migrate().await.unwrap();
        let again = Store::open(&db.url, 2).await.unwrap();
        let (one, two) = tokio::join!(again.migrate(), db.migrate());
        one.unwrap();
        two.unwrap();
        assert_eq!(person(&again, "mia").await, mia);
        again.close().await;
    }

    /// A newer program has changed the tables: this one works on them as long as it can.
    async fn newer_tables_are_refused_unless_they_can_be_read(db: TestDb) {
        assert_eq!(db.tables().await.unwrap(), Tables::Known);
        db.execute(LATER_MIGRATION[usize::from(db.is_shared())]).await;
        for _ in 0..2 {
            assert!(matches!(db.tables().await, Ok(Tables::Newer { found: 9999, own }) if own < 9999));
            db.migrate().await.unwrap();
        }
        db.execute("UPDATE compatibility SET readable_from = 9000").await;
        for refused in [db.tables().await.map(|_| ()), db.migrate().await] {
            let error = refused.expect_err("it cannot be read");
            assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error:?}");
            assert!(error.to_string().contains("Update reelcoach, or restore a backup"), "{error}");
        }
    }

    async fn what_a_process_that_is_gone_has_reserved_is_free(db: TestDb) {
        let (mia, dm) = (person(&db, "mia").await, chat("1"));
        let hold = Hold { until: at(7200), by: Some(InstanceId::new()) };
        db.reserve(&ledger::call("a", mia, &dm), &[], hold).await.unwrap();
        assert!(db.lost_reservations(at(1), 9).await.unwrap().is_empty());
        db.release_everything(at(1)).await.unwrap();
        assert_eq!(db.lost_reservations(at(1), 9).await.unwrap().len(), 1);
    }

    async fn the_leases_of_a_process_that_is_gone_end(db: TestDb) {
        let gone = InstanceId::new();
        let mia = person(&db, "mia").await;
        let dm = chat("1");
        says(&db, mia, &dm, "1", START).await;
        says(&db, mia, &dm, "2", at(5)).await;
        let turn = claim(&db, gone, at(5)).await.remove(0);
        submit(&db, mia, &[1], at(5)).await;
        let job = db.claim_job(gone, &lanes(1, 0), at(5), LEASE).await.unwrap().unwrap();
        let board = db.open_boards().await.unwrap().remove(0).id;
        assert!(db.begin_posting(board, "", at(5), at(60)).await.unwrap());
        assert!(db.hold("telegram", gone, at(5), at(60)).await.unwrap());

        db.release_everything(at(6)).await.unwrap();

        let again = claim(&db, InstanceId::new(), at(6)).await;
        assert_eq!(again.len(), 1, "the one that was worked on, not the one that sleeps behind it");
        assert_eq!((again[0].id, again[0].attempt), (turn.id, 2));
        assert!(!db.renew_turn(&turn, at(90)).await.unwrap());
        let orphan = claim_job(&db, at(6)).await.expect("the job is free");
        assert_eq!((orphan.job, orphan.attempt), (job.job, 2));
        assert!(db.begin_posting(board, "", at(6), at(60)).await.unwrap());
        assert!(db.hold("telegram", InstanceId::new(), at(6), at(60)).await.unwrap());
    }
}
