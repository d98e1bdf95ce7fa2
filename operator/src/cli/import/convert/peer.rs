//! BGPPeers, with their BFD profiles and passwords.

use clarion_api::{
    ObjectMeta, RouterPeer, RouterPeerSpec,
    peer::{Bfd, DynamicAsn, PasswordSecret},
};
use k8s_openapi::api::core::v1::Secret;

use super::{
    Converter,
    values::{ip, is_interface, is_name, nanoseconds, selectors},
};
use crate::cli::import::{
    metallb::{self, BgpPeer, Id, Object},
    report::{Effect, Refusal},
};

/// The type of Secret that FRR-K8s takes passwords from.
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// The longest time that BGP has room for, in seconds.
const LONGEST: u64 = 65_535;

impl Converter<'_> {
    pub fn peers(&mut self) {
        for object in self.objects.peers.values() {
            let result = self.peer(object);
            let spec = self.accept(&object.id, result);
            self.imported.peers.extend(spec.map(|spec| RouterPeer::new(&object.id.name, spec)));
        }
        self.imported.secrets.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        self.imported.secrets.dedup();
        for profile in self.objects.bfd_profiles.values() {
            if self.objects.peers.values().all(|peer| peer.spec.bfd_profile != profile.id.name) {
                let message = "no BGPPeer refers to it; a RouterPeer has its BFD parameters in itself";
                self.note(Effect::LeftOut, &profile.id, "", message);
            }
        }
    }

    fn peer(&mut self, object: &Object<BgpPeer>) -> Result<RouterPeerSpec, Refusal> {
        let id = &object.id;
        let BgpPeer {
            my_asn,
            peer_asn,
            local_asn,
            dynamic_asn,
            peer_address,
            interface,
            source_address,
            peer_port,
            hold_time: _,
            keepalive_time: _,
            connect_time,
            router_id,
            node_selectors,
            password: _,
            password_secret: _,
            bfd_profile: _,
            enable_graceful_restart,
            ebgp_multi_hop,
            vrf,
            disable_mp,
            dual_stack_address_family,
            unknown,
            is_v1beta1: _,
        } = &object.spec;
        self.unknown(id, "", unknown);
        let dynamic_asn = match (dynamic_asn.as_str(), peer_asn) {
            ("", 0) => return Err(Refusal::error("peerASN", "neither it nor dynamicASN is set")),
            ("", _) => None,
            (_, 1..) => return Err(Refusal::error("peerASN", "both it and dynamicASN are set")),
            ("internal", _) => Some(DynamicAsn::Internal),
            ("external", _) => Some(DynamicAsn::External),
            (other, _) => {
                return Err(Refusal::error("dynamicASN", format!("{other:?} is neither internal nor external")));
            }
        };
        if peer_address.is_empty() == interface.is_empty() {
            return Err(Refusal::error("peerAddress", "exactly one of it and interface is needed"));
        }
        let address = |field: &str, text: &str| {
            ip(text).ok_or_else(|| Refusal::error(field, format!("{text:?} is not an IP address")))
        };
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        for (field, name) in [("interface", interface), ("vrf", vrf)] {
            if !name.is_empty() && !is_interface(name) {
                return Err(Refusal::left_out(field, format!("{name:?} is not the name of an interface")));
            }
        }
        if !(0..=16_384).contains(peer_port) {
            return Err(Refusal::error("peerPort", format!("{peer_port} is not between 1 and 16384")));
        }
        for (field, value) in
            [("sourceAddress", some(source_address)), ("localASN", asn("localASN", *local_asn)?.map(|n| n.to_string()))]
        {
            if let Some(value) = value {
                let message = format!(
                    "MetalLB does not apply {value} in FRR-K8s mode, and the session would differ from MetalLB's; add it to \
                     the RouterPeer after the cut-over"
                );
                self.note(Effect::LeftOut, id, field, message);
            }
        }
        if *disable_mp {
            self.note(Effect::LeftOut, id, "disableMP", "FRR-K8s does not act on it");
        }
        let router_id = some(router_id).map(|text| match address("routerID", &text)? {
            id if id.is_ipv4() => Ok(id.to_string()),
            _ => Err(Refusal::left_out("routerID", format!("{text:?} is not of the form 192.0.2.1"))),
        });
        let (hold_time, keepalive_time) = self.timers(object)?;
        Ok(RouterPeerSpec {
            my_asn: Some(asn("myASN", *my_asn)?.ok_or_else(|| Refusal::error("myASN", "it is needed"))?),
            peer_asn: asn("peerASN", *peer_asn)?,
            dynamic_asn,
            peer_address: some(peer_address)
                .map(|text| address("peerAddress", &text))
                .transpose()?
                .map(|a| a.to_string()),
            interface: some(interface),
            // The default of both, and for FRR-K8s the same as none.
            peer_port: i32::try_from(*peer_port).ok().filter(|port| !matches!(port, 0 | 179)),
            hold_time: hold_time.map(|seconds| format!("{seconds}s")),
            keepalive_time: keepalive_time.map(|seconds| format!("{seconds}s")),
            connect_time: connect_time.as_ref().map(|text| connect(text)).transpose()?,
            router_id: router_id.transpose()?,
            node_selectors: selectors(node_selectors).map_err(|error| error.at("nodeSelectors"))?,
            password_secret: self.password(object)?,
            bfd: self.bfd(object)?,
            enable_graceful_restart: enable_graceful_restart.then_some(true),
            ebgp_multi_hop: ebgp_multi_hop.then_some(true),
            vrf: some(vrf),
            dual_stack_address_family: dual_stack_address_family.then_some(true),
            ..RouterPeerSpec::default()
        })
    }

    /// Hold and keepalive time in whole seconds, as FRR-K8s cuts them off; one of them follows from the other as in MetalLB.
    fn timers(&mut self, object: &Object<BgpPeer>) -> Result<(Option<u64>, Option<u64>), Refusal> {
        let spec = &object.spec;
        let read = |field: &str, text: &Option<String>| {
            let time = text.as_ref().map(|text| {
                nanoseconds(text).ok_or_else(|| Refusal::error(field, format!("{text:?} is not a duration")))
            });
            time.transpose().map(|time| time.filter(|time| *time > 0 || !spec.is_v1beta1))
        };
        let (hold, keepalive) = (read("holdTime", &spec.hold_time)?, read("keepaliveTime", &spec.keepalive_time)?);
        if spec.is_v1beta1 && (hold.is_none() || keepalive.is_none()) {
            let message = "MetalLB turns a timer that is unset in v1beta1 into 0s; see what \
                           `kubectl get bgppeers.v1beta2.metallb.io -o yaml` has, or import --from-cluster";
            self.note(Effect::CutOver, &object.id, "holdTime", message);
        }
        let (hold, keepalive) = match (hold, keepalive) {
            (None, None) => return Ok((None, None)),
            (Some(hold), Some(keepalive)) => (hold, keepalive),
            (Some(hold), None) => (hold, hold / 3),
            (None, Some(keepalive)) => (keepalive.saturating_mul(3), keepalive),
        };
        let (hold, keepalive) = (seconds(hold), seconds(keepalive));
        if keepalive > hold || !(hold == 0 || (3..=LONGEST).contains(&hold)) {
            let message = "it must be 0s, or between 3s and 65535s, and not shorter than keepaliveTime";
            return Err(Refusal::error("holdTime", message));
        }
        Ok((Some(hold), Some(keepalive)))
    }

    fn bfd(&mut self, object: &Object<BgpPeer>) -> Result<Option<Bfd>, Refusal> {
        let name = &object.spec.bfd_profile;
        if name.is_empty() {
            return Ok(None);
        }
        let objects = self.objects;
        let Some(profile) = objects.bfd_profiles.get(name) else {
            let message = format!("there is no BFDProfile {name:?} among the objects: the session has no BFD");
            self.note(Effect::LeftOut, &object.id, "bfdProfile", message);
            return Ok(None);
        };
        let metallb::BfdProfile {
            receive_interval,
            transmit_interval,
            detect_multiplier,
            echo_interval,
            echo_mode,
            passive_mode,
            minimum_ttl,
            unknown,
        } = &profile.spec;
        self.unknown(&profile.id, "", unknown);
        let message = "FRR-K8s takes one BFD profile for a session, and Clarion's has another name than MetalLB's: remove \
                       bfdProfile from the BGPPeer before Clarion starts; the session stays up, without BFD until then";
        self.note(Effect::CutOver, &object.id, "bfdProfile", message);
        let number = |field: &str, value: Option<i64>, least: i32, most: i32| {
            let check = |value| i32::try_from(value).ok().filter(|value| (least..=most).contains(value));
            let message = || format!("{field} of BFDProfile {name} is not between {least} and {most}");
            value.map(|value| check(value).ok_or_else(|| Refusal::error("bfdProfile", message()))).transpose()
        };
        let is_echoing = *echo_mode == Some(true) && object.spec.ebgp_multi_hop;
        if is_echoing {
            let message = "echoMode does not work over several hops";
            self.note(Effect::LeftOut, &object.id, "bfdProfile", message);
        }
        Ok(Some(Bfd {
            receive_interval: number("receiveInterval", *receive_interval, 10, 60_000)?,
            transmit_interval: number("transmitInterval", *transmit_interval, 10, 60_000)?,
            detect_multiplier: number("detectMultiplier", *detect_multiplier, 2, 255)?,
            echo_interval: number("echoInterval", *echo_interval, 10, 60_000)?,
            echo_mode: echo_mode.filter(|_| !is_echoing),
            passive_mode: *passive_mode,
            minimum_ttl: number("minimumTtl", *minimum_ttl, 1, 254)?,
        }))
    }

    /// The Secret in the namespace of FRR-K8s that holds the session's password; written if it has to be.
    fn password(&mut self, object: &Object<BgpPeer>) -> Result<Option<PasswordSecret>, Refusal> {
        let (spec, id) = (&object.spec, &object.id);
        let wanted = &spec.password_secret.name;
        let name = match (spec.password.is_empty(), wanted.is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => return Err(Refusal::error("password", "both it and passwordSecret are set")),
            (false, true) if spec.password.contains(char::is_control) => {
                return Err(Refusal::error("password", "it has characters that FRR can't read, such as a line break"));
            }
            (false, true) => {
                let name = secret_name(&id.name);
                self.add_secret(&name, Some(spec.password.clone().into_bytes()));
                let message = format!("the password is in Secret {}/{name}", self.settings.frr_k8s_namespace);
                self.note(Effect::Changed, id, "password", message);
                name
            }
            (true, false) if is_name(wanted, 253, true) => self.copy_secret(id, wanted)?,
            (true, false) => {
                let message = format!("{wanted:?} is not the name of a Secret");
                return Err(Refusal::error("passwordSecret", message));
            }
        };
        self.warn_of_plain_text(object, &name);
        Ok(Some(PasswordSecret { name }))
    }

    /// FRR-K8s refuses a password and a reference to one on the same session, even if they say the same.
    fn warn_of_plain_text(&mut self, object: &Object<BgpPeer>, name: &str) {
        let (field, is_plain) =
            if object.spec.password.is_empty() { ("passwordSecret", false) } else { ("password", true) };
        let is_shared = self.settings.metallb_namespace == self.settings.frr_k8s_namespace;
        let message = match (is_shared, is_plain) {
            (true, false) => return,
            (true, true) => format!(
                "MetalLB hands the password to FRR-K8s as text, Clarion as a reference, and FRR-K8s refuses both on one \
                 session: set passwordSecret.name: {name} in the BGPPeer instead before Clarion starts"
            ),
            (false, _) => {
                "MetalLB hands the password to FRR-K8s as text, because it runs in another namespace, Clarion as a \
                           reference, and FRR-K8s refuses both on one session: this session is down for a moment when \
                           MetalLB's FRRConfigurations are deleted"
                    .to_owned()
            }
        };
        self.note(Effect::CutOver, &object.id, field, message);
    }

    /// A Secret of MetalLB's namespace, brought to that of FRR-K8s unless it is there.
    fn copy_secret(&mut self, id: &Id, name: &str) -> Result<String, Refusal> {
        let (from, to) = (&self.settings.metallb_namespace, &self.settings.frr_k8s_namespace);
        if from == to {
            return Ok(name.to_owned());
        }
        let of = |namespace: &str| self.objects.secrets.get(&(namespace.to_owned(), name.to_owned()));
        let (source, existing) = (of(from).or_else(|| of("")), of(to).map(password_of));
        let password = match (source, existing) {
            (None, Some(_)) => return Ok(name.to_owned()),
            (None, None) => {
                let message = format!(
                    "copy the Secret: kubectl -n {to} create secret generic {name} --type={BASIC_AUTH} \
                     --from-file=password=<(kubectl -n {from} get secret {name} -o jsonpath='{{.data.password}}' | base64 -d)"
                );
                self.note(Effect::LeftOut, id, "passwordSecret", message);
                return Ok(name.to_owned());
            }
            (Some(source), existing) => {
                let password = password_of(source);
                if source.type_.as_deref() != Some(BASIC_AUTH) || password.is_none() {
                    let message = format!("Secret {from}/{name} is not of type {BASIC_AUTH}, or has no key password");
                    return Err(Refusal::error("passwordSecret", message));
                }
                if existing == Some(password.clone()) {
                    return Ok(name.to_owned());
                }
                if existing.is_some() {
                    let other = secret_name(&id.name);
                    let message = format!("Secret {to}/{name} has another password: this one is in {to}/{other}");
                    self.note(Effect::Changed, id, "passwordSecret", message);
                    self.add_secret(&other, password);
                    return Ok(other);
                }
                password
            }
        };
        self.add_secret(name, password);
        Ok(name.to_owned())
    }

    fn add_secret(&mut self, name: &str, password: Option<Vec<u8>>) {
        self.imported.secrets.push(Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.settings.frr_k8s_namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(BASIC_AUTH.to_owned()),
            data: password.map(|password| [("password".to_owned(), k8s_openapi::ByteString(password))].into()),
            ..Secret::default()
        });
    }
}

/// A name that tells whose password it is.
fn secret_name(peer: &str) -> String {
    let name = format!("clarion-peer-{peer}");
    if is_name(&name, 253, true) { name } else { format!("clarion-peer-{}", clarion_core::hash(peer)) }
}

/// The password in a Secret.
pub fn password_of(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.string_data.as_ref().and_then(|data| data.get("password"));
    let data = secret.data.as_ref().and_then(|data| data.get("password"));
    text.map(|text| text.clone().into_bytes()).or_else(|| data.map(|bytes| bytes.0.clone()))
}

/// An AS number; 0 is unset.
fn asn(field: &str, value: i64) -> Result<Option<i64>, Refusal> {
    if (0..=i64::from(u32::MAX)).contains(&value) {
        Ok(Some(value).filter(|value| *value != 0))
    } else {
        Err(Refusal::error(field, format!("{value} is not between 1 and 4294967295")))
    }
}

fn seconds(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(u64::MAX)
}

fn connect(text: &str) -> Result<String, Refusal> {
    let time = nanoseconds(text).map(seconds).filter(|seconds| (1..=LONGEST).contains(seconds));
    let message = || format!("{text:?} is not a duration between 1s and 65535s");
    time.map(|seconds| format!("{seconds}s")).ok_or_else(|| Refusal::error("connectTime", message()))
}
