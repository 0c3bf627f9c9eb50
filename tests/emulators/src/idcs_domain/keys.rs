//! RS256 keys: the domain's own, whose id is the same in every domain, and those of clients and forgers.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The key id of every domain.
pub const KEY_ID: &str = "SIGNING_KEY";

/// An RSA key pair.
#[derive(Clone)]
pub struct SigningKey(Arc<RsaKeyPair>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// A new pair.
    ///
    /// # Panics
    /// If the machine has no random numbers.
    #[expect(clippy::expect_used, reason = "an emulator cannot go on without")]
    pub fn generate() -> Self {
        Self(Arc::new(
            RsaKeyPair::generate(KeySize::Rsa2048).expect("a key pair"),
        ))
    }

    /// The private key, PKCS #8 in PEM.
    pub fn pem(&self) -> String {
        let der =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&*self.0);
        let text = STANDARD.encode(der.map(|it| it.as_ref().to_vec()).unwrap_or_default());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// Modulus and exponent, base64url.
    fn numbers(&self) -> (String, String) {
        let public = self.0.public_key();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        (
            encode(public.modulus().big_endian_without_leading_zero()),
            encode(public.exponent().big_endian_without_leading_zero()),
        )
    }

    /// As it stands in a key set.
    pub fn jwk(&self) -> Value {
        let (n, e) = self.numbers();
        json!({ "kty": "RSA", "kid": KEY_ID, "use": "sig", "alg": "RS256", "n": n, "e": e })
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(
            &json!({ "kid": KEY_ID, "alg": "RS256", "typ": "JWT" }),
            claims,
        )
    }

    /// A token with this header and these claims.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        // A key of this size signs every message.
        let _ = self.0.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            text.as_bytes(),
            &mut signature,
        );
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token that this key signed.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .ok()?;
        let (_, claims) = text.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// SHA-256 in base64url, as PKCE wants it.
pub(super) fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}
