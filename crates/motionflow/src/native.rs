//! The parts of libtorch that `tch` does not reach, by way of `native/*.cpp`.

use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn free(pointer: *mut c_void);
    fn strdup(text: *const c_char) -> *mut c_char;
    fn motionflow_forbid_tf32() -> *mut c_char;
    fn motionflow_let_segments_grow() -> *mut c_char;
    fn motionflow_device_memory(device: i8, figures: *mut u64) -> *mut c_char;
    fn motionflow_reset_peak_memory(device: i8) -> *mut c_char;
    fn motionflow_grad_enabled() -> bool;
    fn motionflow_flash_attention(
        query: *mut C_tensor,
        key: *mut C_tensor,
        value: *mut C_tensor,
        attended: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn motionflow_gradients(
        outputs: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        output_count: usize,
        inputs: *const *mut C_tensor,
        input_count: usize,
        results: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn motionflow_record(
        first: *mut C_tensor,
        second: *mut C_tensor,
        outputs: *mut *mut C_tensor,
        output_count: usize,
        saved: *const *mut C_tensor,
        saved_count: usize,
        state: *mut c_void,
        callback: Callback,
        drop: unsafe extern "C" fn(*mut c_void),
    ) -> *mut c_char;
}

type Callback = unsafe extern "C" fn(
    state: *mut c_void,
    saved: *const *mut C_tensor,
    saved_count: usize,
    gradients: *const *mut C_tensor,
    gradient_count: usize,
    results: *mut *mut C_tensor,
) -> *mut c_char;

/// Computes products of float32 in float32 on CUDA, not in TensorFloat-32.
pub(crate) fn forbid_tf32() -> Result<(), String> {
    // SAFETY: takes nothing, and gives a message that is ours.
    unsafe { told(motionflow_forbid_tf32()) }
}

/// Lets libtorch take a CUDA device's memory in segments that grow, so that little of it lies in holes.
pub(crate) fn let_segments_grow() -> Result<(), String> {
    // SAFETY: takes nothing, and gives a message that is ours.
    unsafe { told(motionflow_let_segments_grow()) }
}

/// Bytes of a CUDA device: most allocated at once, most reserved, free, in all.
pub(crate) fn device_memory(device: i8) -> Result<[u64; 4], String> {
    let mut figures = [0; 4];
    // SAFETY: the callee writes four numbers.
    unsafe { told(motionflow_device_memory(device, figures.as_mut_ptr())) }?;
    Ok(figures)
}

/// Begins to measure the first two of [`device_memory`] anew.
pub(crate) fn reset_peak_memory(device: i8) -> Result<(), String> {
    // SAFETY: takes a number, and gives a message that is ours.
    unsafe { told(motionflow_reset_peak_memory(device)) }
}

/// Does something without a graph. Other than `tch`'s, it leaves the thread as it was where that panics, as it does when
/// memory runs out: what comes after has its gradients.
pub(crate) fn no_grad<T>(work: impl FnOnce() -> T) -> T {
    let _without = tch::no_grad_guard();
    work()
}

/// Whether operations are recorded for a gradient, on this thread.
pub(crate) fn grad_enabled() -> bool {
    // SAFETY: reads a flag of this thread.
    unsafe { motionflow_grad_enabled() }
}

/// softmax(Q·Kᵀ/√d)·V over [batch, heads, tokens, d] by FlashAttention-2 (<https://arxiv.org/abs/2307.08691>), with its gradient.
/// None where libtorch has none for these tensors.
pub(crate) fn flash_attention(query: &Tensor, key: &Tensor, value: &Tensor) -> Option<Tensor> {
    let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut();
    let mut attended = ptr::null_mut();
    // SAFETY: the tensors live through the call; what comes back is new and ours.
    unsafe {
        let message =
            motionflow_flash_attention(pointer(query), pointer(key), pointer(value), &raw mut attended);
        told(message).is_ok().then(|| Tensor::from_ptr(attended))
    }
}

/// Σ gradientᵢ·∂outputᵢ/∂inputⱼ for every input; none where no output depends on it.
///
/// # Panics
/// When libtorch fails, as `tch` does.
pub(crate) fn gradients(outputs: &[(Tensor, Tensor)], inputs: &[Tensor]) -> Vec<Option<Tensor>> {
    let pointers = |tensors: &mut dyn Iterator<Item = &Tensor>| -> Vec<*mut C_tensor> {
        tensors.map(|tensor| tensor.as_ptr().cast_mut()).collect()
    };
    let along = pointers(&mut outputs.iter().map(|(_, gradient)| gradient));
    let outputs = pointers(&mut outputs.iter().map(|(output, _)| output));
    let inputs = pointers(&mut inputs.iter());
    let mut results = vec![ptr::null_mut(); inputs.len()];
    // SAFETY: all pointers are of tensors that live through the call, with their counts; the results are new and ours.
    unsafe {
        let message = motionflow_gradients(
            outputs.as_ptr(),
            along.as_ptr(),
            outputs.len(),
            inputs.as_ptr(),
            inputs.len(),
            results.as_mut_ptr(),
        );
        if let Err(message) = told(message) {
            panic!("{message}");
        }
        let results = results.into_iter().map(|tensor| Tensor::from_ptr(tensor));
        results.map(|tensor| tensor.defined().then_some(tensor)).collect()
    }
}

/// Saved tensors and the gradients of the outputs -> the gradients of both inputs. Runs on a thread of libtorch's.
pub(crate) type Gradient = Box<dyn Fn(&[Tensor], &[Tensor]) -> [Option<Tensor>; 2] + Send>;

/// Makes `outputs`, which were computed from `first` and `second` without a graph, depend on these by `gradient`.
///
/// # Panics
/// When libtorch cannot make the graph's node, as `tch` does.
pub(crate) fn record(
    first: &Tensor,
    second: Option<&Tensor>,
    outputs: &[Tensor],
    saved: &[Tensor],
    gradient: Gradient,
) -> Vec<Tensor> {
    let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut();
    let mut made: Vec<*mut C_tensor> = outputs.iter().map(pointer).collect();
    let saved: Vec<*mut C_tensor> = saved.iter().map(pointer).collect();
    let state = Box::into_raw(Box::new(gradient)).cast();
    // SAFETY: all pointers are of tensors that live through the call, with their counts; `state` is a `Gradient` that
    // `call` reads and `discard` drops, once. The outputs that come back are new and ours.
    unsafe {
        let message = motionflow_record(
            pointer(first),
            second.map_or(ptr::null_mut(), pointer),
            made.as_mut_ptr(),
            made.len(),
            saved.as_ptr(),
            saved.len(),
            state,
            call,
            discard,
        );
        if let Err(message) = told(message) {
            panic!("{message}");
        }
        made.into_iter().map(|tensor| Tensor::from_ptr(tensor)).collect()
    }
}

unsafe extern "C" fn call(
    state: *mut c_void,
    saved: *const *mut C_tensor,
    saved_count: usize,
    gradients: *const *mut C_tensor,
    gradient_count: usize,
    results: *mut *mut C_tensor,
) -> *mut c_char {
    // SAFETY: as `record` and the caller promise; the tensors are borrowed, so shallow clones are taken.
    let work = AssertUnwindSafe(|| unsafe {
        let gradient = &*state.cast::<Gradient>();
        let cloned = |tensors: *const *mut C_tensor, count| -> Vec<Tensor> {
            (0..count).map(|index| Tensor::clone_from_ptr(*tensors.add(index))).collect()
        };
        gradient(&cloned(saved, saved_count), &cloned(gradients, gradient_count))
    });
    match catch_unwind(work) {
        Ok(computed) => {
            for (index, tensor) in computed.into_iter().enumerate() {
                let given = tensor.map_or(ptr::null_mut(), |t| ManuallyDrop::new(t).as_mut_ptr());
                // SAFETY: there is room for two.
                unsafe { *results.add(index) = given };
            }
            ptr::null_mut()
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let message =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a gradient failed");
            let message = message.replace('\0', " ") + "\0";
            // SAFETY: the text ends in a zero.
            unsafe { strdup(message.as_ptr().cast()) }
        }
    }
}

unsafe extern "C" fn discard(state: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `record`, and dropped by its one owner.
    drop(unsafe { Box::from_raw(state.cast::<Gradient>()) });
}

/// What a message of the other side says; it is freed.
unsafe fn told(message: *mut c_char) -> Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the callee's `strdup` made it.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        Err(text)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_recorded_gradient_is_what_autograd_gives() {
        let leaf = || Tensor::from_slice(&[1f64, -2.0, 3.0]).set_requires_grad(true);
        let (x, y) = (leaf(), leaf());
        let product = no_grad(|| &x * &y);
        let saved = [x.shallow_clone(), y.shallow_clone()];
        let gradient: Gradient = Box::new(|saved, gradients| {
            [Some(&gradients[0] * &saved[1]), Some(&gradients[0] * &saved[0] * 10.0)]
        });
        let recorded = record(&x, Some(&y), &[product], &saved, gradient).swap_remove(0);
        assert_eq!(Vec::<f64>::try_from(recorded.detach()).unwrap(), [1.0, 4.0, 9.0]);
        let loss = (&recorded * &recorded).sum(Kind::Double);
        let gradients = Tensor::run_backward(&[&loss], &[&x, &y], false, false);
        assert_eq!(Vec::<f64>::try_from(&gradients[0]).unwrap(), [2.0, -16.0, 54.0]);
        assert_eq!(Vec::<f64>::try_from(&gradients[1]).unwrap(), [20.0, -160.0, 540.0]);
    }

    #[test]
    fn a_gradient_that_fails_is_an_error_and_no_crash() {
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let gradient: Gradient = Box::new(|_, _| panic!("{}", "no such gradient".to_owned()));
        let output = no_grad(|| &x + 1.0);
        let output = record(&x, None, &[output], &[], gradient).swap_remove(0);
        let error = Tensor::f_run_backward(&[&output.sum(Kind::Float)], &[&x], false, false).unwrap_err();
        assert!(error.to_string().contains("no such gradient"), "{error}");
    }

    #[test]
    fn gradients_are_off_where_they_are_turned_off() {
        assert!(grad_enabled());
        assert!(!no_grad(grad_enabled));
        let failed = std::panic::catch_unwind(|| no_grad(|| panic!("out of memory")));
        assert!(failed.is_err() && grad_enabled());
    }
}
