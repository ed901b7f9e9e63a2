// Layer norm over the last dimension, one warp a row, with an optional residual that is added before and positions that are added after. N = WIDTH packs
// of two elements a lane, so rows of up to 64·N elements.

constexpr int N = WIDTH;

extern "C" __global__ void __launch_bounds__(256) layer_norm(const T *__restrict__ x, const T *__restrict__ residual,
                                      const T *__restrict__ weight, const T *__restrict__ bias,
                                      const T *__restrict__ positions, T *__restrict__ sum, T *__restrict__ y,
                                      long long rows, int C, int tokens, float epsilon) {
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  float values[N][2];
  float total = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = (n * 32 + threadIdx.x) * 2;
    values[n][0] = values[n][1] = 0;
    if (c < C) {
      Pack<2> pack = load<2>(x + row * C + c);
      if (residual) {
        const Pack<2> other = load<2>(residual + row * C + c);
        for (int i = 0; i < 2; i++) pack.v[i] = narrow(wide(pack.v[i]) + wide(other.v[i]));
        store<2>(sum + row * C + c, pack);
      }
      for (int i = 0; i < 2; i++) {
        values[n][i] = wide(pack.v[i]);
        total += values[n][i];
      }
    }
  }
  const float mean = sum_of_warp(total) / C;
  float variance = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    if ((n * 32 + threadIdx.x) * 2 < C)
      for (int i = 0; i < 2; i++) variance += (values[n][i] - mean) * (values[n][i] - mean);
  const float rstd = rsqrtf(sum_of_warp(variance) / C + epsilon);
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = (n * 32 + threadIdx.x) * 2;
    if (c < C) {
      const Pack<2> w = load<2>(weight + c), b = load<2>(bias + c);
      Pack<2> out;
      for (int i = 0; i < 2; i++) out.v[i] = narrow((values[n][i] - mean) * rstd * wide(w.v[i]) + wide(b.v[i]));
      if (positions) {
        const Pack<2> position = load<2>(positions + row % tokens * C + c);
        for (int i = 0; i < 2; i++) out.v[i] = narrow(wide(out.v[i]) + wide(position.v[i]));
      }
      store<2>(y + row * C + c, out);
    }
  }
}

// x is the norm's input (the sum, where there was a residual); dsum the gradient that reaches it otherwise, or null.
extern "C" __global__ void __launch_bounds__(256) layer_norm_backward(const T *__restrict__ x, const T *__restrict__ weight,
                                               const T *__restrict__ dy, const T *__restrict__ dsum, T *__restrict__ dx,
                                               long long rows, int C, float epsilon) {
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  float values[N][2], gradients[N][2];
  float total = 0;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = (n * 32 + threadIdx.x) * 2;
    for (int i = 0; i < 2; i++) values[n][i] = gradients[n][i] = 0;
    if (c < C) {
      const Pack<2> in = load<2>(x + row * C + c), grad = load<2>(dy + row * C + c), w = load<2>(weight + c);
      for (int i = 0; i < 2; i++) {
        values[n][i] = wide(in.v[i]);
        gradients[n][i] = wide(grad.v[i]) * wide(w.v[i]);
        total += values[n][i];
      }
    }
  }
  const float mean = sum_of_warp(total) / C;
  float variance = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    if ((n * 32 + threadIdx.x) * 2 < C)
      for (int i = 0; i < 2; i++) variance += (values[n][i] - mean) * (values[n][i] - mean);
  const float rstd = rsqrtf(sum_of_warp(variance) / C + epsilon);
  float sum = 0, product = 0;
#pragma unroll
  for (int n = 0; n < N; n++)
    for (int i = 0; i < 2; i++) {
      values[n][i] = (values[n][i] - mean) * rstd;
      sum += gradients[n][i];
      product += gradients[n][i] * values[n][i];
    }
  sum = sum_of_warp(sum) / C;
  product = sum_of_warp(product) / C;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = (n * 32 + threadIdx.x) * 2;
    if (c < C) {
      Pack<2> out;
      for (int i = 0; i < 2; i++) {
        float gradient = rstd * (gradients[n][i] - sum - values[n][i] * product);
        if (dsum) gradient += wide(dsum[row * C + c + i]);
        out.v[i] = narrow(gradient);
      }
      store<2>(dx + row * C + c, out);
    }
  }
}
