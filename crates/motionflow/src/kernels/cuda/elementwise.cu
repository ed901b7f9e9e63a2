// Sums by row with a bias by channel, in another order of rows if need be, the gated GELU, and enlargement. V = WIDTH
// elements are moved at once.

constexpr int V = WIDTH;

// y[row] = x[row] + bias + residual[row]. ORDER 1: x lies (video, place, frame). ORDER 2: y does; then no residual.
extern "C" __global__ void __launch_bounds__(512) add(const T *__restrict__ x, const T *__restrict__ bias,
                                                      const T *__restrict__ residual,
                               T *__restrict__ y, long long rows, int C, int frames, int places, int order) {
  for (int c = threadIdx.x * V; c < C; c += blockDim.x * V) {
    float moved[V] = {};
    if (bias)
      for (int i = 0; i < V; i++) moved[i] = wide(bias[c + i]);
#pragma unroll 2
    for (long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y; row < rows;
         row += (long long)gridDim.x * blockDim.y) {
      const long long other = order ? places_first(row, frames, places) : row;
      Pack<V> pack = load<V>(x + (order == 1 ? other : row) * C + c);
      if (residual) {
        const Pack<V> rest = load<V>(residual + row * C + c);
        for (int i = 0; i < V; i++) pack.v[i] = narrow(wide(pack.v[i]) + moved[i] + wide(rest.v[i]));
      } else if (bias) {
        for (int i = 0; i < V; i++) pack.v[i] = narrow(wide(pack.v[i]) + moved[i]);
      }
      store<V>(y + (order == 2 ? other : row) * C + c, pack);
    }
  }
}

__device__ __forceinline__ float normal_cdf(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }

// [rows, 2·I] -> [rows, I]: the first half times GELU of the second.
extern "C" __global__ void __launch_bounds__(256) geglu(const T *__restrict__ x, T *__restrict__ y,
                                                        long long packs, int I) {
  const int columns = I / V;
  for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < packs;
       k += (long long)gridDim.x * blockDim.x) {
    const long long row = k / columns;
    const int c = (int)(k - row * columns) * V;
    Pack<V> value = load<V>(x + row * 2 * I + c);
    const Pack<V> gate = load<V>(x + row * 2 * I + I + c);
    for (int i = 0; i < V; i++) {
      const float g = wide(gate.v[i]);
      value.v[i] = narrow(wide(value.v[i]) * g * normal_cdf(g));
    }
    store<V>(y + row * I + c, value);
  }
}

extern "C" __global__ void __launch_bounds__(256) geglu_backward(const T *__restrict__ x,
                                                                 const T *__restrict__ dy, T *__restrict__ dx,
                                          long long packs, int I) {
  const int columns = I / V;
  for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < packs;
       k += (long long)gridDim.x * blockDim.x) {
    const long long row = k / columns;
    const int c = (int)(k - row * columns) * V;
    const Pack<V> value = load<V>(x + row * 2 * I + c), gate = load<V>(x + row * 2 * I + I + c);
    const Pack<V> grad = load<V>(dy + row * I + c);
    Pack<V> dvalue, dgate;
    for (int i = 0; i < V; i++) {
      const float g = wide(gate.v[i]), d = wide(grad.v[i]), cdf = normal_cdf(g);
      dvalue.v[i] = narrow(d * g * cdf);
      dgate.v[i] = narrow(d * wide(value.v[i]) * (cdf + g * 0.39894228f * __expf(-0.5f * g * g)));
    }
    store<V>(dx + row * 2 * I + c, dvalue);
    store<V>(dx + row * 2 * I + I + c, dgate);
  }
}

// Nearest neighbour, [images, height, width, C] -> [images, to_height, to_width, C].
extern "C" __global__ void __launch_bounds__(256) enlarge(const T *__restrict__ x, T *__restrict__ y, long long packs, int C, int height,
                                   int width, int to_height, int to_width) {
  const int columns = C / V;
  for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < packs;
       k += (long long)gridDim.x * blockDim.x) {
    const long long place = k / columns, line = place / to_width, image = line / to_height;
    const int c = (int)(k - place * columns) * V;
    const int i = min((int)((line - image * to_height) * ((float)height / to_height)), height - 1);
    const int j = min((int)((place - line * to_width) * ((float)width / to_width)), width - 1);
    store<V>(y + place * C + c, load<V>(x + ((image * height + i) * width + j) * C + c));
  }
}
