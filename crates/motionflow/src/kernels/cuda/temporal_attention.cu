// softmax(Q·Kᵀ/√d)·V of many short sequences, one warp each, for d = 64 and up to WIDTH tokens; WIDTH is a multiple of
// 8 up to 32.
//
// Products are the matrix units' m16n8k16 with float32 sums; their fragments are loaded where they lie. The scores of
// 16 keys, as they come out of the first product, are the left factor of the second ("FlashAttention-2",
// https://arxiv.org/abs/2307.08691). Rows past the end are zeros, keys past the end have no weight.

#if KIND == 0
#error "the matrix units take float16 and bfloat16"
#elif KIND == 1
#define NUMBERS "f16"
#else
#define NUMBERS "bf16"
#endif

constexpr int D = 64, ROWS = (WIDTH + 15) / 16, KEYS = WIDTH / 8;

__device__ __forceinline__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NUMBERS "." NUMBERS ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
               "{%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ unsigned both(T low, T high) { return (unsigned)low | (unsigned)high << 16; }

extern "C" __global__ void temporal_attention(const T *q, const T *k, const T *v, T *y, long long sequences, int heads,
                                              int tokens, long long batch_stride, int head_stride, int token_stride,
                                              float scale) {
  const long long sequence = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  if (sequence >= sequences) return;
  const int lane = threadIdx.x, row = lane / 4, pair = lane % 4 * 2;
  const long long batch = sequence / heads;
  const int head = (int)(sequence - batch * heads);
  const long long start = batch * batch_stride + (long long)head * head_stride;
  q += start;
  k += start;
  v += start;
  const auto two = [&](const T *x, int token, int d) -> unsigned {
    return token < tokens ? *reinterpret_cast<const unsigned *>(x + (long long)token * token_stride + d) : 0u;
  };
  const auto one = [&](const T *x, int token, int d) -> T {
    return token < tokens ? x[(long long)token * token_stride + d] : (T)0;
  };

  float scores[ROWS][KEYS][4] = {};
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    unsigned a[ROWS][4];
#pragma unroll
    for (int m = 0; m < ROWS; m++) {
      a[m][0] = two(q, m * 16 + row, d + pair);
      a[m][1] = two(q, m * 16 + row + 8, d + pair);
      a[m][2] = two(q, m * 16 + row, d + pair + 8);
      a[m][3] = two(q, m * 16 + row + 8, d + pair + 8);
    }
#pragma unroll
    for (int n = 0; n < KEYS; n++) {
      const unsigned b0 = two(k, n * 8 + row, d + pair), b1 = two(k, n * 8 + row, d + pair + 8);
#pragma unroll
      for (int m = 0; m < ROWS; m++) multiply(scores[m][n], a[m], b0, b1);
    }
  }

  // Entries 0 and 1 are of one row, 2 and 3 of the one 8 below; four lanes share a row.
  float total[ROWS][2];
#pragma unroll
  for (int m = 0; m < ROWS; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float most = -1e30f;
#pragma unroll
      for (int n = 0; n < KEYS; n++)
#pragma unroll
        for (int i = 0; i < 2; i++)
          if (n * 8 + pair + i < tokens) most = fmaxf(most, scores[m][n][half * 2 + i]);
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      float sum = 0;
#pragma unroll
      for (int n = 0; n < KEYS; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float &score = scores[m][n][half * 2 + i];
          score = n * 8 + pair + i < tokens ? __expf((score - most) * scale) : 0.0f;
          sum += score;
        }
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      total[m][half] = 1.0f / sum;
    }
  }

  unsigned weights[ROWS][ROWS][4];
#pragma unroll
  for (int m = 0; m < ROWS; m++)
#pragma unroll
    for (int n = 0; n < ROWS; n++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int tile = n * 2 + part / 2, entry = part % 2 * 2;
        const float *score = scores[m][tile < KEYS ? tile : 0] + entry;
        weights[m][n][part] = tile < KEYS ? both(narrow(score[0]), narrow(score[1])) : 0u;
      }

  T *out = y + (batch * tokens * heads + head) * D;
#pragma unroll
  for (int d = 0; d < D; d += 8) {
    float sums[ROWS][4] = {};
#pragma unroll
    for (int n = 0; n < ROWS; n++) {
      const int key = n * 16 + pair;
      const unsigned b0 = both(one(v, key, d + row), one(v, key + 1, d + row));
      const unsigned b1 = both(one(v, key + 8, d + row), one(v, key + 9, d + row));
#pragma unroll
      for (int m = 0; m < ROWS; m++) multiply(sums[m], weights[m][n], b0, b1);
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int token = m * 16 + half * 8 + row;
        if (token < tokens)
          *reinterpret_cast<unsigned *>(out + (long long)token * heads * D + d + pair) =
              both(narrow(sums[m][half * 2] * total[m][half]), narrow(sums[m][half * 2 + 1] * total[m][half]));
      }
  }
}
