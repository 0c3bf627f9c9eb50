//! Passwords for products that take no account without one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use secrecy::SecretString;

/// Long and of every kind of character, so that no rule for passwords is broken. Nobody ever learns it.
pub(in crate::targets) fn throw_away_password() -> SecretString {
    let bytes: [u8; 24] = rand::rng().random();
    SecretString::from(format!("{}aA1!", URL_SAFE_NO_PAD.encode(bytes)))
}
