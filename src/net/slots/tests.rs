//! Slots: who gets one, and who has to go.

use super::*;

fn closed(limit: &ConnectionLimit) -> Vec<(&'static str, u64)> {
    limit.closed().filter(|(.., count)| *count > 0).map(|(_, reason, count)| (reason, count)).collect()
}

fn take_for(limit: &ConnectionLimit, client: &str) -> Option<Permit> {
    limit.take(Some(client.parse().unwrap()))
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let limit = ConnectionLimit::new("test", 10, 2);
    let mut of_one: Vec<_> = (0..2).map(|_| take_for(&limit, "192.0.2.1").unwrap()).collect();
    assert!(take_for(&limit, "192.0.2.1").is_none());
    assert!(take_for(&limit, "::ffff:192.0.2.1").is_none(), "the same, by another name");
    let _other = take_for(&limit, "192.0.2.2").unwrap();
    let _on_this_machine: Vec<_> = (0..3).map(|_| limit.take(None).unwrap()).collect();
    let _network: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|text| take_for(&limit, text).unwrap()).into();
    assert!(take_for(&limit, "2001:db8::3").is_none());
    assert!(take_for(&limit, "2001:db8:0:1::3").is_some());
    of_one.pop();
    of_one.push(take_for(&limit, "192.0.2.1").unwrap());
    assert_eq!((limit.rejected(), closed(&limit)), (0, vec![("per_client", 3)]));
    of_one.clear();
    assert!(!limit.0.taken.lock().clients.contains_key(&IpAddr::from([192, 0, 2, 1])), "nothing is left of it");
}

#[test]
fn without_that_bound_a_client_may_have_every_slot() {
    let limit = ConnectionLimit::new("test", 3, 0);
    let _all: Vec<_> = (0..3).map(|_| take_for(&limit, "192.0.2.1").unwrap()).collect();
    assert!(take_for(&limit, "192.0.2.2").is_none());
    assert!(limit.0.taken.lock().clients.is_empty());
    assert_eq!((limit.rejected(), limit.open(), closed(&limit)), (1, 3, vec![]));
}

#[test]
fn the_connection_that_was_idle_for_longest_goes_for_another() {
    let limit = ConnectionLimit::new("test", 3, 0);
    limit.0.now_s.store(100, Ordering::Relaxed);
    let all: Vec<_> = (0..3).map(|_| limit.take(None).unwrap()).collect();
    let taken = |limit: &ConnectionLimit, now_s| limit.end_idle(&mut limit.0.taken.lock(), now_s);
    for (permit, last_s) in all.iter().zip([50, 40, 30]) {
        permit.slot.last_s.store(last_s, Ordering::Relaxed);
    }
    // The one that was idle for longest waits for an answer.
    all[2].slot.set_open(1);
    assert!(!taken(&limit, 44), "four seconds are not idle");
    assert!(!taken(&limit, 44));
    assert!(taken(&limit, 45));
    assert_eq!(all[1].slot.begin_turn(Waker::noop()), Turn::SayGoodbye, "it knows");
    for others in [0, 2] {
        assert_eq!(all[others].slot.begin_turn(Waker::noop()), Turn::Serve);
    }
    assert_eq!((limit.open(), closed(&limit)), (2, vec![("idle", 1)]));
    assert!(taken(&limit, 55) && !taken(&limit, 1_000), "the last one is not idle");
    drop(all);
    assert_eq!(limit.open(), 0);
}

#[test]
fn the_connection_whose_answers_are_unread_for_longest_goes_when_there_are_too_many() {
    let limit = ConnectionLimit::new("test", 100, 0);
    let tenth = MAX_UNREAD_BYTES / 10;
    let permits: Vec<_> = (0..11).map(|_| limit.take(None).unwrap()).collect();
    for (now_s, permit) in permits.iter().enumerate() {
        limit.0.now_s.store(u32::try_from(now_s).unwrap(), Ordering::Relaxed);
        permit.slot.set_unread(tenth);
    }
    assert!(permits[0].slot.is_hostile());
    assert!(permits[1..].iter().all(|permit| !permit.slot.is_hostile()));
    assert_eq!(closed(&limit), [("unread", 1)]);
    drop(permits);
    assert_eq!(limit.0.unread_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn one_connection_leaves_only_so_much_unread() {
    let limit = ConnectionLimit::new("test", 100, 0);
    let permit = limit.take(None).unwrap();
    permit.slot.set_unread(MAX_CONNECTION_UNREAD_BYTES);
    assert!(!permit.slot.is_hostile());
    permit.slot.set_unread(MAX_CONNECTION_UNREAD_BYTES + 1);
    assert!(permit.slot.is_hostile());
}
