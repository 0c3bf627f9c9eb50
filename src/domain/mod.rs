//! The nouns of Usher, as `README.md` and the administrator's guide use them.
//!
//! Pure data: no I/O, no clock, no framework. Every other layer speaks in these types.

mod account;
mod alerts;
mod brakes;
mod connection;
mod expiry;
mod failure;
mod holdings;
mod id;
mod mapping;
mod role;
mod secret;
mod target;

pub use account::{
    Account, AccountRules, Action, Applied, Desired, DesiredAccount, DesiredGroup, GroupBinding,
    Lookup, Observed, Owner, Presence, Standing,
};
pub use alerts::{AlertSettings, MailSettings, MailTls, WebhookSettings};
pub use brakes::{Brake, Brakes, Removal, RemovalKind, Share, WHOLE_TARGET};
pub use connection::{
    ClientAuth, Connection, ConnectionKind, ConnectionSettings, Grant, LoginFallback,
    LoginSettings, PullSettings, PullUsers,
};
pub use expiry::Expiry;
pub use failure::Failure;
pub use holdings::{HeldGroup, Holdings};
pub use id::{ConnectionId, GroupId, MappingId, TargetId, UserId, new_id};
pub use mapping::{
    ExistingGroups, GroupAttribute, GroupRules, LeadSuccessors, ManualRule, Mapping,
    MappingSettings, MatchKey, Mode, OnDelete, OnDrift, Operation, RewriteRule, SourceNames,
    UserRules,
};
pub use role::Role;
pub use secret::{SecretRef, Secrets, StoredSecret};
pub use target::{Target, TargetAuth, TargetKind, TargetSettings};
