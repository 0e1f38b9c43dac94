//! Filters of the server's own and of ours.

use std::cell::RefCell;

use super::server::{Instance, dial, fake};
use super::*;

fn put(key: &str, items: &[&[u8]]) -> Change {
    Change::AddItems {
        key: key.into(),
        items: items.iter().map(|item| item.to_vec()).collect(),
    }
}

fn has(key: &str, item: &[u8]) -> Query {
    Query::MayContain {
        key: key.into(),
        item: item.into(),
    }
}

#[test]
fn a_plain_server_keeps_filters_as_strings() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let yes = Ok(Answer::Bool(true));
        let no = Ok(Answer::Bool(false));
        // The first is refused with an error that repeats bytes which are no text.
        check(&redis, [(has("f", b"\xff\xfe"), no.clone())]).await;
        change(
            &redis,
            [
                put("f", &[]),
                put("f", &[b"a", b"\xff\xfe\r\n", b""]),
                put("f", &[b"b"]),
            ],
        )
        .await;
        check(
            &redis,
            [
                (has("f", b"a"), yes.clone()),
                (has("f", b"b"), yes.clone()),
                (has("f", b"\xff\xfe\r\n"), yes.clone()),
                (has("f", b""), yes),
                (has("f", b"c"), no.clone()),
                (has("g", b"a"), no.clone()),
                (Query::Exists("f".into()), Ok(Answer::Bool(true))),
            ],
        )
        .await;
        change(&redis, [Change::Delete(vec!["f".into()])]).await;
        check(&redis, [(has("f", b"a"), no)]).await;
        // An empty value is a value.
        change(&redis, [set(&[("empty", b"")])]).await;
        check(&redis, [(has("empty", b"a"), Err(KvError::WrongType))]).await;
        check_changes(&redis, [(put("empty", &[b"a"]), Err(KvError::WrongType))]).await;
    });
}

#[test]
fn one_in_a_hundred_is_there_by_mistake_among_100_000() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let items: Vec<_> = (0..limits::KV_REDIS_FILTER_ITEMS)
            .map(|i| format!("item {i}"))
            .collect();
        for items in items.chunks(5_000) {
            let items: Vec<_> = items.iter().map(|item| item.as_bytes()).collect();
            change(&redis, [put("f", &items)]).await;
        }
        for item in items.iter().step_by(100) {
            check(
                &redis,
                [(has("f", item.as_bytes()), Ok(Answer::Bool(true)))],
            )
            .await;
        }
        let mut mistakes = 0;
        for i in 0..10_000 {
            let found = redis
                .query(SPACE, &has("f", format!("other {i}").as_bytes()))
                .await;
            mistakes += usize::from(found == Ok(Answer::Bool(true)));
        }
        assert!((30..=120).contains(&mistakes), "{mistakes} of 10,000");
    });
}

#[test]
fn a_server_with_filters_of_its_own_is_asked_for_them() {
    run(async {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = Rc::clone(&heard);
        let port = fake(move |command| {
            let words = command.iter().map(|word| String::from_utf8_lossy(word));
            let line = words.collect::<Vec<_>>().join(" ");
            let reply = match line.as_str() {
                "PING" => "+PONG\r\n",
                line if line.ends_with("full") => "*2\r\n:1\r\n-ERR non scaling filter is full\r\n",
                line if line.starts_with("BF.INSERT") => "*2\r\n:1\r\n:0\r\n",
                line if line.ends_with("wrong") => "-WRONGTYPE Operation against a key\r\n",
                line if line.ends_with("a") => ":1\r\n",
                _ => ":0\r\n",
            };
            hears.borrow_mut().push(line);
            Some(reply.into())
        })
        .await;
        let redis = patient(Server::default(), dial(port).0);
        let full = KvError::Unavailable("redis: ERR non scaling filter is full".into());
        check_changes(
            &redis,
            [
                (put("f", &[b"a", b"b"]), Ok(Answer::Done)),
                (put("f", &[b"a", b"full"]), Err(full)),
            ],
        )
        .await;
        check(
            &redis,
            [
                (has("f", b"a"), Ok(Answer::Bool(true))),
                (has("f", b"z"), Ok(Answer::Bool(false))),
                (has("f", b"wrong"), Err(KvError::WrongType)),
            ],
        )
        .await;
        assert_eq!(
            *heard.borrow(),
            [
                "PING",
                "BF.INSERT acme/main:f CAPACITY 100000 ERROR 0.01 ITEMS a b",
                "BF.INSERT acme/main:f CAPACITY 100000 ERROR 0.01 ITEMS a full",
                "BF.EXISTS acme/main:f a",
                "BF.EXISTS acme/main:f z",
                "BF.EXISTS acme/main:f wrong",
            ]
        );
    });
}
