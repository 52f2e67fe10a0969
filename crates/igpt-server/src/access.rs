//! Access to a server: the address where it listens, the names it answers to, and the token it demands.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use igpt::{Error, Result};
use subtle::ConstantTimeEq;

use crate::authority::authority;

/// Access to a server: its address, the host names that lead to it, and an optional token.
#[derive(Clone)]
pub struct Access {
    listen: SocketAddr,
    token: Option<String>,
    names: Vec<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "secret");
        f.debug_struct("Access")
            .field("listen", &self.listen)
            .field("token", &token)
            .field("names", &self.names)
            .finish()
    }
}

impl Access {
    /// Access through the address `listen` (`HOST:PORT`).
    ///
    /// Every address but the loopback interface requires a `token`, unless `open` allows anyone to connect. Requests
    /// are answered under numeric addresses, `localhost`, the host of `listen` and `names`.
    ///
    /// # Errors
    /// When the address can't be parsed, or is open to other machines without a token; when a token can't be sent in a
    /// header; when one of `names` is not a host name.
    pub fn new(listen: &str, token: Option<String>, open: bool, names: &[String]) -> Result<Self> {
        let unreadable = |e: std::io::Error| {
            Error::Invalid(format!("{listen} is no address to listen on ({e}): give one such as 127.0.0.1:8000"))
        };
        let address = listen.to_socket_addrs().map_err(unreadable)?.next();
        let mut names = names.iter().map(|name| name_of(name)).collect::<Result<Vec<_>>>()?;
        names.extend(listen.rsplit_once(':').and_then(|(host, _)| name_of(host).ok()));
        let listen = address.ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
        token.as_deref().map_or(Ok(()), expect_sendable)?;
        if !listen.ip().is_loopback() && token.is_none() && !open {
            return Err(Error::Invalid(format!(
                "{listen} can be reached from other machines: give a --token, or --allow-anyone if that is meant"
            )));
        }
        Ok(Self { listen, token, names })
    }

    /// Address to listen on.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whether a request with these headers is admitted. The comparison of tokens takes constant time.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        given.as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Whether `host` (in lower case) is one of the server's configured names.
    pub(crate) fn is_named(&self, host: &str) -> bool {
        self.names.iter().any(|name| name == host)
    }

    /// Whether `host` (in lower case) leads to this server.
    ///
    /// It does if it is a numeric address, which no other site can redirect, a local name of this machine, or one of
    /// the configured names.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let numbers = host.trim_start_matches('[').trim_end_matches(']');
        let own = host == "localhost" || host.ends_with(".localhost");
        own || numbers.parse::<IpAddr>().is_ok() || self.is_named(host)
    }
}

/// Checks that a token can be sent in a header, which transmits only visible ASCII unchanged.
fn expect_sendable(token: &str) -> Result<()> {
    if token.is_empty() {
        return Err(Error::Invalid("the token is empty: give one that cannot be guessed".into()));
    }
    match token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Error::Invalid(
            "the token has a space, a line break or another character that no client can send: use letters, digits and \
             signs of ASCII"
                .into(),
        )),
    }
}

/// Normalises a host name for comparison with headers.
fn name_of(given: &str) -> Result<String> {
    match authority(given) {
        Some((host, None)) => Ok(host),
        _ => Err(Error::Invalid(format!(
            "{given} is no name of a host: give one such as igpt.example.com, without a port"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_reach_want_a_token_or_a_clear_word() {
        let new = |listen: &str, token: Option<&str>, open| Access::new(listen, token.map(Into::into), open, &[]);
        assert!(new("127.0.0.1:0", None, false).is_ok());
        assert!(new("[::1]:8000", None, false).is_ok());
        let error = new("0.0.0.0:8000", None, false).unwrap_err().to_string();
        assert!(error.contains("--token") && error.contains("--allow-anyone"), "{error}");
        assert!(new("0.0.0.0:8000", Some("secret"), false).is_ok());
        assert!(new("0.0.0.0:8000", None, true).is_ok());
        assert!(new("nowhere", None, false).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_token_that_no_client_can_send_is_refused_and_not_shown() {
        let new = |token: &str| Access::new("127.0.0.1:0", Some(token.into()), false, &[]);
        assert!(new("sEcr3t-._~+/=!").is_ok());
        for token in ["", " ", "a b", "a\n", "a\r\nX: y", "a\0", "a\u{7f}", "gehe\u{ef}m", "\u{1b}[2J"] {
            let error = new(token).unwrap_err().to_string();
            assert!(
                error.contains("token") && (token.trim().is_empty() || !error.contains(token)),
                "{token:?}: {error}"
            );
        }
        assert!(!format!("{:?}", new("hidden").unwrap()).contains("hidden"));
    }

    #[test]
    fn only_the_whole_token_comes_in() {
        let access = Access::new("127.0.0.1:0", Some("secret".into()), false, &[]).unwrap();
        let admits = |value: &str| access.admits(&[(AUTHORIZATION, value.parse().unwrap())].into_iter().collect());
        assert!(admits("Bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret", ""] {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
    }

    #[test]
    fn a_server_answers_to_numbers_its_own_machine_s_names_and_those_it_was_given() {
        let names = ["Igpt.Example.com.".to_string()];
        let access = Access::new("localhost:0", None, false, &names).unwrap();
        for host in ["127.0.0.1", "10.0.0.7", "[::1]", "[2001:db8::7]", "localhost", "a.localhost", "igpt.example.com"]
        {
            assert!(access.answers_to(host), "{host}");
        }
        for host in ["evil.example", "xlocalhost", "localhost.evil.example", "127.0.0.1.evil.example", "127.1"] {
            assert!(!access.answers_to(host), "{host}");
        }
        for wrong in ["a:80", "", "http://a", "a b", "*"] {
            let error = Access::new("127.0.0.1:0", None, false, &[wrong.into()]).unwrap_err().to_string();
            assert!(error.contains("name of a host"), "{wrong}: {error}");
        }
    }
}
