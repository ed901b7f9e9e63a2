// softmax(Q·Kᵀ/√d)·V of many short sequences, one warp each, and its gradient. WIDTH is the number of tokens, rounded up to a
// multiple of 8, at most 32; d is DIM, a multiple of 8. Queries, keys and values lie together, [batch, tokens, 3, heads, d].
//
// Each warp copies its tokens into shared memory, and from there into the fragments of the matrix units' m16n8k16, with
// float32 sums. What comes out of one product is the left factor of the next as it lies in the registers
// ("FlashAttention-2", https://arxiv.org/abs/2307.08691). Tokens past the end are zeros, as keys they have no weight.

#if KIND == 0
#error "the matrix units take float16 and bfloat16"
#elif KIND == 1
#define NUMBERS "f16"
#else
#define NUMBERS "bf16"
#endif

constexpr int D = DIM, ROWS = (WIDTH + 15) / 16, KEYS = WIDTH / 8;
// Tokens as they are held: up to full fragments, and apart by other than a multiple of all banks.
constexpr int HELD = ROWS * 16, HELD_D = (D + 31) / 32 * 32, PITCH = HELD_D + 8;
constexpr int WARPS_THAT_FIT = (48 << 10) / (2 * HELD * PITCH * 2), WARPS = WARPS_THAT_FIT < 4 ? WARPS_THAT_FIT : 4;

typedef T Tokens[HELD][PITCH];

// A tile of 16×8 sums: entries 0 and 1 are of one row, 2 and 3 of the one 8 below; four lanes share a row.
typedef float Tile[4];

__device__ __forceinline__ void multiply(Tile &sum, const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NUMBERS "." NUMBERS ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
               "{%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ unsigned both(float low, float high) {
  return (unsigned)narrow(low) | (unsigned)narrow(high) << 16;
}

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

// An 8×8 block of the warp's registers, rows for columns.
__device__ __forceinline__ unsigned transposed(unsigned block) {
  unsigned turned;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(turned) : "r"(block));
  return turned;
}

// The tokens of a sequence, `stride` apart.
__device__ __forceinline__ void hold(Tokens &to, const T *from, int tokens, long long stride) {
  const int lane = threadIdx.x;
#pragma unroll
  for (int token = lane / 8; token < HELD; token += 4)
#pragma unroll
    for (int d = lane % 8 * 8; d < HELD_D; d += 64) {
      Pack<8> pack = {};
      if (token < tokens && d < D) pack = load<8>(from + token * stride + d);
      store<8>(&to[token][d], pack);
    }
}

// sums[query][key] = Σ left[query][d]·right[key][d]
__device__ __forceinline__ void products(Tile (&sums)[ROWS][KEYS], const Tokens &left, const Tokens &right) {
  const int lane = threadIdx.x;
#pragma unroll
  for (int d = 0; d < HELD_D; d += 32) {
    unsigned a[ROWS][2][4];
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) blocks(a[m][half], &left[m * 16 + lane % 16][d + half * 16 + lane / 16 * 8]);
#pragma unroll
    for (int n = 0; n < KEYS; n++) {
      unsigned b[4];
      blocks(b, &right[n * 8 + lane % 8][d + lane / 8 * 8]);
#pragma unroll
      for (int m = 0; m < ROWS; m++) {
        multiply(sums[m][n], a[m][0], b[0], b[1]);
        multiply(sums[m][n], a[m][1], b[2], b[3]);
      }
    }
  }
}

// The probabilities of scores.
__device__ __forceinline__ void softmax(Tile (&scores)[ROWS][KEYS], int tokens, float scale) {
  const int pair = threadIdx.x % 4 * 2;
#pragma unroll
  for (int m = 0; m < ROWS; m++)
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
      const float total = 1.0f / sum;
#pragma unroll
      for (int n = 0; n < KEYS; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) scores[m][n][half * 2 + i] *= total;
    }
}

// Tiles as left factors.
__device__ __forceinline__ void factors(unsigned (&to)[ROWS][ROWS][4], const Tile (&tiles)[ROWS][KEYS]) {
#pragma unroll
  for (int m = 0; m < ROWS; m++)
#pragma unroll
    for (int n = 0; n < ROWS; n++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int tile = n * 2 + part / 2, entry = part % 2 * 2;
        const Tile &from = tiles[m][tile < KEYS ? tile : 0];
        to[m][n][part] = tile < KEYS ? both(from[entry], from[entry + 1]) : 0u;
      }
}

// The same, keys for queries.
__device__ __forceinline__ void turned_factors(unsigned (&to)[ROWS][ROWS][4], const Tile (&tiles)[ROWS][KEYS]) {
#pragma unroll
  for (int m = 0; m < ROWS; m++)
#pragma unroll
    for (int n = 0; n < ROWS; n++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int tile = m * 2 + part % 2, entry = part / 2 * 2;
        const Tile &from = tiles[n][tile < KEYS ? tile : 0];
        to[m][n][part] = tile < KEYS ? transposed(both(from[entry], from[entry + 1])) : 0u;
      }
}

// y[row][d] = Σ left[row][token]·right[token][d], the rows `stride` apart
__device__ __forceinline__ void mix(T *y, const unsigned (&left)[ROWS][ROWS][4], const Tokens &right, int tokens,
                                    long long stride) {
  const int lane = threadIdx.x, row = lane / 4, pair = lane % 4 * 2;
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    Tile sums[ROWS][2] = {};
#pragma unroll
    for (int n = 0; n < ROWS; n++) {
      unsigned b[4];
      blocks_transposed(b, &right[n * 16 + lane % 16][d + lane / 16 * 8]);
#pragma unroll
      for (int m = 0; m < ROWS; m++) {
        multiply(sums[m][0], left[m][n], b[0], b[1]);
        multiply(sums[m][1], left[m][n], b[2], b[3]);
      }
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int token = m * 16 + part / 2 * 8 + row, column = d + part % 2 * 8;
        const float *sum = sums[m][part % 2] + part / 2 * 2;
        if (token < tokens && column < D)
          *reinterpret_cast<unsigned *>(y + token * stride + column + pair) = both(sum[0], sum[1]);
      }
  }
}

// Where the queries of a sequence begin; its keys and values follow after `size`.
__device__ __forceinline__ long long start_of(long long sequence, int heads, int tokens, long long size) {
  const long long batch = sequence / heads;
  return batch * tokens * size * 3 + (sequence - batch * heads) * D;
}

extern "C" __global__ void temporal_attention(const T *__restrict__ qkv, T *__restrict__ y, long long sequences, int heads,
                                              int tokens, float scale) {
  __shared__ alignas(16) Tokens held[WARPS][2];
  const long long sequence = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (sequence >= sequences) return;
  const long long size = (long long)heads * D;
  qkv += start_of(sequence, heads, tokens, size);
  Tokens &first = held[threadIdx.y][0], &second = held[threadIdx.y][1];
  hold(first, qkv, tokens, 3 * size);
  hold(second, qkv + size, tokens, 3 * size);
  __syncwarp();
  Tile scores[ROWS][KEYS] = {};
  products(scores, first, second);
  __syncwarp();
  hold(first, qkv + 2 * size, tokens, 3 * size);
  softmax(scores, tokens, scale);
  unsigned weights[ROWS][ROWS][4];
  factors(weights, scores);
  __syncwarp();
  const long long batch = sequence / heads;
  mix(y + batch * tokens * size + (sequence - batch * heads) * D, weights, first, tokens, size);
}

extern "C" __global__ void temporal_attention_backward(const T *__restrict__ qkv, const T *__restrict__ dy,
                                                       T *__restrict__ dqkv, long long sequences, int heads, int tokens,
                                                       float scale) {
  __shared__ alignas(16) Tokens held[WARPS][2];
  const long long sequence = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (sequence >= sequences) return;
  const long long size = (long long)heads * D, batch = sequence / heads;
  qkv += start_of(sequence, heads, tokens, size);
  dqkv += start_of(sequence, heads, tokens, size);
  dy += batch * tokens * size + (sequence - batch * heads) * D;
  Tokens &first = held[threadIdx.y][0], &second = held[threadIdx.y][1];
  hold(first, qkv, tokens, 3 * size);
  hold(second, qkv + size, tokens, 3 * size);
  __syncwarp();
  Tile probabilities[ROWS][KEYS] = {};
  products(probabilities, first, second);
  softmax(probabilities, tokens, scale);
  __syncwarp();
  hold(first, dy, tokens, size);
  hold(second, qkv + 2 * size, tokens, 3 * size);
  __syncwarp();
  unsigned left[ROWS][ROWS][4];
  turned_factors(left, probabilities);
  mix(dqkv + 2 * size, left, first, tokens, 3 * size);
  Tile gradients[ROWS][KEYS] = {};
  products(gradients, first, second);
  // Of the scores: probability·(its gradient − their mean by the probabilities).
#pragma unroll
  for (int m = 0; m < ROWS; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float mean = 0;
#pragma unroll
      for (int n = 0; n < KEYS; n++)
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; i++) mean += probabilities[m][n][i] * gradients[m][n][i];
      mean += __shfl_xor_sync(0xffffffffu, mean, 1);
      mean += __shfl_xor_sync(0xffffffffu, mean, 2);
#pragma unroll
      for (int n = 0; n < KEYS; n++)
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; i++)
          gradients[m][n][i] = probabilities[m][n][i] * (gradients[m][n][i] - mean) * scale;
    }
  __syncwarp();
  hold(first, qkv + size, tokens, 3 * size);
  hold(second, qkv, tokens, 3 * size);
  __syncwarp();
  factors(left, gradients);
  mix(dqkv, left, first, tokens, 3 * size);
  turned_factors(left, gradients);
  mix(dqkv + size, left, second, tokens, 3 * size);
}
