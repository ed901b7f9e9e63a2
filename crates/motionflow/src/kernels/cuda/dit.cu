// Norms of a diffusion transformer's tokens, one block a row: a layer norm with factors and shifts in float32, behind a sum with
// a gate if need be, and an RMS norm with rotary embedding. V elements are moved at once, and N such packs are a thread's.

constexpr int V = WIDTH / 16, N = WIDTH % 16;

// The sum over all threads, to each of them; a block is whole warps, at most 32.
__device__ __forceinline__ float sum_of_block(float x) {
  __shared__ float parts[32];
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  x = sum_of_warp(x);
  if (warps == 1) return x;
  if (lane == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  x = sum_of_warp(lane < warps ? parts[lane] : 0.0f);
  __syncthreads();
  return x;
}

// Where a thread's n-th pack begins in a row; behind the row's end for threads that have none.
__device__ __forceinline__ int column(int n) { return (n * blockDim.x + threadIdx.x) * V; }

// sum = residual + x·gate, where there is a residual; y = (sum − mean) / √(variance + ε)·factor + shift.
extern "C" __global__ void modulated_norm(const T *__restrict__ x, const T *__restrict__ residual,
                                          const float *__restrict__ gate, const float *__restrict__ factor,
                                          const float *__restrict__ shift, T *__restrict__ sum, T *__restrict__ y, int C,
                                          float epsilon) {
  const long long row = (long long)blockIdx.x * C;
  float values[N][V];
  float total = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    for (int i = 0; i < V; i++) values[n][i] = 0;
    if (c >= C) continue;
    Pack<V> pack = load<V>(x + row + c);
    if (residual) {
      const Pack<V> other = load<V>(residual + row + c);
      for (int i = 0; i < V; i++) pack.v[i] = narrow(wide(other.v[i]) + wide(pack.v[i]) * (gate ? gate[c + i] : 1.0f));
      store<V>(sum + row + c, pack);
    }
    for (int i = 0; i < V; i++) total += values[n][i] = wide(pack.v[i]);
  }
  const float mean = sum_of_block(total) / C;
  float variance = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    if (column(n) < C)
      for (int i = 0; i < V; i++) variance += (values[n][i] - mean) * (values[n][i] - mean);
  const float rstd = rsqrtf(sum_of_block(variance) / C + epsilon);
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    Pack<V> out;
    for (int i = 0; i < V; i++) out.v[i] = narrow((values[n][i] - mean) * rstd * factor[c + i] + shift[c + i]);
    store<V>(y + row + c, out);
  }
}

// x is the norm's input (the sum, where there was a residual), dsum the gradient that reaches it otherwise, or null. dresidual is
// the gradient of the sum, and dx, where there is a gate, that times the gate.
extern "C" __global__ void modulated_norm_backward(const T *__restrict__ x, const float *__restrict__ gate,
                                                   const float *__restrict__ factor, const T *__restrict__ dy,
                                                   const T *__restrict__ dsum, T *__restrict__ dresidual,
                                                   T *__restrict__ dx, int C, float epsilon) {
  const long long row = (long long)blockIdx.x * C;
  float values[N][V], gradients[N][V];
  float total = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    for (int i = 0; i < V; i++) values[n][i] = gradients[n][i] = 0;
    if (c >= C) continue;
    const Pack<V> in = load<V>(x + row + c), grad = load<V>(dy + row + c);
    for (int i = 0; i < V; i++) {
      total += values[n][i] = wide(in.v[i]);
      gradients[n][i] = wide(grad.v[i]) * factor[c + i];
    }
  }
  const float mean = sum_of_block(total) / C;
  float variance = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    if (column(n) < C)
      for (int i = 0; i < V; i++) variance += (values[n][i] - mean) * (values[n][i] - mean);
  const float rstd = rsqrtf(sum_of_block(variance) / C + epsilon);
  float sum = 0, product = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    for (int i = 0; i < V; i++) {
      values[n][i] = (values[n][i] - mean) * rstd;
      sum += gradients[n][i];
      product += gradients[n][i] * values[n][i];
    }
  sum = sum_of_block(sum) / C;
  product = sum_of_block(product) / C;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    Pack<V> rest, out;
    if (dsum) rest = load<V>(dsum + row + c);
    for (int i = 0; i < V; i++) {
      float gradient = rstd * (gradients[n][i] - sum - values[n][i] * product);
      if (dsum) gradient += wide(rest.v[i]);
      rest.v[i] = narrow(gradient);
      if (gate) out.v[i] = narrow(gradient * gate[c + i]);
    }
    store<V>(dresidual + row + c, rest);
    if (gate) store<V>(dx + row + c, out);
  }
}

// y = x / √(mean of x² + ε)·weight, and turned: of each head's D features, pairs of neighbours by an angle of the row whose
// cosines and sines are [rows, D / 2]. Both are null where nothing turns.
extern "C" __global__ void rms_norm(const T *__restrict__ x, const T *__restrict__ weight, const float *__restrict__ cosines,
                                    const float *__restrict__ sines, T *__restrict__ y, int C, int D, float epsilon) {
  const long long row = (long long)blockIdx.x * C, turn = (long long)blockIdx.x * (D / 2);
  float values[N][V];
  float total = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    const Pack<V> in = load<V>(x + row + c);
    for (int i = 0; i < V; i++) {
      values[n][i] = wide(in.v[i]);
      total += values[n][i] * values[n][i];
    }
  }
  const float factor = rsqrtf(sum_of_block(total) / C + epsilon);
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    const Pack<V> w = load<V>(weight + c);
    for (int i = 0; i < V; i++) values[n][i] *= factor * wide(w.v[i]);
    if (cosines)
      for (int i = 0; i + 1 < V; i += 2) {
        const long long k = turn + (c + i) % D / 2;
        const float a = values[n][i], b = values[n][i + 1];
        values[n][i] = a * cosines[k] - b * sines[k];
        values[n][i + 1] = a * sines[k] + b * cosines[k];
      }
    Pack<V> out;
    for (int i = 0; i < V; i++) out.v[i] = narrow(values[n][i]);
    store<V>(y + row + c, out);
  }
}

extern "C" __global__ void rms_norm_backward(const T *__restrict__ x, const T *__restrict__ weight,
                                             const float *__restrict__ cosines, const float *__restrict__ sines,
                                             const T *__restrict__ dy, T *__restrict__ dx, int C, int D, float epsilon) {
  const long long row = (long long)blockIdx.x * C, turn = (long long)blockIdx.x * (D / 2);
  float values[N][V], gradients[N][V];
  float total = 0, product = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    const Pack<V> in = load<V>(x + row + c), grad = load<V>(dy + row + c), w = load<V>(weight + c);
    for (int i = 0; i < V; i++) {
      values[n][i] = wide(in.v[i]);
      gradients[n][i] = wide(grad.v[i]);
    }
    if (cosines)
      for (int i = 0; i + 1 < V; i += 2) {
        const long long k = turn + (c + i) % D / 2;
        const float a = gradients[n][i], b = gradients[n][i + 1];
        gradients[n][i] = a * cosines[k] + b * sines[k];
        gradients[n][i + 1] = b * cosines[k] - a * sines[k];
      }
    for (int i = 0; i < V; i++) {
      gradients[n][i] *= wide(w.v[i]);
      total += values[n][i] * values[n][i];
      product += gradients[n][i] * values[n][i];
    }
  }
  const float factor = rsqrtf(sum_of_block(total) / C + epsilon);
  const float along = sum_of_block(product) / C * factor * factor * factor;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    Pack<V> out;
    for (int i = 0; i < V; i++) out.v[i] = narrow(factor * gradients[n][i] - along * values[n][i]);
    store<V>(dx + row + c, out);
  }
}

// y = x·gate + residual, which may be null.
extern "C" __global__ void gated_add(const T *__restrict__ x, const float *__restrict__ gate, const T *__restrict__ residual,
                                     T *__restrict__ y, int C) {
  const long long row = (long long)blockIdx.x * C;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = column(n);
    if (c >= C) continue;
    Pack<V> pack = load<V>(x + row + c), rest;
    if (residual) rest = load<V>(residual + row + c);
    for (int i = 0; i < V; i++)
      pack.v[i] = narrow(wide(pack.v[i]) * gate[c + i] + (residual ? wide(rest.v[i]) : 0.0f));
    store<V>(y + row + c, pack);
  }
}
