//! Handles to runtimes: a place and how often it was given out, so that a stale one is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::Runtime;

/// Runtimes at a time; one is what a process needs.
const PLACES_MAX: usize = 1024;

struct Place {
    generation: u32,
    runtime: Option<Arc<Runtime>>,
}

static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());

fn places() -> MutexGuard<'static, Vec<Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a runtime a handle; `None`: there are too many.
pub(crate) fn insert(runtime: Arc<Runtime>) -> Option<u64> {
    let mut places = places();
    // A generation that is used up leaves its place unused.
    let free = places.iter().position(|p| p.runtime.is_none() && p.generation < u32::MAX);
    let index = match free {
        Some(index) => index,
        None if places.len() < PLACES_MAX => {
            places.push(Place { generation: 0, runtime: None });
            places.len() - 1
        }
        None => return None,
    };
    let place = places.get_mut(index)?;
    place.generation += 1;
    place.runtime = Some(runtime);
    Some(u64::from(place.generation) << 32 | u64::try_from(index).ok()?)
}

fn place(places: &mut [Place], handle: u64) -> Option<&mut Place> {
    let index = usize::try_from(handle & u64::from(u32::MAX)).ok()?;
    let place = places.get_mut(index)?;
    (u64::from(place.generation) == handle >> 32).then_some(place)
}

/// The runtime of a handle.
pub(crate) fn get(handle: u64) -> Option<Arc<Runtime>> {
    place(&mut places(), handle)?.runtime.clone()
}

/// Takes a handle back: it is known no more.
pub(crate) fn remove(handle: u64) -> Option<Arc<Runtime>> {
    place(&mut places(), handle)?.runtime.take()
}

#[cfg(test)]
mod tests;
