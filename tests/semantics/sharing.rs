//! share_threshold: all values that match a pattern share one counter.

use crate::scene::{check, domain};

#[test]
fn values_of_a_shared_pattern_have_one_counter() {
    check(
        &domain(
            "
- {key: f, value: 'files/*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: f, value: 'docs/*', rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: 'k*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: 'l*', value: 'a*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: g, value: 'a*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: g, value: '*z', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}",
        ),
        "0 | d | f=files/a => OK | OK d.f_files/* 9/hour 8 3600s
         0 | d | f=files/b => OK | OK d.f_files/* 9/hour 7 3600s
         0 | d | f=files/  => OK | OK d.f_files/* 9/hour 6 3600s
         0 | d | f=files/a; f=files/b => OK | OK d.f_files/* 9/hour 5 3600s; OK d.f_files/* 9/hour 4 3600s
         0 | d | f=docs/a  => OK | OK d.f_docs/* 9/hour 8 3600s
         0 | d | f=docs/b  => OK | OK d.f_docs/* 9/hour 8 3600s
         # Keys that match a pattern have a counter each, whatever their values.
         0 | d | k1=x      => OK | OK d.k* 9/hour 8 3600s
         0 | d | k1=y      => OK | OK d.k* 9/hour 7 3600s
         0 | d | k2=y      => OK | OK d.k* 9/hour 8 3600s
         0 | d | l1=ax     => OK | OK d.l*_a* 9/hour 8 3600s
         0 | d | l1=ay     => OK | OK d.l*_a* 9/hour 7 3600s
         0 | d | l2=ay     => OK | OK d.l*_a* 9/hour 8 3600s
         # Each pattern its own, and the first one wins.
         0 | d | g=az      => OK | OK d.g_a* 9/hour 8 3600s
         0 | d | g=bz      => OK | OK d.g_*z 9/hour 8 3600s
         # A limit of the request's own is not shared.
         0 | d | f=files/a limit=3/hour => OK | OK - 3/hour 2 3600s
         0 | d | f=files/b limit=3/hour => OK | OK - 3/hour 2 3600s",
    );
}

#[test]
fn parents_share_and_repeated_keys_are_reported_apart_by_their_place() {
    check(
        &domain(
            "
- key: org
  value: 'team*'
  share_threshold: true
  descriptors:
  - {key: user, rate_limit: {unit: hour, requests_per_unit: 9}}
- key: k
  value: 'a*'
  descriptors:
  - {key: k, value: 'a*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- key: m
  value: 'a*'
  share_threshold: true
  descriptors:
  - {key: m, value: 'a*', rate_limit: {unit: hour, requests_per_unit: 9}}",
        ),
        "0 | d | org=team1,user=u => OK | OK d.org_team*.user 9/hour 8 3600s
         0 | d | org=team2,user=u => OK | OK d.org_team*.user 9/hour 7 3600s
         0 | d | org=team1,user=w => OK | OK d.org_team*.user 9/hour 8 3600s
         0 | d | k=a1,k=a1 => OK | OK d.k_a*.k_a* 9/hour 8 3600s
         0 | d | k=a1,k=a2 => OK | OK d.k_a*.k_a* 9/hour 7 3600s
         0 | d | k=a2,k=a1 => OK | OK d.k_a*.k_a* 9/hour 8 3600s
         0 | d | m=a1,m=a1 => OK | OK d.m_a*.m_a* 9/hour 8 3600s
         0 | d | m=a2,m=a1 => OK | OK d.m_a*.m_a* 9/hour 7 3600s
         0 | d | m=a1,m=a2 => OK | OK d.m_a*.m_a* 9/hour 8 3600s",
    );
}
