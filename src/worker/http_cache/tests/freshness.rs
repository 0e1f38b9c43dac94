//! RFC 9111 §3 and §4.2 as tables, and held against a naive reading of them.

use proptest::prelude::*;

use super::super::directives::Directives;
use super::super::policy::{Policy, Unstorable, Usability};
use super::*;

fn judge(request: Fields<'_>, status: u16, response: Fields<'_>) -> Result<Policy, Unstorable> {
    let now = Now {
        instant: Instant::now(),
        wall: wall(0),
    };
    let status = StatusCode::from_u16(status).unwrap();
    Policy::judge(
        &headers(request),
        status,
        &headers(response),
        now.instant,
        now,
    )
}

#[test]
fn what_is_stored() {
    use Unstorable::{Authorization, NoLifetime, NoStore, Private, SetCookie, Status};
    const LM: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
    const NONE: Fields<'_> = &[];
    const AUTH: Fields<'_> = &[("authorization", "Basic x")];
    const COOKIE: Fields<'_> = &[("cookie", "a=b")];
    for (request, status, response, expected) in [
        (NONE, 200, &[("cache-control", "max-age=60")][..], Ok(60)),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, s-maxage=5")],
            Ok(5),
        ),
        (NONE, 200, &[("cache-control", "s-maxage=5")], Ok(5)),
        (
            NONE,
            200,
            &[("cache-control", "max-age=0, s-maxage=5")],
            Ok(5),
        ),
        (
            NONE,
            200,
            &[("cache-control", "public, max-age=60"), ("expires", "0")],
            Ok(60),
        ),
        (
            NONE,
            200,
            &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")],
            Ok(60),
        ),
        (
            NONE,
            200,
            &[
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("date", "Sun, 06 Nov 1994 08:50:07 GMT"),
            ],
            Ok(30),
        ),
        (
            NONE,
            200,
            &[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")],
            Ok(60),
        ),
        (
            NONE,
            200,
            &[("expires", "Sun Nov  6 08:50:37 1994")],
            Ok(60),
        ),
        (NONE, 200, &[("expires", "0")], Err(NoLifetime)),
        (NONE, 200, &[("expires", "0"), ("etag", "\"a\"")], Ok(0)),
        (
            NONE,
            200,
            &[
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("expires", "0"),
            ],
            Err(NoLifetime),
        ),
        // Guessed: a tenth of a day; not for a request with a cookie.
        (NONE, 200, &[("last-modified", LM)], Ok(8_640)),
        (COOKIE, 200, &[("last-modified", LM)], Err(NoLifetime)),
        (
            COOKIE,
            200,
            &[("last-modified", LM), ("cache-control", "public")],
            Ok(8_640),
        ),
        (COOKIE, 200, &[("cache-control", "max-age=60")], Ok(60)),
        (
            NONE,
            200,
            &[("last-modified", "Wed, 06 Nov 1974 08:49:37 GMT")],
            Ok(86_400),
        ),
        (NONE, 302, &[("last-modified", LM)], Err(Status)),
        (
            NONE,
            302,
            &[("last-modified", LM), ("cache-control", "public")],
            Ok(8_640),
        ),
        (NONE, 302, &[("cache-control", "max-age=60")], Ok(60)),
        (NONE, 404, &[("last-modified", LM)], Ok(8_640)),
        (NONE, 503, &[("last-modified", LM)], Err(Status)),
        (NONE, 503, &[("cache-control", "max-age=1")], Ok(1)),
        (NONE, 206, &[("cache-control", "max-age=60")], Err(Status)),
        (NONE, 304, &[("cache-control", "max-age=60")], Err(Status)),
        (NONE, 200, &[], Err(NoLifetime)),
        (NONE, 200, &[("etag", "\"a\"")], Err(NoLifetime)),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, no-store")],
            Err(NoStore),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, No-Store")],
            Err(NoStore),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, no-store, must-understand")],
            Ok(60),
        ),
        (
            NONE,
            299,
            &[("cache-control", "max-age=60, no-store, must-understand")],
            Err(NoStore),
        ),
        (
            NONE,
            299,
            &[("cache-control", "max-age=60, must-understand")],
            Err(Status),
        ),
        (NONE, 299, &[("cache-control", "max-age=60")], Ok(60)),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, PRIVATE")],
            Err(Private),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60, private=\"x\"")],
            Err(Private),
        ),
        (NONE, 200, &[("cache-control", "no-cache")], Err(NoLifetime)),
        (
            NONE,
            200,
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            Ok(0),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=0")],
            Err(NoLifetime),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=0, stale-while-revalidate=5")],
            Ok(0),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=0, stale-if-error=5")],
            Ok(0),
        ),
        (
            NONE,
            200,
            &[(
                "cache-control",
                "max-age=0, stale-if-error=5, must-revalidate",
            )],
            Err(NoLifetime),
        ),
        (
            NONE,
            200,
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            Err(SetCookie),
        ),
        (
            NONE,
            200,
            &[
                ("cache-control", "public, s-maxage=60"),
                ("set-cookie", "a=b"),
            ],
            Err(SetCookie),
        ),
        (
            AUTH,
            200,
            &[("cache-control", "max-age=60")],
            Err(Authorization),
        ),
        (
            AUTH,
            200,
            &[("cache-control", "max-age=60, public")],
            Ok(60),
        ),
        (
            AUTH,
            200,
            &[("cache-control", "max-age=60, must-revalidate")],
            Ok(60),
        ),
        (AUTH, 200, &[("cache-control", "s-maxage=60")], Ok(60)),
        (
            AUTH,
            200,
            &[("cache-control", "max-age=60, proxy-revalidate")],
            Err(Authorization),
        ),
        // RFC 9213.
        (
            NONE,
            200,
            &[
                ("cache-control", "no-store"),
                ("cdn-cache-control", "max-age=60"),
            ],
            Ok(60),
        ),
        (
            NONE,
            200,
            &[
                ("cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
            ],
            Err(NoStore),
        ),
        (
            NONE,
            200,
            &[
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("cdn-cache-control", "public"),
            ],
            Err(NoLifetime),
        ),
        (
            NONE,
            200,
            &[
                ("cache-control", "max-age=60"),
                ("cdn-cache-control", "No valid"),
            ],
            Ok(60),
        ),
    ] {
        let found = judge(request, status, response).map(|policy| policy.lifetime.as_secs());
        assert_eq!(found, expected, "{request:?} {status} {response:?}");
    }
}

#[test]
fn how_old_a_response_is_when_it_comes() {
    for (fields, delay_ms, expected_s) in [
        (&[][..], 0, 0),
        (&[("date", DATE)], 0, 0),
        (&[("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 0, 10),
        // Its clock is ahead.
        (&[("date", "Sun, 06 Nov 1994 09:49:37 GMT")], 0, 0),
        (&[("age", "7")], 0, 7),
        (&[("age", "7")], 3_000, 10),
        (&[("age", "7, 9")], 0, 7),
        (&[("age", "7"), ("age", "9")], 0, 7),
        (&[("age", "-7")], 0, 0),
        (&[("age", "x")], 0, 0),
        (&[("age", "99999999999999999999")], 0, 1 << 31),
        (
            &[("age", "7"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")],
            0,
            10,
        ),
        (
            &[("age", "17"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")],
            2_000,
            19,
        ),
    ] {
        let now = Now {
            instant: Instant::now() + Duration::from_secs(100),
            wall: wall(0),
        };
        let mut fields = headers(fields);
        fields.insert("cache-control", "max-age=9".parse().unwrap());
        let sent = now
            .instant
            .checked_sub(Duration::from_millis(delay_ms))
            .unwrap();
        let policy = Policy::judge(&HeaderMap::new(), StatusCode::OK, &fields, sent, now);
        assert_eq!(policy.unwrap().age(now).as_secs(), expected_s, "{fields:?}");
    }
}

/// What a random response and request say.
#[derive(Clone, Debug)]
struct Said {
    max_age: Option<u32>,
    s_maxage: Option<u32>,
    swr: Option<u32>,
    sie: Option<u32>,
    flags: [bool; 3],
    asked_max_age: Option<u32>,
    min_fresh: Option<u32>,
    max_stale: Option<Option<u32>>,
    asked_no_cache: bool,
    age: u32,
    after_s: u32,
}

fn said() -> impl Strategy<Value = Said> {
    let time = || prop::option::of(0_u32..40);
    let response = (time(), time(), time(), time(), any::<[bool; 3]>());
    let often_not = || prop::option::weighted(0.3, 0_u32..40);
    let max_stale = prop::option::weighted(0.3, prop::option::of(0_u32..40));
    let request = (
        often_not(),
        often_not(),
        max_stale,
        prop::bool::weighted(0.1),
    );
    (response, request, 0_u32..20, 0_u32..90).prop_map(|(response, request, age, after_s)| Said {
        max_age: response.0,
        s_maxage: response.1,
        swr: response.2,
        sie: response.3,
        flags: response.4,
        asked_max_age: request.0,
        min_fresh: request.1,
        max_stale: request.2,
        asked_no_cache: request.3,
        age,
        after_s,
    })
}

impl Said {
    fn response(&self) -> String {
        let mut parts: Vec<String> = ["no-cache", "must-revalidate", "public"]
            .iter()
            .zip(self.flags)
            .filter(|(_, is_set)| *is_set)
            .map(|(name, _)| (*name).to_owned())
            .collect();
        for (name, value) in [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage),
            ("stale-while-revalidate", self.swr),
            ("stale-if-error", self.sie),
        ] {
            parts.extend(value.map(|value| format!("{name}={value}")));
        }
        parts.join(", ")
    }

    fn request(&self) -> String {
        let mut parts = Vec::new();
        if self.asked_no_cache {
            parts.push("no-cache".to_owned());
        }
        parts.extend(self.asked_max_age.map(|value| format!("max-age={value}")));
        parts.extend(self.min_fresh.map(|value| format!("min-fresh={value}")));
        parts.extend(self.max_stale.map(|value| match value {
            Some(value) => format!("max-stale={value}"),
            None => "max-stale".to_owned(),
        }));
        parts.join(", ")
    }

    /// RFC 9111 §4 and RFC 5861, word by word, in whole seconds.
    fn expected(&self) -> (Usability, bool) {
        let [no_cache, must_revalidate, _] = self.flags;
        let lifetime = i64::from(self.s_maxage.or(self.max_age).unwrap_or(0));
        let age = i64::from(self.age + self.after_s);
        let never_stale = no_cache || must_revalidate;
        let is_fresh = lifetime > age;
        let within = |extra: Option<u32>| age < lifetime + i64::from(extra.unwrap_or(0));
        let stands_in = if never_stale {
            is_fresh
        } else {
            within(self.sie)
        };
        let too_old = self.asked_max_age.is_some_and(|max| age > i64::from(max));
        let not_fresh_enough = self
            .min_fresh
            .is_some_and(|min| lifetime - age < i64::from(min));
        let usability = if no_cache || self.asked_no_cache || too_old {
            Usability::Validate
        } else if is_fresh && !not_fresh_enough {
            Usability::Fresh
        } else if is_fresh || self.min_fresh.is_some() {
            Usability::Validate
        } else if !never_stale && within(self.swr) {
            Usability::WhileRevalidating
        } else if never_stale || self.s_maxage.is_some() {
            Usability::Validate
        } else {
            match self.max_stale {
                Some(max) if max.is_none_or(|max| age - lifetime <= i64::from(max)) => {
                    Usability::Stale
                }
                _ => Usability::Validate,
            }
        };
        (usability, stands_in)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn freshness_is_as_the_rfc_has_it(said in said()) {
        let start = Now { instant: Instant::now(), wall: wall(0) };
        let (age, response) = (said.age.to_string(), said.response());
        let fields = headers(&[("age", &age), ("cache-control", &response), ("etag", "\"a\"")]);
        let judged = Policy::judge(&HeaderMap::new(), StatusCode::OK, &fields, start.instant, start);
        let Ok(policy) = judged else {
            // Nothing is said that could be of use.
            let is_said = said.max_age.is_some() || said.s_maxage.is_some() || said.flags[0];
            let after = |time: Option<u32>| time.unwrap_or(0) > 0 && !said.flags[0] && !said.flags[1];
            prop_assert!(!is_said && !after(said.swr) && !after(said.sie), "{said:?}");
            return Ok(());
        };
        let after = Duration::from_secs(u64::from(said.after_s));
        let now = Now { instant: start.instant + after, wall: start.wall };
        let asked = Directives::of_request(&headers(&[("cache-control", &said.request())]));
        let found = (policy.usability(&asked, now), policy.may_stand_in(now));
        prop_assert_eq!(found, said.expected());
    }
}
