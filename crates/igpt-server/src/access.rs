//! Where a server listens, and who may come in.

use std::net::{SocketAddr, ToSocketAddrs};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use igpt::{Error, Result};
use subtle::ConstantTimeEq;

/// An address, and a token if one is wanted.
#[derive(Clone, Debug)]
pub struct Access {
    listen: SocketAddr,
    token: Option<String>,
}

impl Access {
    /// Listens on `listen` (`HOST:PORT`). Every address but this machine's own wants a `token`, unless `open` says that
    /// anyone may come in.
    ///
    /// # Errors
    /// When the address can't be read, or is open to others without a token.
    pub fn new(listen: &str, token: Option<String>, open: bool) -> Result<Self> {
        let unreadable = |e: std::io::Error| {
            Error::Invalid(format!("{listen} is no address to listen on ({e}): give one such as 127.0.0.1:8000"))
        };
        let address = listen.to_socket_addrs().map_err(unreadable)?.next();
        let listen = address.ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
        if token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            return Err(Error::Invalid("the token is empty: give one that cannot be guessed".into()));
        }
        if !listen.ip().is_loopback() && token.is_none() && !open {
            return Err(Error::Invalid(format!(
                "{listen} can be reached from other machines: give a --token, or --allow-anyone if that is meant"
            )));
        }
        Ok(Self { listen, token })
    }

    /// The address.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whether a request with these headers may come in. Takes as long for a wrong token as for the right one.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        given.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_reach_want_a_token_or_a_clear_word() {
        let new = |listen: &str, token: Option<&str>, open| Access::new(listen, token.map(Into::into), open);
        assert!(new("127.0.0.1:0", None, false).is_ok());
        assert!(new("[::1]:8000", None, false).is_ok());
        let error = new("0.0.0.0:8000", None, false).unwrap_err().to_string();
        assert!(error.contains("--token") && error.contains("--allow-anyone"), "{error}");
        assert!(new("0.0.0.0:8000", Some("secret"), false).is_ok());
        assert!(new("0.0.0.0:8000", None, true).is_ok());
        assert!(new("0.0.0.0:8000", Some(" "), true).is_err());
        assert!(new("nowhere", None, false).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn only_the_whole_token_comes_in() {
        let access = Access::new("127.0.0.1:0", Some("secret".into()), false).unwrap();
        let admits = |value: &str| access.admits(&[(AUTHORIZATION, value.parse().unwrap())].into_iter().collect());
        assert!(admits("Bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret", ""] {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
    }
}
