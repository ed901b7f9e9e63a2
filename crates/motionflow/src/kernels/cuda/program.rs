//! CUDA C++ to kernels that can be launched: compiled by NVRTC when first needed, for one type of numbers and one width.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use cudarc::driver::{result as driver, sys};
use cudarc::nvrtc::{result as nvrtc, sys as nvrtc_sys};

use super::compiled;

const NUMBERS: &str = include_str!("numbers.cu");

/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    GroupNorm,
    LayerNorm,
    Elementwise,
    TemporalAttention,
    DiffusionTransformer,
}

impl Source {
    fn text(self) -> &'static str {
        match self {
            Self::GroupNorm => include_str!("group_norm.cu"),
            Self::LayerNorm => include_str!("layer_norm.cu"),
            Self::Elementwise => include_str!("elementwise.cu"),
            Self::TemporalAttention => include_str!("temporal_attention.cu"),
            Self::DiffusionTransformer => include_str!("dit.cu"),
        }
    }
}

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Program {
    pub(super) device: usize,
    pub(super) source: Source,
    /// As `KIND` in the sources.
    pub(super) kind: i32,
    /// As `WIDTH` in the sources.
    pub(super) width: i64,
    /// As `DIM` in the sources, where they have it.
    pub(super) dim: i64,
}

/// A compiled program on its device.
#[derive(Clone, Copy)]
struct Loaded {
    context: sys::CUcontext,
    module: sys::CUmodule,
}

/// A kernel.
#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: the handles are the driver's, which any thread may use; nothing frees them.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Send for Function {}

/// Blocks and threads of a launch, and bytes of shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) blocks: [i64; 2],
    pub(super) threads: [i64; 2],
    pub(super) shared: i64,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument {
    Pointer(*const c_void),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
}

impl Argument {
    fn address(&mut self) -> *mut c_void {
        match self {
            Self::Pointer(value) => std::ptr::from_mut(value).cast(),
            Self::Int(value) => std::ptr::from_mut(value).cast(),
            Self::Long(value) => std::ptr::from_mut(value).cast(),
            Self::Float(value) => std::ptr::from_mut(value).cast(),
            Self::Double(value) => std::ptr::from_mut(value).cast(),
        }
    }
}

type Compiled = HashMap<Program, Result<(Loaded, HashMap<&'static str, Function>), String>>;

fn compiled() -> std::sync::MutexGuard<'static, Compiled> {
    static COMPILED: OnceLock<Mutex<Compiled>> = OnceLock::new();
    COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Program {
    /// Compiles it, if that has not been done.
    ///
    /// # Errors
    /// Why it cannot be compiled here, in words.
    pub(super) fn ready(&self) -> Result<(), String> {
        let mut compiled = compiled();
        let made = compiled.entry(*self).or_insert_with(|| Ok((self.compile()?, HashMap::new())));
        made.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn compile(&self) -> Result<Loaded, String> {
        if !libraries_are_there() {
            return Err("NVRTC, the compiler that comes with libtorch for CUDA, cannot be opened".to_owned());
        }
        // SAFETY: the driver is initialised by libtorch, which has this device open; every handle is used as it came.
        unsafe {
            let told = |error: driver::DriverError| format!("{error:?}");
            driver::init().map_err(told)?;
            let device = driver::device::get(self.device as i32).map_err(told)?;
            let context = driver::primary_ctx::retain(device).map_err(told)?;
            let attribute = |which| driver::device::get_attribute(device, which).map_err(told);
            let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
            let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
            let load = |code: &[u8]| {
                inside(context, || driver::module::load_data(code.as_ptr().cast())).and_then(|module| module)
            };
            let architecture = format!("sm_{major}{minor}");
            let text = format!("{NUMBERS}{}", self.source.text());
            let options = self.options(&architecture);
            let mut parts = vec![text.as_str(), &VERSION];
            parts.extend(options.iter().map(String::as_str));
            let place = compiled::place(&parts);
            if let Some(module) = place.as_deref().and_then(compiled::read).and_then(|code| load(&code).ok())
            {
                return Ok(Loaded { context, module });
            }
            let code = compile(&text, &options)?;
            let module = load(&code).map_err(told)?;
            if let Some(place) = place {
                compiled::write(&place, &code);
            }
            Ok(Loaded { context, module })
        }
    }

    fn options(&self, architecture: &str) -> [String; 5] {
        [
            format!("--gpu-architecture={architecture}"),
            format!("-DKIND={}", self.kind),
            format!("-DWIDTH={}", self.width),
            format!("-DDIM={}", self.dim),
            "--std=c++17".to_owned(),
        ]
    }

    /// Launches one of its kernels on the default stream, where libtorch computes.
    ///
    /// # Panics
    /// When the driver refuses, as `tch` does; not before [`Program::ready`] was asked.
    pub(super) fn launch(&self, name: &'static str, grid: Grid, arguments: &mut [Argument]) {
        let (context, function) =
            self.function(name).unwrap_or_else(|why| panic!("the kernel {name}: {why}"));
        let mut addresses: Vec<*mut c_void> = arguments.iter_mut().map(Argument::address).collect();
        let size = |[x, y]: [i64; 2]| (x as u32, y as u32, 1);
        let (blocks, threads) = (size(grid.blocks), size(grid.threads));
        // SAFETY: the callers' arguments are those of the kernel, and their tensors live through the call; later work on
        // the same stream comes after it.
        let launched = unsafe {
            inside(context, || {
                let stream = std::ptr::null_mut();
                driver::launch_kernel(function.0, blocks, threads, grid.shared as u32, stream, &mut addresses)
            })
        };
        if let Err(error) = launched.and_then(|launched| launched) {
            panic!("the kernel {name}: {error:?}");
        }
    }

    fn function(&self, name: &'static str) -> Result<(sys::CUcontext, Function), String> {
        let mut compiled = compiled();
        let made = compiled.get_mut(self).ok_or("it was never compiled")?;
        let (loaded, functions) = made.as_mut().map_err(|why| why.clone())?;
        if let Some(&function) = functions.get(name) {
            return Ok((loaded.context, function));
        }
        let symbol = CString::new(name).map_err(|error| error.to_string())?;
        // SAFETY: the module is loaded and stays so.
        let found = unsafe { inside(loaded.context, || driver::module::get_function(loaded.module, symbol)) };
        let found = found.and_then(|found| found).map_err(|error| format!("{error:?}"))?;
        let function = Function(found);
        functions.insert(name, function);
        Ok((loaded.context, function))
    }
}

/// NVRTC's version: another one may compile otherwise.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: it writes two numbers.
    let told = unsafe { nvrtc_sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    format!("{told:?} {major}.{minor}")
});

/// Machine code of a text.
fn compile(text: &str, options: &[String]) -> Result<Vec<u8>, String> {
    let text = CString::new(text).map_err(|e| e.to_string())?;
    let program = nvrtc::create_program(&text, None).map_err(|error| format!("{error:?}"))?;
    // SAFETY: the program was just made, and is destroyed once.
    unsafe {
        let code = nvrtc::compile_program(program, options).and_then(|()| machine_code(program));
        let code = code.map_err(|error| {
            let log = nvrtc::get_program_log(program).unwrap_or_default();
            let log: Vec<u8> = log.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
            format!("{error:?}: {}", String::from_utf8_lossy(&log))
        });
        let _ = nvrtc::destroy_program(program);
        code
    }
}

/// What a program was compiled to.
unsafe fn machine_code(program: nvrtc_sys::nvrtcProgram) -> Result<Vec<u8>, nvrtc::NvrtcError> {
    let mut size = 0;
    // SAFETY: the program was compiled, and the code has as many bytes as it says.
    unsafe {
        nvrtc_sys::nvrtcGetCUBINSize(program, &raw mut size).result()?;
        let mut code = vec![0_u8; size];
        nvrtc_sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result()?;
        Ok(code)
    }
}

/// Whether the CUDA driver and NVRTC can be opened; cudarc panics where they cannot.
fn libraries_are_there() -> bool {
    // SAFETY: looks for libraries by their names.
    unsafe { sys::is_culib_present() && nvrtc_sys::is_culib_present() }
}

/// Does something in a context of the driver, and brings back the thread's own.
unsafe fn inside<R>(context: sys::CUcontext, work: impl FnOnce() -> R) -> Result<R, driver::DriverError> {
    // SAFETY: contexts that the driver gave.
    unsafe {
        let before = driver::ctx::get_current()?;
        if before == Some(context) {
            return Ok(work());
        }
        driver::ctx::set_current(context)?;
        let done = work();
        if let Some(before) = before {
            driver::ctx::set_current(before)?;
        }
        Ok(done)
    }
}
