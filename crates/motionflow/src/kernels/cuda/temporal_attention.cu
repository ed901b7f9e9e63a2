// softmax(Q·Kᵀ/√d)·V of many short sequences, one warp each, for d = 64 and up to WIDTH tokens; WIDTH is a multiple of
// 8 up to 32.
//
// Each warp copies its tokens into shared memory, and from there into the fragments of the matrix units' m16n8k16, with
// float32 sums. The scores of 16 keys, as they come out of the first product, are the left factor of the second
// ("FlashAttention-2", https://arxiv.org/abs/2307.08691). Tokens past the end are zeros, as keys they have no weight.

#if KIND == 0
#error "the matrix units take float16 and bfloat16"
#elif KIND == 1
#define NUMBERS "f16"
#else
#define NUMBERS "bf16"
#endif

constexpr int D = 64, ROWS = (WIDTH + 15) / 16, KEYS = WIDTH / 8, WARPS = 4;
// Tokens as they are held: up to full fragments, and apart by other than a multiple of all banks.
constexpr int HELD = ROWS * 16, PITCH = D + 8;

__device__ __forceinline__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NUMBERS "." NUMBERS ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
               "{%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ unsigned both(T low, T high) { return (unsigned)low | (unsigned)high << 16; }

// Four 8×8 blocks; lane 8·i + j gives the place of row j of block i.
__device__ __forceinline__ void blocks(unsigned (&to)[4], const T *from) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(from);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}

__device__ __forceinline__ void blocks_transposed(unsigned (&to)[4], const T *from) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(from);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}

extern "C" __global__ void temporal_attention(const T *__restrict__ q, const T *__restrict__ k,
                                              const T *__restrict__ v, T *__restrict__ y, long long sequences,
                                              int heads, int tokens, long long batch_stride, int head_stride,
                                              int token_stride, float scale) {
  const long long sequence = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  if (sequence >= sequences) return;
  const int lane = threadIdx.x, row = lane / 4, pair = lane % 4 * 2;
  const long long batch = sequence / heads;
  const int head = (int)(sequence - batch * heads);
  const long long start = batch * batch_stride + (long long)head * head_stride;
  q += start;
  k += start;
  v += start;
  __shared__ alignas(16) T held[WARPS][2][HELD][PITCH];
  T(&first)[HELD][PITCH] = held[threadIdx.y][0];
  T(&second)[HELD][PITCH] = held[threadIdx.y][1];
  const auto hold = [&](T(&to)[HELD][PITCH], const T *from) {
#pragma unroll
    for (int token = lane / 8; token < HELD; token += 4) {
      Pack<8> pack = {};
      if (token < tokens) pack = load<8>(from + (long long)token * token_stride + lane % 8 * 8);
      store<8>(&to[token][lane % 8 * 8], pack);
    }
  };
  hold(first, q);
  hold(second, k);
  __syncwarp();

  float scores[ROWS][KEYS][4] = {};
#pragma unroll
  for (int d = 0; d < D; d += 32) {
    unsigned a[ROWS][2][4];
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        blocks(a[m][half], &first[m * 16 + lane % 16][d + half * 16 + lane / 16 * 8]);
#pragma unroll
    for (int n = 0; n < KEYS; n++) {
      unsigned b[4];
      blocks(b, &second[n * 8 + lane % 8][d + lane / 8 * 8]);
#pragma unroll
      for (int m = 0; m < ROWS; m++) {
        multiply(scores[m][n], a[m][0], b[0], b[1]);
        multiply(scores[m][n], a[m][1], b[2], b[3]);
      }
    }
  }
  __syncwarp();
  hold(first, v);
  __syncwarp();

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
  for (int d = 0; d < D; d += 16) {
    float sums[ROWS][2][4] = {};
#pragma unroll
    for (int n = 0; n < ROWS; n++) {
      unsigned b[4];
      blocks_transposed(b, &first[n * 16 + lane % 16][d + lane / 16 * 8]);
#pragma unroll
      for (int m = 0; m < ROWS; m++) {
        multiply(sums[m][0], weights[m][n], b[0], b[1]);
        multiply(sums[m][1], weights[m][n], b[2], b[3]);
      }
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int token = m * 16 + part / 2 * 8 + row, half = part % 2;
        const float *sum = sums[m][half] + part / 2 * 2, scaled = total[m][part / 2];
        if (token < tokens)
          *reinterpret_cast<unsigned *>(out + (long long)token * heads * D + d + half * 8 + pair) =
              both(narrow(sum[0] * scaled), narrow(sum[1] * scaled));
      }
  }
}
