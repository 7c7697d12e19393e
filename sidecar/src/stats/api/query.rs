//! What stands behind the question mark.

use axum::http::Uri;

use super::super::read::{Filter, Order, Page, Sort};
use super::View;

/// Items of a page when nothing is said, and at most.
const LIMIT: (u64, u64) = (50, 500);

/// Longest text that is searched for, in bytes.
const TEXT_MAX: usize = 512;

/// A query, decoded. Names that a route does not know are left alone: a cache buster, say.
pub(super) struct Query(Vec<(String, String)>);

/// What is wrong with a query, in words.
pub(super) type Wrong = String;

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Wrong> {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        let wrong = || "the query is no percent-encoded UTF-8".to_owned();
        pairs.map(Self).ok_or_else(wrong)
    }

    /// The last value of a name that is not empty.
    fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A whole number from 0.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Wrong> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
        let wrong = || format!("{name} is a whole number from 0: {name}=1000");
        number.map(Some).ok_or_else(wrong)
    }

    /// Which part of a list.
    pub(super) fn page(&self) -> Result<Page, Wrong> {
        let number = |name| {
            self.number(name).map(|number| number.and_then(|number| u64::try_from(number).ok()))
        };
        let limit = number("limit")?.unwrap_or(LIMIT.0).min(LIMIT.1);
        Ok(Page { offset: number("offset")?.unwrap_or(0), limit })
    }

    /// Which workers.
    pub(super) fn filter(&self, view: &View) -> Result<Filter, Wrong> {
        let sort = self.text("sort").unwrap_or("hashrate");
        let known = Sort::ALL.into_iter().find(|(name, _)| *name == sort);
        let sort = known.map(|(_, sort)| sort).ok_or_else(|| {
            let names = Sort::ALL.map(|(name, _)| name);
            format!("sort is one of {}", names.join(", "))
        })?;
        let order = match self.text("order") {
            None if sort == Sort::Identity => Order::Rising,
            None | Some("desc") => Order::Falling,
            Some("asc") => Order::Rising,
            Some(_) => return Err("order is asc or desc".to_owned()),
        };
        let online = match self.text("online") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err("online is true or false".to_owned()),
        };
        let text = self.text("q").unwrap_or_default();
        if text.len() > TEXT_MAX {
            return Err(format!("q has at most {TEXT_MAX} bytes"));
        }
        let (text, show_addresses) = (text.to_owned(), view.show_addresses);
        Ok(Filter { sort, order, text, online, show_addresses, now: (view.clock)() })
    }
}

/// Without `%` and `+`; `None`: it is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, Wrong> {
        Query::of(&format!("/x?{text}").parse().unwrap())
    }

    #[test]
    fn reads_what_is_encoded() {
        let query = query("q=a%20b%2Bc+d&limit=7&offset=&x").unwrap();
        assert_eq!(query.text("q"), Some("a b+c d"));
        assert_eq!(query.page(), Ok(Page { offset: 0, limit: 7 }));
        assert_eq!(query.number("nothing"), Ok(None));
    }

    #[test]
    fn rejects_what_is_no_number_or_no_text() {
        for bad in ["limit=-1", "limit=x", "offset=1.5", "limit=99999999999999999999"] {
            assert!(query(bad).unwrap().page().is_err(), "{bad}");
        }
        for bad in ["q=%", "q=%f", "q=%zz", "q=%ff"] {
            assert!(query(bad).is_err(), "{bad}");
        }
        assert_eq!(query("limit=100000").unwrap().page().unwrap().limit, 500);
    }
}
