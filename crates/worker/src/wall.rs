//! The second wall: what the process itself may do, whatever happens in it.

use std::io;

/// Before anything is read: nothing here is anybody else's business, and the process ends with the node.
pub(crate) fn before_engine() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// Once the engine stands: no new files, sockets or programs.
pub(crate) fn after_engine() -> io::Result<()> {
    Ok(())
}
