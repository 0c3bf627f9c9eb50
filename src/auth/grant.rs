//! Access tokens for client credentials and for passwords (RFC 6749 sections 4.3 and 4.4).

use secrecy::SecretString;

use super::{Authenticator, Error, basic_digest, client_digest};
use crate::clock::Micros;
use crate::store::tokens::{By, Found};

/// Who asks for a token.
#[derive(Debug, Clone)]
pub struct Client {
    /// Client id.
    pub id: String,
    /// Client secret.
    pub secret: SecretString,
}

/// On what grounds.
#[derive(Debug, Clone)]
pub enum Grant {
    /// The client itself.
    ClientCredentials,
    /// A user name and a password of the same connection.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
}

/// A token.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// For how many seconds it is valid.
    pub expires_in: i64,
}

/// Why no token is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Client id and secret do not belong together, or have ended.
    #[error("client id and client secret are not known, or have expired")]
    Client,
    /// User name and password do not belong together, have ended, or are those of another connection.
    #[error("user name and password are not known, or have expired")]
    Grant,
    /// Too many wrong ones in a short time.
    #[error("too many wrong secrets; try again in {after_s} seconds")]
    TooMany {
        /// How long to wait.
        after_s: u32,
    },
    /// The token cannot be made now.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Authenticator {
    /// Makes an access token.
    ///
    /// # Errors
    /// [`Refused`] says whose fault it is.
    pub async fn grant(&self, client: &Client, grant: &Grant) -> Result<AccessToken, Refused> {
        let issuer = self.issuer.as_ref().ok_or(Error::NoIssuer)?;
        let now = self.clock.now();
        let digest = client_digest(&client.id, &client.secret);
        let Some(found) = self.living(digest, now).await? else {
            return Err(self.wrong(&client.id, Refused::Client));
        };
        let (user, ends_at) = match grant {
            Grant::ClientCredentials => (None, found.expires_at),
            Grant::Password { username, password } => {
                let user = self.living(basic_digest(username, password), now).await?;
                let same = user.filter(|user| user.connection_id == found.connection_id);
                let Some(user) = same else {
                    return Err(self.wrong(username, Refused::Grant));
                };
                let ends_at = [found.expires_at, user.expires_at]
                    .into_iter()
                    .flatten()
                    .min();
                (Some(user.id), ends_at)
            }
        };
        let (token, expires_in) = issuer.issue(&found.id, user.as_deref(), ends_at).await?;
        Ok(AccessToken {
            token: SecretString::from(token),
            expires_in,
        })
    }

    async fn living(&self, digest: String, now: Micros) -> Result<Option<Found>, Error> {
        let found = self.find(&By::Digest(digest)).await?;
        Ok(found.filter(|found| found.expires_at.is_none_or(|at| at > now)))
    }

    fn wrong(&self, name: &str, refused: Refused) -> Refused {
        let name: String = name.chars().take(100).collect();
        match self.attempts.failed(&name, self.clock.now()) {
            Some(after_s) => Refused::TooMany { after_s },
            None => {
                tracing::warn!(name, "a token was asked for with a wrong secret");
                refused
            }
        }
    }
}
