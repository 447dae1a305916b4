//! `sinnet token`: a token for a server that wants one.

use std::time::{Duration, SystemTime};

use sinnet_signaling::server::tokens::{Right, TokenKey};

use crate::args::{TokenArgs, TokenRight};
use crate::failure::{Context, Failure};

pub(crate) fn run(args: &TokenArgs) -> Result<(), Failure> {
    let key = TokenKey::from_hex(&args.token_key).context("--token-key")?;
    let right = match args.right {
        TokenRight::Create => Right::Create,
        TokenRight::Join => Right::Join,
        TokenRight::All => Right::All,
    };
    #[expect(clippy::disallowed_methods, reason = "tokens expire by the calendar")]
    let expiry = SystemTime::now() + Duration::from_secs(u64::from(args.hours) * 3600);
    println!("{}", key.sign(right, expiry));
    Ok(())
}
