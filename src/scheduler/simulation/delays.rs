//! How long others keep a tenant waiting, whatever they do.

use super::*;

#[test]
fn a_flood_does_not_displace_a_light_tenant() {
    for flood in [20 * US, 300 * US, 950 * US, 50 * MS] {
        let mut worker = Worker::new(&[100, 100]);
        worker.add(Load::flood(0, 500, flood));
        worker.add(Load::every(1, 5 * MS, 100 * US));
        worker.run(10 * SECOND);
        let light = &worker.tenants[1];
        assert!(light.served >= 1_999, "{flood}: {}", light.served);
        let delay_us = light.delay_ns_max / US;
        assert!(delay_us <= 2_000, "{flood}: {delay_us} µs");
    }
}

/// A tenant of short requests keeps its latency although it uses more than an equal share.
#[test]
fn a_hundred_computing_tenants_delay_an_interactive_one_by_two_slices_at_most() {
    let mut worker = Worker::new(&[100; 101]);
    for tenant in 1..=100 {
        worker.add(Load::flood(tenant, 8, 50 * MS));
    }
    worker.run(SECOND);
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(5 * SECOND);
    let victim = &worker.tenants[0];
    assert!(victim.served >= 9_990, "{}", victim.served);
    let delay_us = victim.delay_ns_max / US;
    assert!(delay_us <= 2_000, "{delay_us} µs");
}

/// Nor do a hundred that come all at once, of whom nothing is known yet.
#[test]
fn a_hundred_tenants_that_come_at_once_delay_an_interactive_one_by_two_slices_at_most() {
    let mut worker = Worker::new(&[100; 101]);
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(SECOND);
    for tenant in 1..=100 {
        worker.add(Load::flood(tenant, 8, 50 * MS));
    }
    worker.run(SECOND);
    let delay_us = worker.tenants[0].delay_ns_max / US;
    assert!(delay_us <= 2_000, "{delay_us} µs");
}

/// What piled up while something else held the whole worker up is worked off at once, as far as the burst
/// goes, and then out of turn at its share: the tenant does not stay behind a hundred others for it.
#[test]
fn an_interactive_tenant_works_off_what_has_piled_up() {
    for (stall_ms, over_ms_max) in [(100, 20), (500, 140), (2_000, 700)] {
        let mut worker = Worker::new(&[100; 101]);
        for tenant in 1..=100 {
            worker.add(Load::spinning(tenant, 1));
        }
        worker.add(Load::every(0, 500 * US, 25 * US));
        worker.run(2 * SECOND);
        worker.now_ns += stall_ms * MS;
        worker.run(over_ms_max * MS);
        worker.tenants[0].delay_ns_max = 0;
        worker.run(SECOND);
        let delay_us = worker.tenants[0].delay_ns_max / US;
        assert!(delay_us <= 3_000, "{stall_ms} ms: {delay_us} µs");
    }
}

/// Guests whose ends cannot be interrupted (memory that is given back), beside a tenant whose requests cost
/// several times as much as otherwise, because the caches are never its own: it waits for some of those
/// ends, and is served.
#[test]
fn ends_that_cannot_be_interrupted_do_not_starve_an_interactive_tenant() {
    for (end_ms, cpu_us, delay_ms_max) in [
        (3, 25, 10),
        (10, 25, 30),
        (3, 150, 10),
        (10, 150, 30),
        (10, 220, 60),
    ] {
        let mut worker = Worker::new(&[100; 21]);
        for tenant in 1..=20 {
            worker.add(Load {
                end_ns: end_ms * MS,
                ..Load::flood(tenant, 1, 5 * MS)
            });
        }
        worker.add(Load::every(0, 500 * US, cpu_us * US));
        worker.run(2 * SECOND);
        worker.tenants[0].delay_ns_max = 0;
        let served = worker.tenants[0].served;
        let used_ns = worker.run(4 * SECOND);
        let victim = &worker.tenants[0];
        let served = victim.served - served;
        assert!(served >= 7_900, "{end_ms} {cpu_us}: {served}");
        let delay_us = victim.delay_ns_max / US;
        assert!(
            delay_us <= delay_ms_max * 1_000,
            "{end_ms} {cpu_us}: {delay_us} µs"
        );
        // Nor do the others starve.
        let others_ns: u64 = used_ns[1..].iter().sum();
        assert!(others_ns >= 2 * SECOND, "{end_ms} {cpu_us}: {others_ns}");
    }
}

/// Nor can a hundred earn a place before the others, and all compute when they have it: each that does
/// doubles what the next one must have earned. Only those with as much as there can be have a slice each,
/// and that only once; after each, a batch tenant has one.
#[test]
fn standing_that_is_earned_to_be_abused_gives_a_few_slices_at_most() {
    for (earned, delay_ms_max) in [(20, 10), (400, 16), (1_024, 20), (4_096, 230)] {
        let mut worker = Worker::new(&[100; 101]);
        worker.add(Load::every(0, 500 * US, 15 * US));
        worker.run(5 * SECOND);
        worker.tenants[0].delay_ns_max = 0;
        for tenant in 1..=100 {
            for _ in 0..earned {
                worker.tenants[tenant].account.served();
            }
            worker.add(Load::spinning(tenant, 1));
        }
        worker.run(SECOND);
        let delay_us = worker.tenants[0].delay_ns_max / US;
        assert!(delay_us <= delay_ms_max * 1_000, "{earned}: {delay_us} µs");
        worker.tenants[0].delay_ns_max = 0;
        worker.run(SECOND);
        let delay_us = worker.tenants[0].delay_ns_max / US;
        assert!(delay_us <= 3_000, "{earned}, later: {delay_us} µs");
    }
}

/// Nor do its short requests, which went before the others, keep its first long one waiting.
#[test]
fn interactive_use_puts_a_tenant_ahead_by_a_bound() {
    let mut worker = Worker::new(&[100; 101]);
    for tenant in 1..=100 {
        worker.add(Load::spinning(tenant, 1));
    }
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(5 * SECOND);
    worker.coming.clear();
    let served = worker.tenants[0].served;
    worker.add(Load {
        pause_ns: 1_000 * SECOND,
        ..Load::flood(0, 1, 2 * MS)
    });
    // 2 ms of each of a hundred, and three slices at a hundredth of the core.
    worker.run(600 * MS);
    assert_eq!(worker.tenants[0].served, served + 1);
}

/// The interactive ones leave half of the core to those that compute, whoever and how many they are.
#[test]
fn interactive_tenants_starve_nobody() {
    let mut worker = Worker::new(&[100; 40]);
    for tenant in 1..40 {
        worker.add(Load::every(tenant, MS, 50 * US));
    }
    worker.add(Load::spinning(0, 1));
    let cpu_ns = worker.run(2 * SECOND);
    assert!(cpu_ns[0] >= SECOND * 9 / 10, "{cpu_ns:?}");
    // They want 39 times 5 % and are charged for it: each gets about as much as the other.
    let (least, most) = (cpu_ns[1..].iter().min(), cpu_ns[1..].iter().max());
    let (least, most) = (least.expect("39"), most.expect("39"));
    assert!(most - least <= 2 * SLICE, "{cpu_ns:?}");
}
