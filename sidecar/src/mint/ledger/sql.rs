//! How our values stand in SQLite's columns.

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row};

use crate::mint::{PayoutKey, Scheme, Work};
use crate::types::Hash;

use super::model::Origin;
use super::state::{CreditState, QuoteState};

/// Statements that the connection keeps: to read the text of one anew takes longer than to run it,
/// and shares wait meanwhile.
pub(super) trait Prepared {
    /// Runs a statement; answers how many rows it changed.
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize>;

    /// Reads the one row of a statement; the first, if there are more.
    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;
}

impl Prepared for Connection {
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }
}

/// A number of 128 bits: 16 bytes, big-endian, so that they sort as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wide(pub(super) u128);

impl ToSql for Wide {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_be_bytes().to_vec()))
    }
}

impl FromSql for Wide {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

impl ToSql for Work {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_be_bytes().to_vec()))
    }
}

impl FromSql for Work {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Wide::column_result(value).map(|wide| Self(wide.0))
    }
}

impl ToSql for PayoutKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_bytes().as_slice()))
    }
}

impl FromSql for PayoutKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_bytes(value.as_blob()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_slice()))
    }
}

impl FromSql for Scheme {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

macro_rules! state {
    ($name:ident) => {
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.code()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let code = value.as_i64()?;
                Self::from_code(code).ok_or(FromSqlError::OutOfRange(code))
            }
        }
    };
}

state!(CreditState);
state!(QuoteState);

/// A submit's name as 24 bytes.
pub(super) fn origin(origin: Origin) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (session, submit) = bytes.split_at_mut(16);
    session.copy_from_slice(&origin.session);
    submit.copy_from_slice(&origin.submit.to_be_bytes());
    bytes
}

/// The key of an account as `account_owner` sorts it: no key is the empty one.
pub(super) fn owner_key(key: Option<&PayoutKey>) -> &[u8] {
    key.map_or(&[], |key| key.as_bytes().as_slice())
}

/// A column of opaque bytes.
pub(super) fn bytes(row: &Row<'_>, index: &str) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(index)?.as_blob()?))
}

/// A column that counts, or holds an amount.
pub(super) fn count(row: &Row<'_>, index: &str) -> rusqlite::Result<u64> {
    row.get(index)
}
