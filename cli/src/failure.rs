//! How the command fails: with one plain sentence.

use std::fmt;

/// One sentence for standard error; the exit status is 1.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        // One line, whatever a peer or a library put into it.
        let sentence: String = sentence.into();
        Self(sentence.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// Turns any error into a failure that says first what was tried.
pub(crate) trait Context<T> {
    /// `what` is a clause such as "can't listen on 127.0.0.1:80".
    fn context(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

impl From<sinnet::Error> for Failure {
    fn from(error: sinnet::Error) -> Self {
        Failure::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_printable_line() {
        let failure = Failure::new("the peer\r\n said \x1b[31m\tno");
        assert_eq!(failure.to_string(), r"the peer said \u{1b}[31m no");
    }
}
