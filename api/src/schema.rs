//! Bounded schemas of the values that several kinds share.
//!
//! Every list has `maxItems` and every string `maxLength`: the API server estimates the cost of a CEL rule from
//! these bounds and refuses a CRD that could become too expensive.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The longest textual IP address, an IPv6 address with all of its digits.
const IP_MAX: u32 = 39;

/// A CIDR (`192.0.2.0/24`) or a range of addresses (`192.0.2.10-192.0.2.20`) of one family.
///
/// CEL can't compare addresses, so the order of a range's ends is checked when the pool is read.
pub fn addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 2 * IP_MAX + 1,
        "x-kubernetes-validations": [
            {
                "rule": "self.contains('-') ? self.split('-').size() == 2 && self.split('-').all(a, isIP(a)) : isCIDR(self)",
                "message": "must be a CIDR such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20",
            },
            {
                "rule": "!self.contains('-') || self.split('-').size() != 2 || !self.split('-').all(a, isIP(a)) || ip(self.split('-')[0]).family() == ip(self.split('-')[1]).family()",
                "message": "both ends of a range must be of one IP family",
            },
            {
                "rule": "!isCIDR(self) || cidr(self).prefixLength() > 0",
                "message": "a prefix of length 0 is the whole address space",
            },
            // `cidr(self) == cidr(self).masked()` says the same, but the API server of Kubernetes 1.31 takes the cost of
            // comparing for unbounded, and refuses the CRD.
            {
                "rule": "!isCIDR(self) || cidr(self.split('/')[0] + (self.contains(':') ? '/128' : '/32')).containsIP(cidr(self).masked().ip())",
                "message": "a CIDR must not have bits set beyond its prefix length",
            },
        ],
    })
}

/// One IP address of either family.
pub fn ip(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": IP_MAX,
        "x-kubernetes-validations": [{"rule": "isIP(self)", "message": "must be an IPv4 or IPv6 address"}],
    })
}

/// One IPv4 address, also the form of a BGP identifier.
pub fn ipv4(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 15,
        "x-kubernetes-validations": [
            {"rule": "isIP(self) && ip(self).family() == 4", "message": "must be an IPv4 address"},
        ],
    })
}

/// One IPv6 address.
pub fn ipv6(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": IP_MAX,
        "x-kubernetes-validations": [
            {"rule": "isIP(self) && ip(self).family() == 6", "message": "must be an IPv6 address"},
        ],
    })
}

/// The name of a network interface or VRF: what Linux allows, less what would have a meaning to FRR's parser.
/// FRR-K8s puts the text into FRR's configuration unescaped.
pub fn interface(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 15,
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    })
}

/// The source of a session: an address or the name of an interface.
pub fn source(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": IP_MAX,
        "x-kubernetes-validations": [{
            "rule": "isIP(self) || self.matches('^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$')",
            "message": "must be an IP address or the name of an interface",
        }],
    })
}

/// An autonomous system number (RFC 6793); 0 is reserved (RFC 7607).
pub fn asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 1, "maximum": 4_294_967_295_u32})
}

/// The hold or keepalive time of a BGP session: 0 or whole seconds, at least 3 (RFC 4271 §4.2).
pub fn hold_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) == duration('0s') || (duration(self) >= duration('3s') && duration(self) <= duration('65535s'))",
        "must be 0s, or between 3s and 65535s",
    )
}

/// The keepalive interval of a BGP session (RFC 4271 §10).
pub fn keepalive_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) >= duration('0s') && duration(self) <= duration('65535s')",
        "must be between 0s and 65535s",
    )
}

/// The time between two attempts to connect, as FRR-K8s bounds it.
pub fn connect_time(_: &mut SchemaGenerator) -> Schema {
    duration(
        "duration(self) >= duration('1s') && duration(self) <= duration('65535s')",
        "must be between 1s and 65535s",
    )
}

fn duration(bounds: &str, message: &str) -> Schema {
    let valid = "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self != ''";
    json_schema!({
        "type": "string",
        "maxLength": 16,
        "x-kubernetes-validations": [
            {"rule": valid, "message": "must be a duration of whole seconds such as 90s or 1m30s"},
            {"rule": format!("!({valid}) || ({bounds})"), "message": message},
        ],
    })
}

/// The name of a cluster-scoped object.
pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    })
}

/// The name of a Namespace or a Service, an RFC 1123 label.
pub fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    })
}

/// The name of a community alias. It has no colon, so that it can't be taken for a value.
pub fn alias_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[A-Za-z][A-Za-z0-9_.-]*$",
    })
}

const COMMUNITY_VALUE: &str = "(self.matches('^[0-9]{1,5}:[0-9]{1,5}$') && self.split(':').all(n, int(n) <= 65535)) || (self.matches('^large(:[0-9]{1,10}){3}$') && self.replace('large:', '').split(':').all(n, int(n) <= 4294967295))";

/// A BGP community value: standard `65535:65535` (RFC 1997) or large `large:4294967295:4294967295:4294967295`
/// (RFC 8092).
pub fn community_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 38,
        "x-kubernetes-validations": [{
            "rule": COMMUNITY_VALUE,
            "message": "must be a community such as 65000:100 or large:65000:1:2",
        }],
    })
}

/// A community value or the name of an alias from a CommunityAlias.
pub fn community(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('^[A-Za-z][A-Za-z0-9_.-]*$') || {COMMUNITY_VALUE}"),
            "message": "must be a community such as 65000:100 or large:65000:1:2, or the name of an alias",
        }],
    })
}

/// A Kubernetes label selector, bounded.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let key = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    let value = json_schema!({
        "type": "string",
        "maxLength": 63,
        "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    });
    json_schema!({
        "description": "Selects objects by their labels; all requirements must hold. An empty selector selects every object.",
        "type": "object",
        "properties": {
            "matchLabels": {"type": "object", "maxProperties": 16, "additionalProperties": value},
            "matchExpressions": {
                "type": "array",
                "maxItems": 16,
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "minLength": 1, "maxLength": 317, "pattern": key},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {"type": "array", "maxItems": 64, "items": value},
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "In and NotIn need values, Exists and DoesNotExist take none",
                    }],
                },
            },
        },
    })
}

/// The conditions of an object, one of each type, as `metav1.Condition` is bounded upstream.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is known of the object; Ready tells whether it is valid and in effect.",
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "minLength": 1, "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "message": {"type": "string", "maxLength": 32768},
            },
        },
    })
}

/// A point in time, RFC 3339.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// Types that stand for the items of lists, where the derive takes a type but no function.
macro_rules! items {
    ($($name:ident => $schema:ident),+ $(,)?) => {
        $(
            pub struct $name;

            impl schemars::JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                    $schema(generator)
                }
            }
        )+
    };
}

items! {
    Addresses => addresses,
    Community => community,
    Ip => ip,
    LabelName => label_name,
    ObjectName => object_name,
    Selector => label_selector,
}
