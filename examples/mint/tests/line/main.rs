//! The programs as they run, against a payment processor that the tests play: quotes, payments,
//! restarts, wallets. And the protocol between them, against the one that cdk brings along.

#![allow(clippy::expect_used, clippy::panic)] // as in the tests themselves

mod fake;
mod payments;
mod processor;
mod programs;
mod proto;
mod wallets;
