//! The base image: the engine with the web APIs evaluated in it, compiled.
//!
//! Making it takes about a second, once for each version of the program; the node keeps the result and gives it to the next worker.

use super::{Ctx, ExportPlaces, Exports, Guest, Vm, host, value::Ptr, written::PAGE};
use crate::limiter::Limiter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wasmtime::{
    Engine, Instance, InstancePre, Linker, Module, Result, Store, UpdateDeadline, Val, format_err,
};
use wasmtime_wizer::{InstanceState, SnapshotVal, Wizer};

/// What the base image is made of, and how.
fn made_of() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in [QUICKJS, PRELUDE.as_bytes(), env!("CARGO_PKG_VERSION").as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    for number in [ROOM_BYTES, GAP_BYTES_MAX, STACK_BYTES] {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

static ZEROS: [u8; PAGE] = [0; PAGE];

const QUICKJS: &[u8] = include_bytes!(env!("JSFS_QUICKJS"));
const PRELUDE: &str = include_str!(env!("JSFS_PRELUDE"));

/// Bytes of the stack that JavaScript may use; past it, recursion is a RangeError. The engine's own stack is four times as large.
const STACK_BYTES: u32 = 256 << 10;

/// Flags of `qjs_compile`: without the text.
const STRIP_SOURCE: u32 = 1 << 4;
/// Memory that a run finds free. With the web APIs it is less than the least that `programs.memory` may be.
const ROOM_BYTES: u32 = 4 << 20;
/// Largest gap that is filled.
const GAP_BYTES_MAX: u32 = 16 << 10;

/// Every function of `Host` in guest/src/host.ts.
const HOST_FUNCTIONS: [&str; 17] = [
    "log",
    "random",
    "now",
    "elapsed",
    "encode",
    "decode",
    "encodingName",
    "incomplete",
    "urlParse",
    "urlSet",
    "crypto",
    "start",
    "cancel",
    "respond",
    "answer",
    "fail",
    "done",
];

/// The values that the worker holds in every instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) runtime: Ptr,
    pub(crate) prepare: Ptr,
    pub(crate) loaded: Ptr,
    pub(crate) script: Ptr,
    pub(crate) restored: Ptr,
    pub(crate) run: Ptr,
    pub(crate) settle: Ptr,
    pub(crate) event: Ptr,
    pub(crate) rejection: Ptr,
    pub(crate) rejections: Ptr,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The hash of what it was made of.
    made_of: [u8; 32],
    held: Held,
    compiled: Vec<u8>,
    /// What it is known by: not how it was compiled, which differs from machine to machine, but what.
    hash: [u8; 32],
}

/// The base image, linked.
#[derive(Clone)]
pub(crate) struct Base {
    inner: Arc<Linked>,
}

pub(crate) struct Linked {
    engine: Engine,
    pre: InstancePre<Ctx>,
    places: ExportPlaces,
    held: Held,
    /// What the memory of a fresh instance is.
    memory: Vec<u8>,
    hash: [u8; 32],
}

impl Base {
    /// Makes the base image afresh. Answers it with its bytes, to be kept.
    pub(crate) fn make(engine: &Engine, guest: Guest) -> Result<(Base, Vec<u8>)> {
        let mut wizer = Wizer::new();
        wizer.keep_init_func(true);
        let (context, instrumented) = wizer.instrument(QUICKJS)?;
        let module = Module::new(engine, &instrumented)?;
        let mut linker = Linker::new(engine);
        host::link(&mut linker)?;
        let places = ExportPlaces::of(&module)?;
        let begin = |guest| -> Result<_> {
            let mut store = store(engine, guest, usize::MAX);
            let instance = linker.instantiate(&mut store, &module)?;
            let exports = Arc::new(places.in_instance(&instance, &mut store)?);
            store.data_mut().exports = Some(Arc::clone(&exports));
            instance.get_typed_func::<(), ()>(&mut store, "_initialize")?.call(&mut store, ())?;
            if exports.init.call(&mut store, ())? != 0 {
                return Err(format_err!("the engine does not start"));
            }
            exports.set_max_stack_size.call(&mut store, STACK_BYTES)?;
            Ok((store, instance, exports))
        };
        // In an instance of its own: what compiling leaves behind is in nobody's way then.
        let (mut store, _, exports) = begin(guest)?;
        let prelude = compile(&exports, &mut store)?;
        let (mut store, instance, exports) = begin(store.into_data().guest)?;
        let held = evaluate(&exports, &mut store, &prelude)?;
        settle(&exports, &mut store)?;
        let mut state = State { store, instance };
        let snapshot = ready(wizer.snapshot(&context, &mut state))??;
        let compiled = engine.precompile_module(&snapshot)?;
        let hash = *blake3::hash(&snapshot).as_bytes();
        let kept = postcard::to_stdvec(&Kept { made_of: made_of(), held, compiled, hash })
            .map_err(|error| format_err!("{error}"))?;
        let guest = state.store.into_data().guest;
        let base = Base::open(engine, &Bytes::from(kept.clone()), guest)?;
        Ok((base, kept))
    }

    /// Opens what [`Base::make`] made.
    pub(crate) fn open(engine: &Engine, kept: &Bytes, guest: Guest) -> Result<Base> {
        let Kept { made_of, held, compiled, hash } =
            postcard::from_bytes(kept).map_err(|error| format_err!("{error}"))?;
        if made_of != self::made_of() {
            return Err(format_err!("it was made by another build"));
        }
        let module = crate::engine::load_compiled(engine, &compiled)?;
        let mut linker = Linker::new(engine);
        host::link(&mut linker)?;
        let pre = linker.instantiate_pre(&module)?;
        let places = ExportPlaces::of(&module)?;
        let linked = Linked { engine: engine.clone(), pre, places, held, memory: Vec::new(), hash };
        let mut vm = linked.instance(guest, usize::MAX)?;
        let memory = vm.exports.memory.data(&mut vm.store).to_vec();
        Ok(Base { inner: Arc::new(Linked { memory, ..linked }) })
    }

    pub(crate) fn held(&self) -> &Held {
        &self.inner.held
    }

    /// A page of a fresh instance's memory.
    pub(crate) fn page(&self, number: usize) -> &[u8] {
        self.inner.memory.get(number * PAGE..(number + 1) * PAGE).unwrap_or(&ZEROS)
    }

    /// Bytes of a fresh instance's memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.inner.memory.len()
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.inner.hash
    }

    /// A fresh instance for this run, with as much memory as it may have.
    pub(crate) fn instance(&self, guest: Guest) -> Result<Vm> {
        let memory_max = usize::try_from(guest.bounds.memory_bytes).unwrap_or(usize::MAX);
        self.inner.instance(guest, memory_max)
    }
}

impl Linked {
    fn instance(&self, guest: Guest, memory_max: usize) -> Result<Vm> {
        let mut store = store(&self.engine, guest, memory_max);
        let instance = self.pre.instantiate(&mut store)?;
        let exports = Arc::new(self.places.in_instance(&instance, &mut store)?);
        store.data_mut().exports = Some(Arc::clone(&exports));
        Ok(Vm { store, exports })
    }
}

fn store(engine: &Engine, guest: Guest, memory_max: usize) -> Store<Ctx> {
    let limits = Limiter::new(memory_max);
    let mut store = Store::new(engine, Ctx { exports: None, limits, guest });
    store.limiter(|ctx| &mut ctx.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
    store
}

/// The web APIs as the engine's bytecode, without their text: `toString` of a function calls them native, and their memory is half as much.
fn compile(exports: &Exports, store: &mut Store<Ctx>) -> Result<Vec<u8>> {
    let (at, length) = exports.give_text(&mut *store, PRELUDE)?;
    let (name, _) = exports.give_text(&mut *store, "prelude.js")?;
    let scratch = exports.place(&mut *store, &[0; 4])?;
    let bytecode = exports.compile.call(&mut *store, (at, length, name, 0, STRIP_SOURCE, scratch))?;
    if bytecode == 0 {
        let exception = exports.get_exception.call(&mut *store, ())?;
        let thrown = exports.describe(&mut *store, exception)?;
        return Err(format_err!("the web APIs do not parse: {}: {}", thrown.name, thrown.message));
    }
    let length = exports.read_u32(&mut *store, scratch)?;
    exports.bytes_at(&*store, bytecode, length).map(<[u8]>::to_vec)
}

/// Evaluates the web APIs, and takes hold of what the worker calls.
fn evaluate(exports: &Exports, store: &mut Store<Ctx>, prelude: &[u8]) -> Result<Held> {
    exports.set_module_loader.call(&mut *store, 1)?;
    exports.set_rejection_handler.call(&mut *store, 1)?;
    let global = exports.get_global.call(&mut *store, ())?;
    let functions = exports.new_object.call(&mut *store, ())?;
    for name in HOST_FUNCTIONS {
        let (at, length) = exports.give_text(&mut *store, name)?;
        let function = exports.new_host_function.call(&mut *store, (at, length, 0))?;
        exports.free.call(&mut *store, at)?;
        exports.set_property(&mut *store, functions, name, function)?;
        exports.free_value.call(&mut *store, function)?;
    }
    exports.set_property(&mut *store, global, "__host", functions)?;
    exports.free_value.call(&mut *store, functions)?;
    let at = exports.place(&mut *store, prelude)?;
    let length = u32::try_from(prelude.len())?;
    let result = exports.eval_bytecode.call(&mut *store, (at, length))?;
    exports.free.call(&mut *store, at)?;
    let result = exports.caught(&mut *store, result)?;
    let result = result.map_err(|thrown| {
        format_err!("the web APIs fail: {}: {}\n{}", thrown.name, thrown.message, thrown.stack)
    })?;
    exports.free_value.call(&mut *store, result)?;
    let runtime = exports.property(&mut *store, global, "__runtime")?;
    let mut of = |name: &str| -> Result<Ptr> {
        let function = exports.property(&mut *store, runtime, name)?;
        match exports.is_object.call(&mut *store, function)? {
            0 => Err(format_err!("the runtime has no function {name}")),
            _ => Ok(function),
        }
    };
    let held = Held {
        runtime,
        prepare: of("prepare")?,
        loaded: of("loaded")?,
        script: of("script")?,
        restored: of("restored")?,
        run: of("run")?,
        settle: of("settle")?,
        event: of("event")?,
        rejection: of("rejection")?,
        rejections: of("rejections")?,
    };
    let result = eval(exports, store, "delete globalThis.__runtime; delete globalThis.__host;", "jsfs", 0)?;
    exports.free_value.call(&mut *store, result)?;
    exports.free_value.call(&mut *store, global)?;
    exports.run_gc.call(&mut *store, ())?;
    Ok(held)
}

/// Fills the gaps that evaluating the web APIs left among its objects, so that what a run makes lies together behind them: every page that a run
/// writes to is one to copy. And takes room behind for most runs, because growing memory is slow, and one that grew is used once.
fn settle(exports: &Exports, store: &mut Store<Ctx>) -> Result<()> {
    let room = exports.malloc.call(&mut *store, ROOM_BYTES)?;
    if room == 0 {
        return Err(format_err!("there is no room behind the web APIs"));
    }
    exports.free.call(&mut *store, room)?;
    for bytes in (1..=GAP_BYTES_MAX).rev().step_by(8) {
        loop {
            let at = exports.malloc.call(&mut *store, bytes)?;
            if at == 0 || at >= room {
                exports.free.call(&mut *store, at)?;
                break;
            }
        }
    }
    Ok(())
}

/// Evaluates text; the value may stand for an exception.
pub(crate) fn eval(
    exports: &Exports,
    store: &mut Store<Ctx>,
    text: &str,
    name: &str,
    flags: u32,
) -> Result<Ptr> {
    let (at, length) = exports.give_text(&mut *store, text)?;
    let (name_at, _) = exports.give_text(&mut *store, name)?;
    let value = exports.eval.call(&mut *store, (at, length, name_at, flags))?;
    exports.free.call(&mut *store, at)?;
    exports.free.call(&mut *store, name_at)?;
    Ok(value)
}

/// What the tool that makes snapshots needs of an instance. It asks as if that took time; it never does.
struct State {
    store: Store<Ctx>,
    instance: Instance,
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: wasmtime_wizer::ValType) -> SnapshotVal {
        let global =
            self.instance.get_global(&mut self.store, name).map(|global| global.get(&mut self.store));
        match global {
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(value)) => SnapshotVal::F32(value),
            Some(Val::F64(value)) => SnapshotVal::F64(value),
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            // The engine has one mutable global, its stack pointer.
            _ => SnapshotVal::I32(0),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        if let Some(memory) = self.instance.get_memory(&mut self.store, name) {
            contents(memory.data(&self.store));
        }
    }
}

/// The output of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> Result<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Ok(output),
        std::task::Poll::Pending => Err(format_err!("a snapshot waits")),
    }
}
