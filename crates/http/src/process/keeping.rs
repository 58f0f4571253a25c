//! Where processes are kept: the object layer, as the part that runs them needs it.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsfs_exec::process::{Change, Keep, KeepError, ProcessId};
use jsfs_objects::{Objects, ProcessChange, ProcessId as Id};

/// Keeps processes in the store.
pub(crate) struct Keeping(pub(crate) Objects);

fn failed(error: impl std::fmt::Display) -> KeepError {
    KeepError(error.to_string())
}

impl Keeping {
    /// Something that waits for the disk.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Objects) -> Result<T, jsfs_objects::ReadError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let objects = self.0.clone();
        let read = tokio::task::spawn_blocking(move || read(&objects)).await;
        read.map_err(failed)?.map_err(failed)
    }
}

impl Keep for Keeping {
    fn fresh(&self) -> ProcessId {
        ProcessId(self.0.new_process_id().0)
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<(ProcessId, Bytes)>, KeepError>> {
        Box::pin(async {
            let all = self.reading(Objects::processes).await?;
            Ok(all.into_iter().map(|(id, record)| (ProcessId(id.0), record.into())).collect())
        })
    }

    fn put(&self, id: ProcessId, change: Change) -> BoxFuture<'_, Result<(), KeepError>> {
        let change = ProcessChange {
            record: change.record.to_vec(),
            pieces: change.pieces,
            output: change.output,
            output_from: change.output_from,
            input: change.input,
            inputs_to: change.inputs_to,
            settled: change.settled,
            unmarks: change.unmarks,
            ends: change.ends,
        };
        Box::pin(async move { self.0.keep_process(Id(id.0), change).await.map_err(failed) })
    }

    fn pieces(&self, id: ProcessId) -> BoxFuture<'_, Result<Vec<Bytes>, KeepError>> {
        Box::pin(async move { self.0.process_pieces(Id(id.0)).await.map_err(failed) })
    }

    fn output(&self, id: ProcessId, from: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, KeepError>> {
        Box::pin(self.reading(move |objects| objects.process_output(Id(id.0), from)))
    }

    fn input(&self, id: ProcessId, number: u64, input: Bytes) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move { self.0.add_process_input(Id(id.0), number, &input).await.map_err(failed) })
    }

    fn inputs(&self, id: ProcessId) -> BoxFuture<'_, Result<Vec<(u64, Bytes)>, KeepError>> {
        Box::pin(self.reading(move |objects| objects.process_inputs(Id(id.0))))
    }

    fn forget(&self, id: ProcessId) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move { self.0.forget_process(Id(id.0)).await.map_err(failed) })
    }
}
