//! Which rule a descriptor meets, and which counter.

use tidegate::service::{Batch, Call};

use crate::scene::{check, domain};

const TREE: &str = "
- key: a
  rate_limit: {unit: hour, requests_per_unit: 10}
  descriptors:
  - {key: b, rate_limit: {unit: hour, requests_per_unit: 20}}
- key: a
  value: white
- key: c
  descriptors:
  - {key: b, rate_limit: {unit: hour, requests_per_unit: 30}}
- key: c
  value: dead-end
  descriptors:
  - {key: other, rate_limit: {unit: hour, requests_per_unit: 40}}";

#[test]
fn the_depth_must_be_the_same() {
    check(
        &domain(TREE),
        "0 | d | a=1         => OK | OK d.a 10/hour 9 3600s
         0 | d | a=1,b=2     => OK | OK d.a.b 20/hour 19 3600s
         # Too deep, too shallow, unknown, out of order, nothing at all.
         0 | d | a=1,b=2,b=3 => OK | OK -
         0 | d | c=1         => OK | OK -
         0 | d | c=1,b=2     => OK | OK d.c.b 30/hour 29 3600s
         0 | d | x=1         => OK | OK -
         0 | d | b=2,a=1     => OK | OK -
         0 | d | ()          => OK | OK -
         0 | d | (); a=1; x=1 => OK | OK -; OK d.a 10/hour 8 3600s; OK -
         0 | unknown | a=1   => OK | OK -",
    );
}

#[test]
fn what_is_found_first_is_final() {
    check(
        &domain(TREE),
        "0 | d | a=white          => OK | OK -
         0 | d | a=white,b=2      => OK | OK -
         0 | d | c=dead-end,b=2   => OK | OK -
         0 | d | c=dead-end,other=2 => OK | OK d.c_dead-end.other 40/hour 39 3600s",
    );
}

#[test]
fn exact_then_patterns_in_their_order_then_the_default() {
    check(
        &domain(
            "
- {key: p, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: p, value: '/a/*', rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: p, value: '/a/b*', rate_limit: {unit: hour, requests_per_unit: 3}}
- {key: p, value: '*/x/*/y', rate_limit: {unit: hour, requests_per_unit: 4}}
- {key: 'q*', rate_limit: {unit: hour, requests_per_unit: 5}}
- {key: p, value: '/a/b/c', rate_limit: {unit: hour, requests_per_unit: 6}}",
        ),
        "0 | d | p=/a/b/c     => OK | OK d.p_/a/b/c 6/hour 5 3600s
         0 | d | p=/a/b       => OK | OK d.p_/a/* 2/hour 1 3600s
         0 | d | p=/a/        => OK | OK d.p_/a/* 2/hour 1 3600s
         0 | d | p=/a         => OK | OK d.p 1/hour 0 3600s
         0 | d | p=/x//y      => OK | OK d.p_*/x/*/y 4/hour 3 3600s
         0 | d | p=1/x/2/x/3/y => OK | OK d.p_*/x/*/y 4/hour 3 3600s
         0 | d | p=/x/y       => OK | OK d.p 1/hour 0 3600s
         0 | d | p=           => OK | OK d.p 1/hour 0 3600s
         0 | d | q=1          => OK | OK d.q* 5/hour 4 3600s
         0 | d | qq=1         => OK | OK d.q* 5/hour 4 3600s
         0 | d | qq=2         => OK | OK d.q* 5/hour 4 3600s",
    );
}

#[test]
fn a_counter_is_the_rule_and_the_values_that_it_leaves_open() {
    check(
        &domain(
            "
- {key: any, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: one, value: v, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: 'pre', value: 'x*', rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: nest, descriptors: [{key: any, rate_limit: {unit: hour, requests_per_unit: 9}}]}",
        ),
        "0 | d | any=1 => OK | OK d.any 9/hour 8 3600s
         0 | d | any=1 => OK | OK d.any 9/hour 7 3600s
         0 | d | any=2 => OK | OK d.any 9/hour 8 3600s
         0 | d | any=  => OK | OK d.any 9/hour 8 3600s
         0 | d | one=v => OK | OK d.one_v 9/hour 8 3600s
         0 | d | pre=x1 => OK | OK d.pre_x* 9/hour 8 3600s
         0 | d | pre=x2 => OK | OK d.pre_x* 9/hour 8 3600s
         0 | d | nest=1,any=1 => OK | OK d.nest.any 9/hour 8 3600s
         0 | d | nest=2,any=1 => OK | OK d.nest.any 9/hour 8 3600s
         0 | d | nest=1,any=2 => OK | OK d.nest.any 9/hour 8 3600s
         0 | d | nest=1,any=1 => OK | OK d.nest.any 9/hour 7 3600s",
    );
}

#[test]
fn texts_that_join_to_the_same_never_share_a_counter() {
    let shared_text = "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: a_b, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: n, descriptors: [{key: n, rate_limit: {unit: hour, requests_per_unit: 9}}]}
- {key: 'w*', rate_limit: {unit: hour, requests_per_unit: 9}}";
    check(
        &domain(shared_text),
        "0 | d | a=b_c => OK | OK d.a 9/hour 8 3600s
         0 | d | a_b=c => OK | OK d.a_b 9/hour 8 3600s
         0 | d | a=b_c => OK | OK d.a 9/hour 7 3600s
         # Over the border between two entries.
         0 | d | n=1_n_2,n=3 => OK | OK d.n.n 9/hour 8 3600s
         0 | d | n=1,n=2_n_3 => OK | OK d.n.n 9/hour 8 3600s
         # A pattern of keys.
         0 | d | w=x_y => OK | OK d.w* 9/hour 8 3600s
         0 | d | w_x=y => OK | OK d.w* 9/hour 8 3600s
         # Request overrides.
         0 | d | a=b_c limit=5/hour => OK | OK - 5/hour 4 3600s
         0 | d | a_b=c limit=5/hour => OK | OK - 5/hour 4 3600s
         0 | d | a=b,c=d limit=5/hour => OK | OK - 5/hour 4 3600s
         0 | d | a=b_c_d limit=5/hour => OK | OK - 5/hour 4 3600s",
    );
}

#[test]
fn long_values_are_reported_apart() {
    let long = "x".repeat(300);
    let longer = "x".repeat(100_000);
    check(
        &domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}"),
        &format!(
            "0 | d | a={long}    => OK
             0 | d | a={long}y   => OK
             0 | d | a={longer}  => OK
             0 | d | a={longer}y => OK
             0 | d | a={long}    => OVER_LIMIT
             0 | d | a={longer}  => OVER_LIMIT"
        ),
    );
}

#[test]
fn values_that_are_not_utf_8_are_limited() {
    use tidegate::limiter::{Code, WorkerSlot};
    use tidegate::units::Timestamp;

    let scene = crate::scene::Scene::new(&domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}"));
    let check = |value: &[u8]| {
        let entry = [&[0x0a, 1, b'a', 0x12, u8::try_from(value.len()).unwrap()], value].concat();
        let wrap = |field: u8, bytes: Vec<u8>| [vec![field, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let request = [wrap(0x0a, b"d".to_vec()), wrap(0x12, wrap(0x0a, entry))].concat();
        let answer = Batch::new(scene.limiter(), WorkerSlot::default(), Timestamp::EPOCH)
            .decide(Call::default(), &request)
            .unwrap();
        let read = tidegate::api::rls::read(&request).unwrap();
        let code = scene.limiter().view().unwrap().check(WorkerSlot::default(), Timestamp::EPOCH, &read).code;
        (answer.code == Code::OverLimit, code)
    };
    for value in [&b"\xff"[..], b"ok\xc3(", b"\xed\xa0\x80", b"\0", b"\xf8\x88\x80\x80\x80"] {
        assert_eq!(check(value), (false, Code::OverLimit), "{value:?}");
    }
    // Lossily: two that decode to the same text share a counter.
    assert_eq!(check(b"\xfe"), (true, Code::OverLimit));
}

#[test]
fn descriptors_of_several_domains_are_apart() {
    check(
        &domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 2}}"),
        "0 | d  | a=1 => OK | OK d.a 2/hour 1 3600s
         0 | D  | a=1 => OK | OK -
         0 | dd | a=1 => OK | OK -
         0 | d  | a=1 => OK | OK d.a 2/hour 0 3600s",
    );
}
