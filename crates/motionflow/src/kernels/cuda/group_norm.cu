// Group norm over rows of channels, with an optional shift of the input by channel and an optional SiLU after.
//
// A set is what is normalised together: the rows of one frame, or of all frames of a video, which lie one after
// another. Threads: x over packs of V = WIDTH channels, y ("lanes") over rows. Grid: x over chunks of a set's rows, y
// over sets. All sums are taken in a fixed order, so that the same input gives the same bits.

constexpr int V = WIDTH;

// Sums by channel in shared memory [2][lanes][C] -> sums by group [sets][chunks][G][2]. The last block of a set to get
// here makes two figures [sets][G][2] of all of them: with ε < 0 both means, else the mean, and 1/√(variance + ε) where
// the second sums are of squares. `arrived` [sets] begins and ends as zeros.
__device__ void finish(float *shared, float *partial, float *figures, unsigned *arrived, int C, int G, double count,
                       float epsilon) {
  const int lanes = blockDim.y, threads = blockDim.x * blockDim.y;
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  float *first = shared, *second = shared + lanes * C;
  __syncthreads();
  for (int c = thread; c < C; c += threads) {
    for (int lane = 1; lane < lanes; lane++) {
      first[c] += first[lane * C + c];
      second[c] += second[lane * C + c];
    }
  }
  __syncthreads();
  const int size = C / G;
  for (int g = thread; g < G; g += threads) {
    float a = 0, b = 0;
    for (int c = g * size; c < (g + 1) * size; c++) {
      a += first[c];
      b += second[c];
    }
    float *out = partial + (((long long)blockIdx.y * gridDim.x + blockIdx.x) * G + g) * 2;
    out[0] = a;
    out[1] = b;
  }
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (thread == 0) is_last = atomicInc(arrived + blockIdx.y, gridDim.x - 1) == gridDim.x - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  // Each thread adds two groups' figures of every `rows`-th chunk, so that many loads are under way at once.
  const int columns = (G + 1) / 2, rows = max(1, threads / columns);
  double *sums = reinterpret_cast<double *>(shared);
  const float *in = partial + (long long)blockIdx.y * gridDim.x * G * 2;
  for (int k = thread; k < rows * columns; k += threads) {
    const int g = k % columns * 2;
    double sum[4] = {};
#pragma unroll 8
    for (int chunk = k / columns; chunk < gridDim.x; chunk += rows) {
      for (int i = 0; i < 4; i++)
        if (i < 2 || g + 1 < G) sum[i] += __ldcg(in + (chunk * G + g) * 2 + i);
    }
    for (int i = 0; i < 4; i++) sums[k * 4 + i] = sum[i];
  }
  __syncthreads();
  for (int g = thread; g < G; g += threads) {
    double a = 0, b = 0;
    for (int row = 0; row < rows; row++) {
      const double *sum = sums + (row * columns + g / 2) * 4 + g % 2 * 2;
      a += sum[0];
      b += sum[1];
    }
    a /= count;
    b /= count;
    float *out = figures + ((long long)blockIdx.y * G + g) * 2;
    out[0] = (float)a;
    out[1] = epsilon < 0 ? (float)b : (float)(1.0 / sqrt(max(b - a * a, 0.0) + (double)epsilon));
  }
}

extern "C" __global__ void __launch_bounds__(512) group_norm_sums(const T *__restrict__ x, const T *__restrict__ shift,
                                           float *__restrict__ partial, float *__restrict__ stats,
                                           unsigned *__restrict__ arrived, double count, float epsilon, int C, int G,
                                           long long rows, int rows_per_chunk) {
  extern __shared__ __align__(16) float shared[];
  const int lanes = blockDim.y;
  const long long first = (long long)blockIdx.x * rows_per_chunk, end = min(first + rows_per_chunk, rows);
  x += blockIdx.y * rows * C;
  for (int c = threadIdx.x * V; c < C; c += blockDim.x * V) {
    float sum[V] = {}, square[V] = {}, moved[V] = {};
    if (shift)
      for (int i = 0; i < V; i++) moved[i] = wide(shift[c + i]);
#pragma unroll 4
    for (long long row = first + threadIdx.y; row < end; row += lanes) {
      const Pack<V> pack = load<V>(x + row * C + c);
      for (int i = 0; i < V; i++) {
        const float value = wide(pack.v[i]) + moved[i];
        sum[i] += value;
        square[i] += value * value;
      }
    }
    for (int i = 0; i < V; i++) {
      shared[threadIdx.y * C + c + i] = sum[i];
      shared[(lanes + threadIdx.y) * C + c + i] = square[i];
    }
  }
  finish(shared, partial, stats, arrived, C, G, count, epsilon);
}

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

extern "C" __global__ void __launch_bounds__(512) group_norm_apply(const T *__restrict__ x, const T *__restrict__ shift,
                                            const float *__restrict__ stats, const T *__restrict__ weight,
                                            const T *__restrict__ bias, T *__restrict__ y, int C, int G, long long rows,
                                            int rows_per_chunk, int frames, int places, int silu, int to_places_first) {
  extern __shared__ __align__(16) float shared[];
  float *scale = shared, *offset = shared + C;
  const int lanes = blockDim.y, threads = blockDim.x * blockDim.y, size = C / G;
  for (int c = threadIdx.y * blockDim.x + threadIdx.x; c < C; c += threads) {
    const float *stat = stats + ((long long)blockIdx.y * G + c / size) * 2;
    scale[c] = stat[1] * wide(weight[c]);
    offset[c] = wide(bias[c]) + ((shift ? wide(shift[c]) : 0.0f) - stat[0]) * scale[c];
  }
  __syncthreads();
  const long long first = (long long)blockIdx.x * rows_per_chunk, end = min(first + rows_per_chunk, rows);
  const long long before = blockIdx.y * rows;
  for (int c = threadIdx.x * V; c < C; c += blockDim.x * V) {
    float a[V], b[V];
    for (int i = 0; i < V; i++) {
      a[i] = scale[c + i];
      b[i] = offset[c + i];
    }
#pragma unroll 4
    for (long long row = first + threadIdx.y; row < end; row += lanes) {
      Pack<V> pack = load<V>(x + (before + row) * C + c);
      for (int i = 0; i < V; i++) {
        float value = wide(pack.v[i]) * a[i] + b[i];
        if (silu) value *= sigmoid(value);
        pack.v[i] = narrow(value);
      }
      const long long to = to_places_first ? places_first(before + row, frames, places) : before + row;
      store<V>(y + to * C + c, pack);
    }
  }
}

// What the gradient of a group needs: x̂ and the gradient with respect to x̂.
struct Backward {
  float mean[V], rstd[V], weight[V], bias[V], moved[V];

  __device__ Backward(const T *shift, const float *stats, const T *weights, const T *biases, int c, int size) {
    for (int i = 0; i < V; i++) {
      const float *stat = stats + (c + i) / size * 2;
      mean[i] = stat[0];
      rstd[i] = stat[1];
      weight[i] = wide(weights[c + i]);
      bias[i] = wide(biases[c + i]);
      moved[i] = shift ? wide(shift[c + i]) : 0.0f;
    }
  }

  __device__ __forceinline__ void at(int i, T x, T dy, int silu, float &normed, float &gradient) const {
    normed = (wide(x) + moved[i] - mean[i]) * rstd[i];
    gradient = wide(dy);
    if (silu) {
      const float z = normed * weight[i] + bias[i], s = sigmoid(z);
      gradient *= s * (1.0f + z * (1.0f - s));
    }
    gradient *= weight[i];
  }
};

extern "C" __global__ void __launch_bounds__(512) group_norm_backward_sums(const T *__restrict__ x, const T *__restrict__ shift,
                                                    const float *__restrict__ stats, const T *__restrict__ weight,
                                                    const T *__restrict__ bias, const T *__restrict__ dy,
                                                    float *__restrict__ partial, float *__restrict__ means,
                                                    unsigned *__restrict__ arrived, double count, float epsilon, int C,
                                                    int G, long long rows, int rows_per_chunk, int frames, int places,
                                                    int silu, int from_places_first) {
  extern __shared__ __align__(16) float shared[];
  const int lanes = blockDim.y;
  const long long first = (long long)blockIdx.x * rows_per_chunk, end = min(first + rows_per_chunk, rows);
  const long long before = blockIdx.y * rows;
  for (int c = threadIdx.x * V; c < C; c += blockDim.x * V) {
    const Backward backward(shift, stats + (long long)blockIdx.y * G * 2, weight, bias, c, C / G);
    float sum[V] = {}, product[V] = {};
#pragma unroll 2
    for (long long row = first + threadIdx.y; row < end; row += lanes) {
      const long long from = from_places_first ? places_first(before + row, frames, places) : before + row;
      const Pack<V> in = load<V>(x + (before + row) * C + c), grad = load<V>(dy + from * C + c);
      for (int i = 0; i < V; i++) {
        float normed, gradient;
        backward.at(i, in.v[i], grad.v[i], silu, normed, gradient);
        sum[i] += gradient;
        product[i] += gradient * normed;
      }
    }
    for (int i = 0; i < V; i++) {
      shared[threadIdx.y * C + c + i] = sum[i];
      shared[(lanes + threadIdx.y) * C + c + i] = product[i];
    }
  }
  finish(shared, partial, means, arrived, C, G, count, epsilon);
}

extern "C" __global__ void __launch_bounds__(512) group_norm_backward_apply(const T *__restrict__ x, const T *__restrict__ shift,
                                                     const float *__restrict__ stats, const T *__restrict__ weight,
                                                     const T *__restrict__ bias, const T *__restrict__ dy,
                                                     const float *__restrict__ means, T *__restrict__ dx, int C, int G,
                                                     long long rows, int rows_per_chunk, int frames, int places,
                                                     int silu, int from_places_first) {
  const int lanes = blockDim.y;
  const long long first = (long long)blockIdx.x * rows_per_chunk, end = min(first + rows_per_chunk, rows);
  const long long before = blockIdx.y * rows;
  for (int c = threadIdx.x * V; c < C; c += blockDim.x * V) {
    const Backward backward(shift, stats + (long long)blockIdx.y * G * 2, weight, bias, c, C / G);
    float mean[V], product[V];
    for (int i = 0; i < V; i++) {
      const float *in = means + ((long long)blockIdx.y * G + (c + i) / (C / G)) * 2;
      mean[i] = in[0];
      product[i] = in[1];
    }
#pragma unroll 2
    for (long long row = first + threadIdx.y; row < end; row += lanes) {
      const long long from = from_places_first ? places_first(before + row, frames, places) : before + row;
      const Pack<V> in = load<V>(x + (before + row) * C + c), grad = load<V>(dy + from * C + c);
      Pack<V> out;
      for (int i = 0; i < V; i++) {
        float normed, gradient;
        backward.at(i, in.v[i], grad.v[i], silu, normed, gradient);
        out.v[i] = narrow(backward.rstd[i] * (gradient - mean[i] - normed * product[i]));
      }
      store<V>(dx + (before + row) * C + c, out);
    }
  }
}
