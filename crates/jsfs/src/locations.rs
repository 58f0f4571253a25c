//! The locations of a node's store, as its settings say: the data directory, further directories, and a bucket beside the first.

use crate::config::Settings;
use anyhow::Context;
use jsfs_bucket::{Bucket, Options, PATIENCE, Place};
use jsfs_store::{
    OpenOptions,
    backend::{Backend, Directory},
};
use std::sync::Arc;

/// Where the store is. A store whose packs lie in a bucket that the settings do not name is refused: it would look damaged.
pub(crate) fn options(settings: &Settings, takes_up: bool) -> anyhow::Result<OpenOptions> {
    match &settings.storage_bucket.place {
        Some(place) => with_bucket(settings, place, takes_up),
        None => match jsfs_bucket::is_used(&settings.data)? {
            Some(bucket) => anyhow::bail!(
                "packs of the store in {} lie in {bucket}; set storage.bucket={bucket}",
                settings.data.display()
            ),
            None => Ok(OpenOptions::directory(&settings.data, &settings.storage_locations)?),
        },
    }
}

fn with_bucket(settings: &Settings, place: &Place, takes_up: bool) -> anyhow::Result<OpenOptions> {
    let bucket = Bucket::open(&Options {
        directory: settings.data.clone(),
        place: place.clone(),
        endpoint: settings.storage_bucket.endpoint.clone(),
        region: settings.storage_bucket.region.clone(),
        keys: None,
        cache: settings.storage_bucket.cache,
        patience: PATIENCE,
        takes_up,
    })?;
    let mut locations: Vec<Arc<dyn Backend>> = vec![Arc::new(bucket)];
    for path in &settings.storage_locations {
        let directory = Directory::open(path).with_context(|| format!("cannot use {}", path.display()))?;
        locations.push(Arc::new(directory));
    }
    Ok(OpenOptions::new(locations).index(settings.data.join("index")))
}
