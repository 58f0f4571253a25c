//! WebAssembly programs: core modules that are WASI preview 1 commands, and components that handle `wasi:http` requests or are commands.
//!
//! Preparing compiles a program, once; the artefact says which of the three it is. A run is a fresh instance with nothing in it but the request:
//! no files, no sockets, no arguments or variables of this process. What a run asks of the node goes through its [`calls::Conversation`],
//! as a JavaScript program's does. Each run is driven by an executor of its own on the thread of the pool that it was given.

mod answer;
mod calls;
mod cgi;
mod check;
mod outgoing;
mod run;
mod still;
mod streams;

pub(crate) use run::{Setting, drive};

use crate::{
    engine::{load_compiled, load_compiled_component},
    hold,
    limiter::Limiter,
};
use jsfs_exec::wire::{FRAME_MAX, Fault};
use outgoing::Outgoing;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use wasmtime::{Engine, InstancePre, Linker, ResourceLimiter, Result, component, error::Context, format_err};
use wasmtime_wasi::{
    WasiCtxView, WasiView,
    p1::{self, WasiP1Ctx},
    p2::bindings::CommandPre,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2::bindings::ProxyPre};

/// Largest compiled program.
const COMPILED_MAX: usize = 512 << 20;
/// What of a frame is left to its head.
const HEAD_ROOM: usize = 64 << 10;

/// A program that can be run.
pub(crate) enum Program {
    /// A core module with `_start`.
    Module(InstancePre<Ctx>),
    /// A component with `wasi:cli/run`.
    Command(CommandPre<Ctx>),
    /// A component with `wasi:http/incoming-handler`.
    Proxy(ProxyPre<Ctx>),
}

/// The state of an instance.
pub(crate) struct Ctx {
    limits: Limits,
    wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

/// A limiter that outlives the instance, so that it can be asked why the instance ended.
#[derive(Clone)]
struct Limits(Arc<Mutex<Limiter>>);

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        hold(&self.0).memory_growing(current, desired, maximum)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        hold(&self.0).table_growing(current, desired, maximum)
    }
}

/// What a run is told at its beginning: `RunParams` in guest/src/host.ts.
#[derive(Deserialize)]
struct Told {
    base: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    caller: Caller,
    request: Option<RequestHead>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Caller {
    kind: String,
}

#[derive(Deserialize)]
struct RequestHead {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    body: bool,
}

/// What every WebAssembly program of this worker is linked with.
pub(crate) struct Wasm {
    engine: Engine,
    modules: Linker<Ctx>,
    components: component::Linker<Ctx>,
}

impl Wasm {
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        let mut modules = Linker::new(engine);
        p1::add_to_linker_async(&mut modules, |ctx: &mut Ctx| &mut ctx.wasi)?;
        let mut components = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut components)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut components)?;
        Ok(Self { engine: engine.clone(), modules, components })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Compiles a program. Answers the artefact that [`Wasm::load`] takes, and what that makes of it.
    pub(crate) fn prepare(&self, source: &[u8]) -> std::result::Result<(Vec<u8>, Program, usize), Fault> {
        let is_component = check::check(source)?;
        let refuse = |error: wasmtime::Error| Fault { message: reason(&error), position: None };
        let compiled = match is_component {
            true => self.engine.precompile_component(source),
            false => self.engine.precompile_module(source),
        };
        let compiled = compiled.map_err(refuse)?;
        let artefact = encode(is_component, &compiled).map_err(refuse)?;
        // Whatever it imports or lacks is found by linking it.
        let program = self.link(is_component, &compiled).map_err(refuse)?;
        Ok((artefact, program, compiled.len()))
    }

    /// Makes an artefact ready to run. Answers with it what it takes of memory.
    ///
    /// # Errors
    /// When it needs what is not offered here, or offers nothing that could be run.
    pub(crate) fn load(&self, artefact: &[u8]) -> Result<(Program, usize)> {
        let (is_component, compiled) = decode(artefact)?;
        Ok((self.link(is_component, &compiled)?, compiled.len()))
    }

    fn link(&self, is_component: bool, compiled: &[u8]) -> Result<Program> {
        if !is_component {
            let module = load_compiled(&self.engine, compiled)?;
            module.initialize_copy_on_write_image()?;
            let pre = self.modules.instantiate_pre(&module)?;
            let start = module.get_export("_start").and_then(|start| start.func().cloned());
            return match start {
                Some(start) if start.params().len() == 0 && start.results().len() == 0 => {
                    Ok(Program::Module(pre))
                }
                _ => Err(format_err!("it exports no function _start; build it as a WASI command")),
            };
        }
        let component = load_compiled_component(&self.engine, compiled)?;
        component.initialize_copy_on_write_image()?;
        let pre = self.components.instantiate_pre(&component)?;
        if let Ok(proxy) = ProxyPre::new(pre.clone()) {
            return Ok(Program::Proxy(proxy));
        }
        match CommandPre::new(pre) {
            Ok(command) => Ok(Program::Command(command)),
            Err(_) => Err(format_err!(
                "the component exports neither wasi:http/incoming-handler nor wasi:cli/run of WASI 0.2"
            )),
        }
    }
}

/// What is wrong, with what it is wrong with, on one line.
fn reason(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A byte that says what it is, the length, and the compiled code packed: it is some times larger than the source.
fn encode(is_component: bool, compiled: &[u8]) -> Result<Vec<u8>> {
    if compiled.len() > COMPILED_MAX {
        return Err(format_err!("compiled it has {} bytes; it may have {COMPILED_MAX}", compiled.len()));
    }
    let packed = zstd::bulk::compress(compiled, 1).context("the compiled program cannot be packed")?;
    if packed.len() > FRAME_MAX - HEAD_ROOM {
        let max = FRAME_MAX - HEAD_ROOM;
        return Err(format_err!("compiled and packed it has {} bytes; it may have {max}", packed.len()));
    }
    let mut artefact = vec![u8::from(is_component)];
    artefact.extend_from_slice(&(compiled.len() as u64).to_le_bytes());
    artefact.extend_from_slice(&packed);
    Ok(artefact)
}

fn decode(artefact: &[u8]) -> Result<(bool, Vec<u8>)> {
    let malformed = || format_err!("the compiled program is malformed");
    let (kind, rest) = artefact.split_first().ok_or_else(malformed)?;
    let (length, packed) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| malformed())?;
    if length > COMPILED_MAX {
        return Err(malformed());
    }
    let compiled = zstd::bulk::decompress(packed, length).context("the compiled program does not unpack")?;
    Ok((*kind == 1, compiled))
}
