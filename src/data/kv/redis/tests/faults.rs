//! Servers that are gone, slow, hostile or not ours to use.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::server::{Instance, dial, dial_to, fake};
use super::*;

const PAUSE: Duration = Duration::from_millis(limits::KV_REDIS_PAUSE_MS + 10);

fn unavailable(why: &str) -> Result<Answer, KvError> {
    Err(KvError::Unavailable(why.into()))
}

fn reach(port: u16) -> Redis {
    patient(Server::default(), dial(port).0)
}

/// Whose answers come within the limits, or not at all.
fn in_time(port: u16) -> Redis {
    Redis::new(Server::default(), dial(port).0)
}

/// Asks often, is refused each time, and finds that there was one attempt at most for each pause.
async fn check_refused(redis: &Redis, dials: &Cell<u32>, why: &str) {
    let (begun, before) = (Instant::now(), dials.get());
    for _ in 0..100 {
        check(redis, [(get(&["k"]), unavailable(why))]).await;
    }
    // A machine that stands still makes it take longer.
    let pauses = begun.elapsed().as_millis() as u64 / limits::KV_REDIS_PAUSE_MS;
    let attempts = dials.get() - before;
    assert!(
        u64::from(attempts) <= pauses,
        "{attempts} attempts in {pauses} pauses"
    );
}

#[test]
fn a_server_that_is_gone_costs_one_attempt_in_a_while_and_is_found_again() {
    let instance = Instance::start(&[]);
    run(async {
        let port = Rc::new(Cell::new(instance.port));
        let (dial, dials) = dial_to(Rc::clone(&port));
        let redis = patient(Server::default(), dial);
        change(&redis, [set(&[("k", b"v")])]).await;
        assert_eq!(dials.get(), 1);
        drop(instance);
        let gone = "redis is out of reach: Connection refused (os error 111)";
        // The first may have been under way when the connection broke.
        let first = redis.query(SPACE, &get(&["k"])).await;
        assert!(matches!(first, Err(KvError::Unavailable(_))), "{first:?}");
        check(&redis, [(get(&["k"]), unavailable(gone))]).await;
        check_refused(&redis, &dials, gone).await;
        tokio::time::sleep(PAUSE).await;
        let before = dials.get();
        check(&redis, [(get(&["k"]), unavailable(gone))]).await;
        assert_eq!(dials.get(), before + 1);
        // Where it was, somebody else may listen by now.
        let again = Instance::start(&[]);
        port.set(again.port);
        tokio::time::sleep(PAUSE).await;
        check(&redis, [(get(&["k"]), values(&[None]))]).await;
    });
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_is_not_used() {
    let instance = Instance::start(&[]);
    run(async {
        let (dial, dials) = dial(instance.port);
        let redis = patient(Server::default(), dial);
        change(&redis, [set(&[("k", b"v")])]).await;
        assert_eq!(
            instance.say(&["CLIENT", "KILL", "TYPE", "normal"]),
            ":1\r\n"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        check(&redis, [(get(&["k"]), values(&[Some(b"v")]))]).await;
        assert_eq!(dials.get(), 2);
    });
}

#[test]
fn callers_share_one_attempt_even_if_the_first_of_them_leaves() {
    let instance = Instance::start(&[]);
    run(async {
        let (dial, dials) = dial(instance.port);
        let redis = Rc::new(patient(Server::default(), dial));
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let redis = Rc::clone(&redis);
                tokio::task::spawn_local(async move { redis.query(SPACE, &get(&["k"])).await })
            })
            .collect();
        tokio::task::yield_now().await;
        callers[0].abort();
        for caller in callers.into_iter().skip(1) {
            assert_eq!(caller.await.unwrap(), values(&[None]));
        }
        assert_eq!(dials.get(), 1);
    });
}

#[test]
fn a_server_that_lets_nobody_in_is_given_up_in_time() {
    run(async {
        // It never accepts, and so never answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dial, dials) = dial(listener.local_addr().unwrap().port());
        let redis = Redis::new(Server::default(), dial);
        let begun = Instant::now();
        let slow = "redis lets nobody in within 200 ms";
        check(&redis, [(get(&["k"]), unavailable(slow))]).await;
        let took = begun.elapsed().as_millis() as u64;
        assert!((200..1_000).contains(&took), "{took} ms");
        check_refused(&redis, &dials, slow).await;
    });
}

#[test]
fn a_server_that_falls_silent_is_given_up_in_time() {
    run(async {
        let port = fake(|command| (command[0] == b"PING").then(|| b"+PONG\r\n".to_vec())).await;
        let (dial, dials) = dial(port);
        let redis = Redis::new(Server::default(), dial);
        let begun = Instant::now();
        let silent = "redis did not answer within 250 ms";
        check(&redis, [(get(&["k"]), unavailable(silent))]).await;
        let took = begun.elapsed().as_millis() as u64;
        assert!((250..1_000).contains(&took), "{took} ms");
        check_refused(&redis, &dials, silent).await;
    });
}

#[test]
fn no_more_calls_wait_than_may() {
    run(async {
        let port = fake(|command| (command[0] == b"PING").then(|| b"+PONG\r\n".to_vec())).await;
        let redis = Rc::new(in_time(port));
        let calls: Vec<_> = (0..limits::KV_REDIS_CALLS_MAX)
            .map(|_| {
                let redis = Rc::clone(&redis);
                tokio::task::spawn_local(async move { redis.query(SPACE, &get(&["k"])).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        check(
            &redis,
            [(
                get(&["k"]),
                unavailable("redis is busy: 256 calls wait for it"),
            )],
        )
        .await;
        for call in calls {
            assert_eq!(
                call.await.unwrap(),
                unavailable("redis did not answer within 250 ms")
            );
        }
        tokio::time::sleep(PAUSE).await;
        // Those that are over, and those that were left, take no place.
        for _ in 0..limits::KV_REDIS_CALLS_MAX {
            let query = get(&["k"]);
            let left = tokio::time::timeout(Duration::ZERO, redis.query(SPACE, &query)).await;
            assert!(left.is_err());
        }
        check(
            &redis,
            [(
                get(&["k"]),
                unavailable("redis did not answer within 250 ms"),
            )],
        )
        .await;
    });
}

#[test]
fn callers_that_leave_do_not_confuse_the_others() {
    let instance = Instance::start(&[]);
    run(async {
        let (dial, dials) = dial(instance.port);
        let redis = Rc::new(patient(Server::default(), dial));
        let names: Vec<_> = (0..200).map(|i| format!("{i}")).collect();
        let pairs = names
            .iter()
            .map(|name| (name.clone(), name.clone().into_bytes()));
        change(&redis, [Change::Set(pairs.collect())]).await;
        for round in 0..20 {
            let calls: Vec<_> = names
                .iter()
                .map(|name| {
                    let (redis, name) = (Rc::clone(&redis), name.clone());
                    tokio::task::spawn_local(async move {
                        let found = redis.query(SPACE, &get(&[&name, "none", &name])).await;
                        let value = Some(name.as_bytes());
                        assert_eq!(found, values(&[value, None, value]));
                    })
                })
                .collect();
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            for (at, call) in calls.into_iter().enumerate() {
                match at % 3 {
                    0 => call.abort(),
                    _ => call.await.unwrap(),
                }
            }
        }
        assert_eq!(dials.get(), 1);
    });
}

#[test]
fn what_is_no_redis_is_malformed() {
    for said in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\0\0\r\n",
        "*1000000\r\n",
        "$abc\r\n",
        "!!\r\n",
        &"*1\r\n".repeat(200),
    ] {
        // In place of the first answer, which is PING's, and of the second one.
        run(check_malformed(said.into(), 0));
        run(check_malformed(said.into(), 1));
    }
}

/// A server says something after as many answers as it should give.
async fn check_malformed(said: String, after: u32) {
    let pings = Cell::new(0);
    let context = said.clone();
    let reply = move |command: &[Vec<u8>]| {
        if command[0] == b"PING" && pings.get() < after {
            pings.set(pings.get() + 1);
            return Some(b"+PONG\r\n".to_vec());
        }
        Some(said.clone().into_bytes())
    };
    let redis = reach(fake(reply).await);
    for _ in 0..2 {
        let found = redis.query(SPACE, &get(&["k"])).await;
        let is_malformed = matches!(found, Err(KvError::Malformed(_)));
        assert!(is_malformed, "{context:?}: {found:?}");
    }
}

#[test]
fn an_answer_of_another_kind_is_malformed_and_harms_nobody() {
    run(async {
        let port = fake(|command| match &command[0][..] {
            b"GET" => Some(b":1\r\n".to_vec()),
            b"EXISTS" => Some(b"$1\r\n1\r\n".to_vec()),
            b"SCAN" => Some(b"*1\r\n$1\r\n0\r\n".to_vec()),
            b"ZRANGEBYSCORE" if command[2] == b"1e0" => {
                Some(b"*2\r\n$1\r\nm\r\n$3\r\nnan\r\n".to_vec())
            }
            b"ZRANGEBYSCORE" => Some(b"*1\r\n$1\r\nm\r\n".to_vec()),
            b"MGET" => Some(b"*1\r\n$1\r\nv\r\n".to_vec()),
            b"ZSCAN" => Some(b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\nm\r\n$3\r\none\r\n".to_vec()),
            b"INCRBY" => Some(b"*0\r\n".to_vec()),
            _ => Some(b"+PONG\r\n".to_vec()),
        })
        .await;
        let (dial, dials) = dial(port);
        let redis = patient(Server::default(), dial);
        let malformed = |why: &str| Err(KvError::Malformed(why.into()));
        let scan = Query::ScanMembers {
            key: "k".into(),
            pattern: "*".into(),
        };
        check(
            &redis,
            [
                (
                    get(&["k"]),
                    malformed("a string was due, and a number came"),
                ),
                (
                    Query::Exists("k".into()),
                    malformed("a number was due, and a string came"),
                ),
                (
                    Query::Scan {
                        pattern: "*".into(),
                    },
                    malformed("a cursor came without a list"),
                ),
                (
                    range("k", 0.0, 1.0),
                    malformed("a member came without a score"),
                ),
                (range("k", 1.0, 2.0), malformed("a score is not a number")),
                (scan, malformed("a string is no number")),
                (
                    get(&["k", "l"]),
                    malformed("MGET gave another number of values"),
                ),
            ],
        )
        .await;
        let increment = Change::Increment {
            key: "k".into(),
            delta: 1,
        };
        let error = malformed("a number was due, and a list came");
        check_changes(&redis, [(increment, error)]).await;
        assert_eq!(dials.get(), 1);
    });
}

#[test]
fn an_endless_string_costs_time_but_no_memory() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::task::spawn_local(async move {
                    let _ = stream.write_all(b"+PONG\r\n$9223372036854775807\r\n").await;
                    while stream.write_all(&[b'x'; 64 << 10]).await.is_ok() {}
                });
            }
        });
        let redis = in_time(port);
        let before = resident_bytes();
        let begun = Instant::now();
        let silent = "redis did not answer within 250 ms";
        check(&redis, [(get(&["k"]), unavailable(silent))]).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        let more = resident_bytes().saturating_sub(before);
        assert!(more < 64 << 20, "{more} bytes");
    });
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_value_that_is_too_large_harms_nobody_else() {
    let instance = Instance::start(&[]);
    run(async {
        let (dial, dials) = dial(instance.port);
        let redis = Rc::new(patient(Server::default(), dial));
        let large = vec![7; 3 * limits::KV_ANSWER_BYTES_MAX as usize];
        change(&redis, [set(&[("large", &large), ("small", b"s")])]).await;
        let ask = |key: &'static str| {
            let redis = Rc::clone(&redis);
            tokio::task::spawn_local(async move { redis.query(SPACE, &get(&[key])).await })
        };
        let calls: Vec<_> = ["small", "large", "small", "large", "small"]
            .map(ask)
            .into_iter()
            .collect();
        for (at, call) in calls.into_iter().enumerate() {
            let expected = match at % 2 {
                0 => values(&[Some(b"s")]),
                _ => Err(KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX)),
            };
            assert_eq!(call.await.unwrap(), expected);
        }
        assert_eq!(dials.get(), 1);
    });
}

#[test]
fn one_logs_in_with_the_right_password_only() {
    let instance = Instance::start(&["--requirepass", "secret word"]);
    instance.say(&["PING"]);
    run(async {
        let log_in = |username: Option<&str>, password: Option<&str>| Server {
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            ..Server::default()
        };
        let refused = "redis refuses the password: WRONGPASS";
        for (server, expected) in [
            (log_in(None, Some("secret word")), values(&[None])),
            (
                log_in(Some("default"), Some("secret word")),
                values(&[None]),
            ),
            (log_in(None, Some("wrong")), unavailable(refused)),
            (
                log_in(Some("nobody"), Some("secret word")),
                unavailable(refused),
            ),
            (
                log_in(None, None),
                unavailable("redis: NOAUTH Authentication required."),
            ),
        ] {
            let redis = patient(server, dial(instance.port).0);
            check(&redis, [(get(&["k"]), expected)]).await;
        }
    });
    run(async {
        let port = fake(|command| match &command[0][..] {
            b"AUTH" => {
                Some(b"-ERR unknown command 'AUTH', with args beginning with: 'hush'\r\n".into())
            }
            _ => Some(b"+PONG\r\n".to_vec()),
        })
        .await;
        let server = Server {
            password: Some("hush".into()),
            ..Server::default()
        };
        let redis = patient(server, dial(port).0);
        check(
            &redis,
            [(get(&["k"]), unavailable("redis refuses the password: ERR"))],
        )
        .await;
    });
}

#[test]
fn a_database_that_is_not_there_is_said() {
    let instance = Instance::start(&["--databases", "2"]);
    run(async {
        let server = Server {
            db: 2,
            ..Server::default()
        };
        let redis = patient(server, dial(instance.port).0);
        check(
            &redis,
            [(
                get(&["k"]),
                unavailable("redis: ERR DB index is out of range"),
            )],
        )
        .await;
    });
}

#[test]
fn a_replica_is_read_and_not_written() {
    let primary = Instance::start(&[]);
    run(async {
        change(&keys_of(&primary), [set(&[("k", b"v")]), filter()]).await;
        let port = primary.port.to_string();
        let replica = Instance::start(&[
            "--replicaof",
            "127.0.0.1",
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ]);
        let redis = keys_of(&replica);
        let begun = Instant::now();
        while redis.query(SPACE, &get(&["k"])).await != values(&[Some(b"v")]) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not follow"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let refused = "redis: READONLY You can't write against a read only replica.";
        check_changes(&redis, [(set(&[("k", b"w")]), unavailable(refused))]).await;
        let swap = Change::Swap {
            key: "k".into(),
            expected: Some(b"v".to_vec()),
            value: b"w".to_vec(),
        };
        let swapped = redis.change(SPACE, QUOTA, &swap).await;
        assert!(
            matches!(&swapped, Err(KvError::Unavailable(why)) if why.starts_with("redis: READONLY"))
        );
        check(&redis, [(in_filter(), Ok(Answer::Bool(true)))]).await;
        check(&redis, [(get(&["k"]), values(&[Some(b"v")]))]).await;
    });
}

#[test]
fn a_server_without_memory_is_read_and_not_written() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        change(&redis, [set(&[("k", b"v")]), filter()]).await;
        let said = instance.say(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(said, "+OK\r\n");
        let full = "redis: OOM command not allowed when used memory > 'maxmemory'.";
        check_changes(&redis, [(set(&[("k", b"w")]), unavailable(full))]).await;
        let value = Some(&b"v"[..]);
        check(&redis, [(get(&["k", "k"]), values(&[value, value]))]).await;
        check(&redis, [(in_filter(), Ok(Answer::Bool(true)))]).await;
    });
}

fn filter() -> Change {
    Change::AddItems {
        key: "f".into(),
        items: vec![b"item".to_vec()],
    }
}

fn in_filter() -> Query {
    Query::MayContain {
        key: "f".into(),
        item: b"item".to_vec(),
    }
}

#[test]
fn what_a_server_says_is_repeated_in_one_short_line() {
    let long = format!("-LOADING \x1b[31mé\x07{}\r\n", "é".repeat(1_000));
    let said = format!("redis: LOADING [31m{}", "é".repeat(90));
    for (line, expected) in [
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            "redis: LOADING Redis is loading the dataset in memory",
        ),
        (
            "-MASTERDOWN Link with MASTER is down\r\n",
            "redis: MASTERDOWN Link with MASTER is down",
        ),
        (
            "-MOVED 3999 127.0.0.1:6381\r\n",
            "redis: MOVED 3999 127.0.0.1:6381",
        ),
        ("-ERR\r\n", "redis: ERR "),
        (&long, &said),
    ] {
        let reply = line.as_bytes().to_vec();
        run(async move {
            let port = fake(move |command| match &command[0][..] {
                b"PING" => Some(b"+PONG\r\n".to_vec()),
                _ => Some(reply.clone()),
            })
            .await;
            let redis = reach(port);
            for query in [get(&["k"]), get(&["k", "l"])] {
                let found = redis.query(SPACE, &query).await;
                assert_eq!(found, unavailable(expected));
            }
        });
    }
}

#[test]
fn a_server_that_still_loads_is_waited_for_by_nobody() {
    run(async {
        let port =
            fake(|_| Some(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec())).await;
        let (dial, dials) = dial(port);
        let redis = patient(Server::default(), dial);
        let loading = "redis: LOADING Redis is loading the dataset in memory";
        check(&redis, [(get(&["k"]), unavailable(loading))]).await;
        check_refused(&redis, &dials, loading).await;
    });
}
