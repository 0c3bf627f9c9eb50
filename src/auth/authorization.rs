//! The authorization code grant (RFC 6749 section 4.1) with PKCE (RFC 7636): whoever ends it has to be who began it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A new verifier: 256 random bits in 43 characters that need no encoding (section 4.1).
pub fn verifier() -> SecretString {
    let bytes: [u8; 32] = rand::random();
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// What the domain is shown of it at first (section 4.2).
pub fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()))
}

/// What a domain sends back with the browser (RFC 6749 section 4.1.2).
#[derive(Debug, serde::Deserialize)]
pub struct Answer {
    /// What the authorization is known again by.
    pub state: Option<SecretString>,
    /// The authorization code.
    pub code: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Answer {
    /// Why not, in the domain's words. They are shown to people, and come from outside.
    pub fn refusal(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let words = self.error_description.as_deref().unwrap_or_default();
        let words: String = format!("{error} {words}").chars().take(300).collect();
        Some(words.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix B.
    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let given = SecretString::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            challenge(&given),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(verifier().expose_secret().len(), 43);
    }
}
