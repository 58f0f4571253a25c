//! How many copies of a block are kept, and which locations keep them.
//!
//! Metadata goes to every location that is in use. A copy counts only where it may stay: not in a location that is being emptied, or that is missing.

use crate::{
    rows::{Place, counted},
    sync::share,
};
use std::sync::RwLock;

/// What a location is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes metadata and blocks.
    Active,
    /// It is not there, and the store takes no writes.
    Missing,
}

/// The locations' roles, by number, and how many copies there are to be.
#[derive(Debug)]
pub(crate) struct Keeping {
    copies: usize,
    roles: RwLock<Vec<Role>>,
}

impl Keeping {
    pub(crate) fn new(copies: usize, roles: Vec<Role>) -> Self {
        Self { copies, roles: RwLock::new(roles) }
    }

    /// How many copies of a block there are to be.
    pub(crate) const fn copies(&self) -> usize {
        self.copies
    }

    /// The numbers of the locations that keep blocks.
    pub(crate) fn active(&self) -> Vec<u8> {
        let roles = share(&self.roles);
        (0u8..).zip(roles.iter()).filter(|(_, role)| **role == Role::Active).map(|(at, _)| at).collect()
    }

    /// Whether it is in use.
    pub(crate) fn takes(&self, location: u8) -> bool {
        share(&self.roles).get(usize::from(location)) == Some(&Role::Active)
    }

    /// The locations among those of these places that count.
    pub(crate) fn kept(&self, places: &[Place]) -> Vec<u8> {
        let roles = share(&self.roles);
        let keeps = |at: &u8| roles.get(usize::from(*at)) == Some(&Role::Active);
        counted(places).map(|place| place.location).filter(keeps).collect()
    }

    /// Whether there are as many copies as there are to be.
    pub(crate) fn is_enough(&self, places: &[Place]) -> bool {
        self.kept(places).len() >= self.copies
    }

    /// Whether as many copies as there are to be, or another in the same location, remain without this one.
    pub(crate) fn is_enough_without(&self, places: &[Place], from: &Place) -> bool {
        let rest: Vec<Place> = places.iter().filter(|place| *place != from).copied().collect();
        rest.iter().any(|place| place.location == from.location) || self.is_enough(&rest)
    }
}
