//! How many files, sockets among them, this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::failure::{Context, Failure};

/// Makes room for so many, or for as many as the system lets us; how many that is.
pub(crate) fn allow(count: u64) -> Result<u64, Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("can't read the limit of open files")?;
    if soft >= count {
        return Ok(soft);
    }
    let most = count.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, most, hard).context("can't raise the limit of open files")?;
    Ok(most)
}
