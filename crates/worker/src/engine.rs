//! The engine and its settings, and how what it compiled is loaded.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Result,
    component::Component,
};

/// Stack of a run's thread: what compiled WebAssembly may use of it, and as much again for the host.
pub(crate) const WASM_STACK: usize = 512 << 10;

/// The engine's settings. Those that change what is compiled are part of every compiled module, which the engine checks when it loads one.
pub(crate) fn engine(instances: u32) -> Result<Engine> {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        // A component is several modules: what it was written in, what adapts that to the component's types, and often an engine.
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(8))
        .total_stacks(instances)
        .total_component_instances(instances)
        .max_tables_per_module(8)
        .max_memory_size(1 << 30)
        .table_elements(100_000)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    // Both open the file that they scan; later there are no files.
    let _ = PoolingAllocationConfig::is_pagemap_scan_available();
    crate::js::written::open();
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling))
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK);
    Engine::new(&config)
}

/// Loads what this program compiled.
///
/// # Errors
/// When it was compiled by another version or for another machine.
#[allow(unsafe_code, reason = "compiled code is loaded, which nothing can verify")]
pub(crate) fn load_compiled(engine: &Engine, compiled: &[u8]) -> Result<Module> {
    // SAFETY: the bytes come from the node, which keeps them sealed under its own key and verifies them; they were made by `precompile_module`
    // in a worker of the same build. A worker that a program has taken over could have made others: they would run in a worker again,
    // behind the same walls.
    unsafe { Module::deserialize(engine, compiled) }
}

/// The same for a component.
///
/// # Errors
/// When it was compiled by another version or for another machine.
#[allow(unsafe_code, reason = "compiled code is loaded, which nothing can verify")]
pub(crate) fn load_compiled_component(engine: &Engine, compiled: &[u8]) -> Result<Component> {
    // SAFETY: as in `load_compiled`; they were made by `precompile_component`.
    unsafe { Component::deserialize(engine, compiled) }
}
