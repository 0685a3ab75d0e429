//! Texts of errors: that of the reference, which tools may look for, followed by what to do.

use super::yaml::Node;
use super::{Unit, nearest, quote};

/// A key that is not a string.
pub(super) fn key_is_no_text(key: &Node) -> String {
    format!("config error, key is not of type string: {} (put quotes around it)", quote::value(key))
}

/// A key that does not exist; `known` are the keys that do.
pub(super) fn unknown_key<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let hint = nearest(key, known).map(|word| format!(" (did you mean '{word}'?)"));
    format!("config error, unknown key '{key}'{}", hint.unwrap_or_default())
}

/// An element of a list that is not a map.
pub(super) fn element_is_no_map(item: &Node) -> String {
    let shown = quote::value(item);
    format!(
        "config error, yaml file contains list of type other than map: {shown} (an element begins with '- ' and a key, \
         such as '- key: NAME')"
    )
}

/// A number that is not a 64-bit integer.
pub(super) fn unusable_number(key: &str, found: &str) -> String {
    let hint = match key {
        "requests_per_unit" => {
            format!("'{key}' must be a whole number from 0 to {}, or -1 for no limit, found {found}", u32::MAX)
        }
        "key" | "value" | "domain" | "name" | "unit" => format!("put quotes around {found}, so that '{key}' is a text"),
        _ => format!("'{key}' cannot be the number {found}"),
    };
    format!("error checking config ({hint})")
}

/// A missing unit, or one that does not exist.
pub(super) fn no_unit(found: &str) -> String {
    let all = Unit::ALL.map(|unit| unit.name().to_ascii_lowercase());
    let (last, others) = all.split_last().map_or(("", &[][..]), |(last, others)| (last, others));
    let units = format!("{} or {last}", others.join(", "));
    let text = format!("invalid rate limit unit '{found}'");
    if found.is_empty() {
        return format!("{text} (give a 'unit': {units}; or a 'period' such as 30s)");
    }
    let near = nearest(found, all.iter().map(String::as_str)).map(|word| format!("did you mean '{word}'? "));
    format!("{text} ({}use {units}, or 'period' for other lengths)", near.unwrap_or_default())
}

/// What to write where the reference expects a value of one of its types.
pub(super) fn for_type(wanted: &str, is_list: bool) -> &'static str {
    match wanted {
        "uint32" => "write a whole number from 0 to 4294967295 without quotes, or -1 for no limit",
        "bool" => "write true or false, without quotes",
        "string" => "write a single text",
        "[]config.YamlDescriptor" => "write a list, each element of which begins with '- key:'",
        "config.YamlDescriptor" => "write a map with 'key'",
        "config.YamlRateLimit" if is_list => "write a single block of keys; a list of limits is called 'rate_limits'",
        "config.YamlRateLimit" => "write a block of keys, such as {unit: minute, requests_per_unit: 10}",
        "[]config.yamlReplaces" => "write a list of names, such as [{name: other}]",
        _ => "write keys with values; a rules file begins with 'domain:'",
    }
}
