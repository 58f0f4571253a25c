//! JavaScript: QuickJS compiled to WebAssembly, one fresh instance for each run.
//!
//! The engine, with the web APIs of `guest/` already evaluated in it, is one module: the **base image**. Instances of it share its pages until they
//! write to them. A prepared program is the pages that evaluating it changed; a run is an instance of the base image with those pages
//! copied over, or one that has ended and was made so again (`idle`). Function pointers, scratch space and the values that the worker holds lie at the same places in every instance, so they are
//! found once, when the base image is made.

mod base;
mod host;
mod idle;
mod image;
mod run;
mod value;
pub(crate) mod written;

pub(crate) use base::Base;
#[cfg(test)]
pub(crate) use base::eval;
pub(crate) use host::{Ctx, Guest};
pub(crate) use idle::Instances;
pub(crate) use image::{Image, Pages};
pub(crate) use run::{Begin, OtherEngine, Running, prepare};

use std::sync::Arc;
use wasmtime::{AsContextMut, Instance, Memory, Module, ModuleExport, Store, TypedFunc};

/// An engine instance with everything that the worker calls in it.
pub(crate) struct Vm {
    pub(crate) store: Store<Ctx>,
    pub(crate) exports: Arc<Exports>,
}

macro_rules! exports {
    ($($field:ident: $name:literal $params:ty => $result:ty;)+) => {
        /// What the worker calls in an engine instance.
        pub(crate) struct Exports {
            pub(crate) memory: Memory,
            pub(crate) stack_pointer: wasmtime::Global,
            $(pub(crate) $field: TypedFunc<$params, $result>,)+
        }

        /// Where they are in the module, so that an instance need not look them up by name.
        #[derive(Clone)]
        pub(crate) struct ExportPlaces {
            memory: ModuleExport,
            stack_pointer: ModuleExport,
            $($field: ModuleExport,)+
        }

        impl ExportPlaces {
            pub(crate) fn of(module: &Module) -> wasmtime::Result<Self> {
                let place = |name: &str| {
                    module
                        .get_export_index(name)
                        .ok_or_else(|| wasmtime::format_err!("the engine has no export {name}"))
                };
                Ok(Self {
                    memory: place("memory")?,
                    stack_pointer: place("__stack_pointer")?,
                    $($field: place($name)?,)+
                })
            }

            pub(crate) fn in_instance(
                &self,
                instance: &Instance,
                mut store: impl AsContextMut,
            ) -> wasmtime::Result<Exports> {
                let missing = || wasmtime::format_err!("the engine lacks an export");
                $(
                    let $field = instance
                        .get_module_export(&mut store, &self.$field)
                        .and_then(|export| export.into_func())
                        .ok_or_else(missing)?
                        .typed::<$params, $result>(&store)?;
                )+
                Ok(Exports {
                    memory: instance
                        .get_module_export(&mut store, &self.memory)
                        .and_then(|export| export.into_memory())
                        .ok_or_else(missing)?,
                    stack_pointer: instance
                        .get_module_export(&mut store, &self.stack_pointer)
                        .and_then(|export| export.into_global())
                        .ok_or_else(missing)?,
                    $($field,)+
                })
            }
        }
    };
}

exports! {
    malloc: "wasm_malloc" u32 => u32;
    free: "wasm_free" u32 => ();
    init: "qjs_init" () => u32;
    set_max_stack_size: "qjs_set_max_stack_size" u32 => ();
    set_module_loader: "qjs_set_module_loader" u32 => ();
    set_rejection_handler: "qjs_set_promise_rejection_handler" u32 => ();
    run_gc: "qjs_run_gc" () => ();
    set_gc_threshold: "qjs_set_gc_threshold" u32 => ();
    eval: "qjs_eval" (u32, u32, u32, u32) => u32;
    compile: "qjs_compile" (u32, u32, u32, u32, u32, u32) => u32;
    eval_bytecode: "qjs_eval_bytecode" (u32, u32) => u32;
    call: "qjs_call" (u32, u32, u32, u32) => u32;
    execute_pending_job: "qjs_execute_pending_job" () => i32;
    is_exception: "qjs_is_exception" u32 => u32;
    get_exception: "qjs_get_exception" () => u32;
    throw: "qjs_throw" u32 => u32;
    new_error: "qjs_new_error" () => u32;
    new_object: "qjs_new_object" () => u32;
    new_string: "qjs_new_string" (u32, u32) => u32;
    new_number: "qjs_new_number" f64 => u32;
    new_array_buffer: "qjs_new_array_buffer" (u32, u32) => u32;
    new_host_function: "qjs_new_host_function" (u32, u32, u32) => u32;
    get_undefined: "qjs_get_undefined" () => u32;
    get_true: "qjs_get_true" () => u32;
    get_false: "qjs_get_false" () => u32;
    get_global: "qjs_get_global" () => u32;
    get_prop: "qjs_get_prop_string" (u32, u32) => u32;
    set_prop: "qjs_set_prop_string" (u32, u32, u32) => u32;
    is_undefined: "qjs_is_undefined" u32 => u32;
    is_null: "qjs_is_null" u32 => u32;
    is_object: "qjs_is_object" u32 => u32;
    is_array_buffer: "qjs_is_array_buffer" u32 => u32;
    get_bool: "qjs_get_bool" u32 => u32;
    get_float64: "qjs_get_float64" u32 => f64;
    get_string: "qjs_get_string_len" (u32, u32) => u32;
    free_cstring: "qjs_free_cstring" u32 => ();
    get_array_buffer: "qjs_get_array_buffer" (u32, u32) => u32;
    promise_state: "qjs_promise_state" u32 => i32;
    promise_result: "qjs_promise_result" u32 => u32;
    free_value: "qjs_free_value" u32 => ();
}
