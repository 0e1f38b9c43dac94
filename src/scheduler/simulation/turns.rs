//! Who is called, who begins, and what becomes of those who do not come.

use super::*;

/// An open gate is for who is next, and not for who has just come.
#[test]
fn nobody_overtakes_those_who_wait() {
    let noop = Waker::noop();
    let (first, second) = (Rc::<Account>::default(), Rc::<Account>::default());
    let mut turn = Turn::new();
    turn.set_gate_ns(SLICE / 2);
    assert!(turn.may_run(&second, || 0));
    let ticket = turn.push(&first, noop.clone(), 0);
    assert!(!turn.may_run(&second, || 0), "one waits");
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 1);
    assert!(!turn.may_run(&second, || 0), "one is about to begin");
    assert!(!turn.begin(&second, ticket + 1, noop).now);
    assert!(turn.begin(&first, ticket, noop).now);
    turn.charge(&first, used(US), US);
    assert!(turn.may_run(&second, || 0));
    turn.charge(&second, used(SLICE), SLICE);
    assert!(!turn.may_run(&second, || 0), "the gate is closed");
    assert!(turn.open(0).is_empty() && turn.may_run(&second, || 0));
}

/// Who is called and has ended meanwhile, or does not come, keeps nobody waiting.
#[test]
fn a_call_that_is_not_answered_is_made_again() {
    let noop = Waker::noop();
    let account = Rc::<Account>::default();
    let mut turn = Turn::new();
    turn.set_gate_ns(SLICE / 2);
    let tickets = [0; 3].map(|_| turn.push(&account, noop.clone(), 0));
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 3);
    assert_eq!(turn.granted(), Some(tickets[0]), "first come, first served");
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 3, "they did not come");
    assert!(turn.open_batch().is_empty(), "and are called once");
    // One that comes too early is called when it is its turn.
    let early = turn.begin(&account, tickets[1], noop);
    assert!(!early.now && early.call.is_none());
    assert!(turn.remove(&account, tickets[0]).is_some());
    let early = turn.begin(&account, tickets[2], noop);
    assert!(!early.now && early.call.is_some());
    assert!(turn.remove(&account, tickets[1]).is_some());
    assert!(turn.someone_waits());
    // What closes the gate meanwhile is waited for.
    turn.charge(&account, used(SLICE), SLICE);
    assert!(!turn.begin(&account, tickets[2], noop).now);
    turn.open(0);
    turn.open_batch();
    assert!(turn.begin(&account, tickets[2], noop).now);
    assert!(!turn.someone_waits());
}

/// Calling several at a time guesses who is next, and mostly guesses right.
#[test]
fn those_who_are_called_are_mostly_next() {
    let mut worker = Worker::new(&[100; 8]);
    for tenant in 0..8 {
        worker.add(Load::flood(
            tenant,
            1 + 3 * tenant,
            (20 + tenant as u64) * US,
        ));
    }
    worker.run(SECOND);
    let served: u64 = worker.tenants.iter().map(|tenant| tenant.served).sum();
    assert!(worker.early * 10 <= served, "{} of {served}", worker.early);
}
