//! The model as a safe Rust type.
use crate::abi;
use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ffi::{c_void, CStr};
use std::mem::size_of;
use std::ptr;

/// A float tensor of the model: its name and shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<i64>,
    pub elements: usize,
}

impl Tensor {
    /// # Safety
    /// `info` points to a description that lives as long as the program.
    unsafe fn read(info: *const abi::TensorInfo) -> Result<Tensor, String> {
        let info = &*info;
        let name = CStr::from_ptr(info.name).to_string_lossy().into_owned();
        if info.dtype != abi::F32 {
            return Err(format!("{name} has no float elements"));
        }
        let shape = (0..info.rank as usize).map(|d| *info.shape.add(d)).collect();
        Ok(Tensor { name, shape, elements: info.bytes / size_of::<f32>() })
    }
}

/// Memory, threads and context of the network with one input and one output.
pub struct Model {
    pub input: Tensor,
    pub output: Tensor,
    context: *mut abi::Context,
    pool: *mut abi::Pool,
    memory: *mut u8,
    layout: Layout,
}

// A context belongs to one thread at a time, whichever it is.
unsafe impl Send for Model {}

impl Model {
    /// # Errors
    /// The library is another model's or another version's, or the system refuses threads.
    pub fn new(threads: i32) -> Result<Model, String> {
        unsafe {
            if abi::digits_abi_version() != abi::ABI_VERSION {
                return Err("the library has another ABI version".into());
            }
            if (abi::digits_input_count(), abi::digits_output_count()) != (1, 1) {
                return Err("the library holds another model".into());
            }
            let input = Tensor::read(abi::digits_input(0))?;
            let output = Tensor::read(abi::digits_output(0))?;
            let mut pool = ptr::null_mut();
            if abi::es_pool_create(&mut pool, threads) != abi::OK {
                return Err(format!("cannot start {threads} threads"));
            }
            let bytes = abi::digits_context_bytes(threads);
            let layout = Layout::from_size_align(bytes, abi::ALIGNMENT).map_err(|e| e.to_string())?;
            let memory = alloc_zeroed(layout);
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            let context =
                abi::digits_init(memory.cast(), bytes, threads, Some(abi::es_pool_parallel_for), pool.cast());
            let model = Model { input, output, context, pool, memory, layout };
            if context.is_null() {
                return Err("the model refused its memory".into());
            }
            abi::digits_prepare(context);
            Ok(model)
        }
    }

    /// One inference.
    ///
    /// # Errors
    /// `input` has another number of elements than the network takes.
    pub fn run(&mut self, input: &[f32]) -> Result<Vec<f32>, String> {
        if input.len() != self.input.elements {
            return Err(format!("{} values, {} takes {}", input.len(), self.input.name, self.input.elements));
        }
        let mut output = vec![0.0f32; self.output.elements];
        let inputs = [input.as_ptr().cast::<c_void>()];
        let outputs = [output.as_mut_ptr().cast::<c_void>()];
        match unsafe { abi::digits_run(self.context, inputs.as_ptr(), outputs.as_ptr()) } {
            abi::OK => Ok(output),
            status => Err(format!("the model returned status {status}")),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe {
            abi::es_pool_destroy(self.pool);
            dealloc(self.memory, self.layout);
        }
    }
}
