//! What pages and API share about changing parts of the configuration. Whatever is edited is the configuration
//! that `usher apply` stores: it is read, one part of it is replaced, and the whole is stored as a file would be.

use secrecy::SecretString;

use super::State;
use super::problem::{FieldError, Problem};
use crate::auth::seat::Actor;
use crate::config::{self, ConfigFile, MappingEntry};
use crate::configure::{self, By, Order, Report, Typed};
use crate::domain::{
    AlertSettings, ClientAuth, ConnectionKind, ConnectionSettings, Grant, GroupAttribute,
    MailSettings, MailTls, MappingSettings, PullSettings, PullUsers, SecretRef, TargetAuth,
    TargetKind, TargetSettings, WebhookSettings,
};
use crate::store::{self, settings, versions};

/// The configuration with a change that is not stored yet.
pub(super) struct Edit {
    pub(super) file: ConfigFile,
    generation: i64,
    secrets: Vec<Typed>,
}

impl Edit {
    /// Begins with what is there.
    pub(super) async fn begin(state: &State) -> Result<Self, Problem> {
        let configuration = state.store.read(settings::load).await?;
        Ok(Self {
            generation: configuration.generation,
            file: versions::as_file(configuration),
            secrets: Vec::new(),
        })
    }

    /// Stores the change; with `dry_run` only says what it would be.
    pub(super) async fn apply(
        &self,
        state: &State,
        actor: &Actor,
        through: &str,
        dry_run: bool,
    ) -> Result<Report, configure::Error> {
        let text = config::print(&self.file);
        let order = Order {
            text: &text,
            secrets: &self.secrets,
            generation: Some(self.generation),
            dry_run,
        };
        let by = By {
            actor: &actor.name,
            cause: through,
        };
        let vault = state.vault.as_ref();
        let report = configure::apply(&state.store, &state.clock, vault, order, by).await?;
        if !dry_run {
            state.intake.wake();
        }
        Ok(report)
    }

    /// The connection of that name.
    pub(super) fn connection(&self, name: &str) -> Option<&ConnectionSettings> {
        self.file.connections.iter().find(|it| it.name == name)
    }

    /// The target of that name.
    pub(super) fn target(&self, name: &str) -> Option<&TargetSettings> {
        self.file.targets.iter().find(|it| it.name == name)
    }

    /// The rules between a connection and a target.
    pub(super) fn mapping(&self, connection: &str, target: &str) -> Option<&MappingSettings> {
        let mut mappings = self.file.mappings.iter();
        mappings
            .find(|it| it.connection == connection && it.target == target)
            .map(|it| &it.settings)
    }

    /// Replaces the rules between a connection and a target, or adds them.
    pub(super) fn put_mapping(
        &mut self,
        connection: &str,
        target: &str,
        settings: MappingSettings,
    ) {
        let mut mappings = self.file.mappings.iter_mut();
        match mappings.find(|it| it.connection == connection && it.target == target) {
            Some(entry) => entry.settings = settings,
            None => self.file.mappings.push(MappingEntry {
                connection: connection.to_owned(),
                target: target.to_owned(),
                settings,
            }),
        }
    }

    /// Replaces a connection, or adds it. What the wish does not speak of stays.
    pub(super) fn put_connection(
        &mut self,
        name: &str,
        wish: ConnectionWish,
    ) -> Result<(), Problem> {
        let old = self.connection(name).cloned();
        let mut connection = old.unwrap_or_else(|| ConnectionSettings::new(name, wish.kind));
        connection.kind = wish.kind;
        connection.group_attributes = wish.group_attributes;
        connection.pull = match wish.pull {
            None => None,
            Some(pull) => Some(self.pull(name, connection.pull.take(), pull)?),
        };
        match self.file.connections.iter_mut().find(|it| it.name == name) {
            Some(entry) => *entry = connection,
            None => self.file.connections.push(connection),
        }
        Ok(())
    }

    fn pull(
        &mut self,
        name: &str,
        old: Option<PullSettings>,
        wish: PullWish,
    ) -> Result<PullSettings, Problem> {
        let typed = self.typed(&format!("connection {name}"), wish.client_secret);
        let auth = match (typed, &old) {
            (Some(stored), _) => ClientAuth::Secret(stored),
            (None, Some(old)) => old.auth.clone(),
            (None, None) => {
                return Err(missing("client_secret", "the client secret is missing"));
            }
        };
        Ok(PullSettings {
            base_url: wish.base_url,
            client_id: wish.client_id,
            auth,
            grant: wish.grant.or(old.map(|old| old.grant)).unwrap_or_default(),
            app_id: wish.app_id,
            only_granted: wish.only_granted,
            users: wish.users,
            groups: wish.groups,
            schedule: wish.schedule,
            full_every_s: wish.full_every_s,
            requests_per_second: wish.requests_per_second,
        })
    }

    /// Replaces a target, or adds it. What the wish does not speak of stays.
    pub(super) fn put_target(&mut self, name: &str, wish: TargetWish) -> Result<(), Problem> {
        let old = self.target(name).cloned();
        let typed = self.typed(&format!("target {name}"), wish.secret);
        let auth = match (typed, wish.username, old.map(|old| old.auth)) {
            (Some(stored), Some(username), _) => TargetAuth::Basic {
                username,
                password: stored,
            },
            (Some(stored), None, _) => TargetAuth::Token(stored),
            // The same secret, with a user name or without.
            (None, Some(username), Some(TargetAuth::Basic { password, .. })) => {
                TargetAuth::Basic { username, password }
            }
            (None, None, Some(TargetAuth::Token(token))) => TargetAuth::Token(token),
            (None, _, Some(_)) => {
                return Err(missing(
                    "secret",
                    "another way of signing in needs its secret: type the token or the password",
                ));
            }
            (None, _, None) => {
                return Err(missing("secret", "the token or the password is missing"));
            }
        };
        let target = TargetSettings {
            name: name.to_owned(),
            kind: wish.kind,
            base_url: wish.base_url,
            token_expires: match auth {
                TargetAuth::Token(_) => wish.token_expires,
                TargetAuth::Basic { .. } => None,
            },
            auth,
            concurrency: wish.concurrency,
            requests_per_second: wish.requests_per_second,
            timeout_s: wish.timeout_s,
        };
        match self.file.targets.iter_mut().find(|it| it.name == name) {
            Some(entry) => *entry = target,
            None => self.file.targets.push(target),
        }
        Ok(())
    }

    /// Replaces of what administrators are told, and how. What the wish does not speak of stays.
    pub(super) fn put_alerts(&mut self, wish: AlertsWish) -> Result<(), Problem> {
        let old = self.file.alerts.take().unwrap_or_default();
        let webhook = match wish.webhook {
            None => None,
            Some(webhook) => {
                let old = old.webhook;
                let url = old.as_ref().map(|it| it.url.clone());
                let url = self.typed("alert webhook", webhook.url).or(url);
                let token = self.typed("alert webhook token", webhook.token);
                Some(WebhookSettings {
                    url: url.ok_or_else(|| {
                        missing("webhook_url", "the address of the webhook is missing")
                    })?,
                    token: token.or(old.and_then(|it| it.token)),
                })
            }
        };
        let mail = match wish.mail {
            None => None,
            Some(mail) => {
                let old = old
                    .mail
                    .and_then(|it| it.login)
                    .map(|(_, password)| password);
                let password = self.typed("alert mail", mail.password).or(old);
                let login = match (mail.username, password) {
                    (None, _) => None,
                    (Some(name), Some(password)) => Some((name, password)),
                    (Some(_), None) => {
                        let detail = "the password for the mail server is missing";
                        return Err(missing("mail_password", detail));
                    }
                };
                Some(MailSettings {
                    port: mail.port.unwrap_or(mail.tls.usual_port()),
                    server: mail.server,
                    tls: mail.tls,
                    login,
                    from: mail.from,
                    to: mail.to,
                })
            }
        };
        self.file.alerts = Some(AlertSettings {
            no_push_s: wish.no_push_s,
            backlog_s: wish.backlog_s,
            unreachable_s: wish.unreachable_s,
            webhook,
            mail,
        });
        Ok(())
    }

    /// A reference to a secret that somebody typed, if they did.
    fn typed(&mut self, name: &str, secret: Option<SecretString>) -> Option<SecretRef> {
        let name = name.to_owned();
        self.secrets.push(Typed {
            name: name.clone(),
            secret: secret?,
        });
        Some(SecretRef::Stored(name.into()))
    }
}

/// Of what somebody wants to be told, and how.
pub(super) struct AlertsWish {
    pub(super) no_push_s: Option<u64>,
    pub(super) backlog_s: Option<u64>,
    pub(super) unreachable_s: Option<u64>,
    pub(super) webhook: Option<WebhookWish>,
    pub(super) mail: Option<MailWish>,
}

/// Where somebody wants alerts to be posted to. `None`: as before.
pub(super) struct WebhookWish {
    pub(super) url: Option<SecretString>,
    pub(super) token: Option<SecretString>,
}

/// Whom somebody wants alerts to be mailed to.
pub(super) struct MailWish {
    pub(super) server: String,
    /// `None`: the usual one.
    pub(super) port: Option<u16>,
    pub(super) tls: MailTls,
    /// `None`: nobody signs in there.
    pub(super) username: Option<String>,
    /// `None`: as before.
    pub(super) password: Option<SecretString>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// What somebody wants a connection to be.
pub(super) struct ConnectionWish {
    pub(super) kind: ConnectionKind,
    pub(super) group_attributes: Vec<GroupAttribute>,
    /// How its domain is read, if it is.
    pub(super) pull: Option<PullWish>,
}

/// How somebody wants a domain to be read.
pub(super) struct PullWish {
    pub(super) base_url: String,
    pub(super) client_id: String,
    /// `None`: as before.
    pub(super) client_secret: Option<SecretString>,
    /// `None`: as before.
    pub(super) grant: Option<Grant>,
    pub(super) app_id: Option<String>,
    pub(super) only_granted: bool,
    pub(super) users: PullUsers,
    pub(super) groups: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) full_every_s: u64,
    pub(super) requests_per_second: u32,
}

/// What somebody wants a target to be.
pub(super) struct TargetWish {
    pub(super) kind: TargetKind,
    pub(super) base_url: String,
    /// `None`: a token is shown.
    pub(super) username: Option<String>,
    /// Token or password; `None`: as before.
    pub(super) secret: Option<SecretString>,
    pub(super) token_expires: Option<jiff::civil::Date>,
    pub(super) concurrency: u32,
    pub(super) requests_per_second: Option<u32>,
    pub(super) timeout_s: u64,
}

/// A field that is needed.
pub(super) fn missing(field: &str, detail: &str) -> Problem {
    let mut problem = Problem::new(422, detail);
    problem.errors = vec![FieldError {
        field: field.to_owned(),
        detail: detail.to_owned(),
    }];
    problem
}

impl From<configure::Error> for Problem {
    fn from(error: configure::Error) -> Self {
        match error {
            configure::Error::Store(error) => error.into(),
            configure::Error::Changed => Self::new(409, error.to_string()),
            configure::Error::Secret(text) => Self::new(422, text),
            configure::Error::Refused(problems) => {
                let detail =
                    "nothing was stored: the configuration cannot be used; `errors` has the places";
                let mut problem = Self::new(422, detail);
                problem.errors = problems
                    .iter()
                    .map(|wrong| FieldError {
                        field: wrong.key.clone(),
                        detail: wrong.message.clone(),
                    })
                    .collect();
                problem
            }
        }
    }
}

/// Where secrets stand, in words.
pub(super) fn secret_in_words(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("the environment variable {name} of the server"),
        SecretRef::File(path) => format!("the file {} on the server", path.display()),
        SecretRef::Stored(_) => "kept here, encrypted".to_owned(),
    }
}

/// A connection and a target by name, as they are stored.
pub(super) async fn stored_connection(
    state: &State,
    name: &str,
) -> Result<crate::domain::Connection, Problem> {
    let configuration = state.store.read(settings::load).await?;
    configuration
        .connections
        .into_iter()
        .find(|it| it.settings.name == name)
        .ok_or_else(|| Problem::new(404, "there is no connection of this name"))
}

/// The target of that name, as it is stored.
pub(super) async fn stored_target(
    state: &State,
    name: &str,
) -> Result<crate::domain::Target, Problem> {
    let configuration = state.store.read(settings::load).await?;
    configuration
        .targets
        .into_iter()
        .find(|it| it.settings.name == name)
        .ok_or_else(|| Problem::new(404, "there is no target of this name"))
}

/// Ids of people by name, address or SCIM id; nobody is an error that names them.
pub(super) async fn person(
    state: &State,
    name: &str,
) -> Result<Option<crate::domain::UserId>, Problem> {
    let wanted = name.trim().to_owned();
    let found = state
        .store
        .read(move |conn| -> Result<_, store::Error> { store::users::named(conn, &wanted) })
        .await?;
    Ok(found.into_iter().next())
}
