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
    fn motionflow_attend(
        q: *mut C_tensor,
        k: *mut C_tensor,
        v: *mut C_tensor,
        made: *mut *mut C_tensor,
        backend: *mut i64,
    ) -> *mut c_char;
    fn motionflow_attended(
        q: *mut C_tensor,
        k: *mut C_tensor,
        v: *mut C_tensor,
        kept: *const *mut C_tensor,
        backend: i64,
        result: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn motionflow_pinned(tensor: *mut C_tensor, pinned: *mut *mut C_tensor) -> *mut c_char;
    fn motionflow_copy_beside(to: *mut C_tensor, from: *mut C_tensor) -> *mut c_char;
    fn motionflow_await_copies(to: *mut C_tensor) -> *mut c_char;
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

/// What a fused attention was computed to, kept for its gradient.
#[derive(Debug)]
pub(crate) struct Attended {
    /// The result, and what else its kernel wants back.
    kept: [Tensor; 4],
    backend: i64,
}

impl Attended {
    /// softmax(Q·Kᵀ/√d)·V, all [batch, heads, tokens, d], by the kernel that libtorch takes itself. None where that has nothing
    /// to keep.
    pub(crate) fn of([q, k, v]: [&Tensor; 3]) -> Option<Self> {
        let (mut made, mut backend) = ([ptr::null_mut(); 4], 0);
        // SAFETY: the tensors live through the call; the callee writes a number and, without a message, four new tensors.
        let kept = unsafe {
            let [q, k, v] = [q, k, v].map(|tensor| tensor.as_ptr().cast_mut());
            told(motionflow_attend(q, k, v, made.as_mut_ptr(), &raw mut backend)).ok()?;
            made.map(|tensor| Tensor::from_ptr(tensor))
        };
        kept[0].defined().then_some(Self { kept, backend })
    }

    /// The result, without a graph.
    pub(crate) fn result(&self) -> Tensor {
        self.kept[0].shallow_clone()
    }

    /// The result as one that depends on the same Q, K and V.
    ///
    /// # Panics
    /// When libtorch cannot make the graph's node, as `tch` does.
    pub(crate) fn recorded(&self, [q, k, v]: [&Tensor; 3]) -> Tensor {
        let kept = self.kept.each_ref().map(|tensor| tensor.as_ptr().cast_mut());
        let mut result = ptr::null_mut();
        // SAFETY: all tensors live through the call; the result is new and ours.
        unsafe {
            let [q, k, v] = [q, k, v].map(|tensor| tensor.as_ptr().cast_mut());
            let message = motionflow_attended(q, k, v, kept.as_ptr(), self.backend, &raw mut result);
            told(message).unwrap_or_else(|message| panic!("{message}"));
            Tensor::from_ptr(result)
        }
    }
}

/// A copy of a tensor of the CPU in memory that CUDA devices fetch from while they compute. An error where there is no more of it.
pub(crate) fn pinned(tensor: &Tensor) -> Result<Tensor, String> {
    let mut pinned = ptr::null_mut();
    // SAFETY: the tensor lives through the call; what comes back without a message is new and ours.
    unsafe {
        told(motionflow_pinned(tensor.as_ptr().cast_mut(), &raw mut pinned))?;
        Ok(Tensor::from_ptr(pinned))
    }
}

/// Copies to a tensor of the same shape and kind on a CUDA device beside what is computed there, and after what was requested
/// of it so far. Who reads it calls [`await_copies`] before. On the CPU it is copied at once.
///
/// # Panics
/// When libtorch fails, as `tch` does.
pub(crate) fn copy_beside(to: &Tensor, from: &Tensor) {
    // SAFETY: both tensors live through the call, and libtorch keeps their memory until the copy is done.
    let told = unsafe { told(motionflow_copy_beside(to.as_ptr().cast_mut(), from.as_ptr().cast_mut())) };
    told.unwrap_or_else(|message| panic!("{message}"));
}

/// What is requested of this tensor's device from now on waits for the copies that were requested so far.
///
/// # Panics
/// When libtorch fails, as `tch` does.
pub(crate) fn await_copies(to: &Tensor) {
    // SAFETY: the tensor lives through the call.
    let told = unsafe { told(motionflow_await_copies(to.as_ptr().cast_mut())) };
    told.unwrap_or_else(|message| panic!("{message}"));
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
    fn an_attention_that_was_kept_has_the_gradient_of_one_that_is_computed() {
        let leaf = || {
            let x = Tensor::randn([1, 7, 2, 8], (Kind::Float, Device::Cpu)).transpose(1, 2);
            x.detach().set_requires_grad(true)
        };
        let (q, k, v) = (leaf(), leaf(), leaf());
        let inputs = [&q, &k, &v];
        let gradients = |result: &Tensor| {
            let loss = (result * Tensor::arange(8, (Kind::Float, Device::Cpu))).sum(Kind::Float);
            Tensor::run_backward(&[loss], &inputs, false, false)
        };
        let none = None::<Tensor>;
        let computed = Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, false, None, false);
        let kept = Attended::of(inputs).unwrap();
        assert!(!kept.result().requires_grad() && kept.result().equal(&computed));
        let recorded = kept.recorded(inputs);
        assert!(recorded.equal(&computed));
        assert!(
            gradients(&recorded).iter().zip(gradients(&computed)).all(|(found, meant)| found.equal(&meant))
        );
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
