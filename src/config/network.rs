//! Lists of networks: whose word about the caller is taken, and who may come in where.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// Networks, as in `10.0.0.0/8, 192.0.2.7`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads a list that has at least one entry: an empty one would let nobody in, and is hardly meant so.
    pub fn some(text: &str) -> Result<Self, NetworkError> {
        let list: Self = text.parse()?;
        if list.0.is_empty() {
            return Err(NetworkError(text.to_owned()));
        }
        Ok(list)
    }

    /// Whether an address is in one of them. An IPv4 address that comes in over IPv6 counts as what it is.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no network: expected an address such as 192.0.2.7, or a network such as 10.0.0.0/8"
)]
pub struct NetworkError(String);

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let one = |_| entry.parse::<IpAddr>().map(IpNet::from);
                let network = entry.parse::<IpNet>().or_else(one);
                network.map_err(|_| NetworkError(entry.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_networks_and_addresses_of_both_kinds() {
        let list: Networks = "10.0.0.0/8, 192.0.2.7,2001:db8::/32,".parse().unwrap();
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        assert!(Networks::some(" , ").is_err());
        for wrong in ["10.0.0.0/33", "example.com", "10.0.0", "::/129"] {
            let error = format!("127.0.0.1, {wrong}").parse::<Networks>();
            let text = error.unwrap_err().to_string();
            assert!(Networks::some(wrong).is_err());
            assert!(
                text.starts_with(&format!("`{wrong}` is no network")),
                "{text}"
            );
        }
    }
}
