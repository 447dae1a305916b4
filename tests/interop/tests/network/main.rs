//! What is gathered on real interfaces, and what becomes of connections when these go and come; names in place of addresses.

mod browsers;
mod change;
mod end;
mod page;
mod two_ways;
