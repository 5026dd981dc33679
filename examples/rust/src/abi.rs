//! `es_abi.h` and `es_pool.h` in Rust, as far as a program needs them, and the functions of the model `digits`.
use std::ffi::{c_char, c_int, c_void};

pub const ABI_VERSION: i32 = 1;
pub const ALIGNMENT: usize = 64;
pub const OK: i32 = 0;
pub const F32: i32 = 1;

#[repr(C)]
pub struct TensorInfo {
    pub name: *const c_char,
    pub dtype: i32,
    pub rank: i32,
    pub shape: *const i64,
    pub bytes: usize,
}

/// A context of a model; its layout is private to the model.
#[repr(C)]
pub struct Context {
    _private: [u8; 0],
}

/// A pool of threads.
#[repr(C)]
pub struct Pool {
    _private: [u8; 0],
}

pub type Task = unsafe extern "C" fn(*mut c_void, i32, i32, i32);
pub type ParallelFor = unsafe extern "C" fn(*mut c_void, Task, *mut c_void, i32);

extern "C" {
    pub fn es_pool_create(out: *mut *mut Pool, threads: c_int) -> c_int;
    pub fn es_pool_destroy(pool: *mut Pool);
    pub fn es_pool_parallel_for(pool: *mut c_void, task: Task, arg: *mut c_void, count: i32);

    pub fn digits_abi_version() -> i32;
    pub fn digits_input_count() -> i32;
    pub fn digits_input(i: i32) -> *const TensorInfo;
    pub fn digits_output_count() -> i32;
    pub fn digits_output(i: i32) -> *const TensorInfo;
    pub fn digits_context_bytes(workers: i32) -> usize;
    pub fn digits_init(
        memory: *mut c_void,
        bytes: usize,
        workers: i32,
        parallel_for: Option<ParallelFor>,
        pool: *mut c_void,
    ) -> *mut Context;
    pub fn digits_prepare(context: *mut Context);
    pub fn digits_run(context: *mut Context, inputs: *const *const c_void, outputs: *const *mut c_void) -> i32;
}
