// Goes before each of the other files. KIND is 0 for float32, 1 for float16, 2 for bfloat16; what WIDTH is, each file
// says. All arithmetic is in float32. No header is needed, so that NVRTC alone can compile it.

#if KIND == 0
typedef float T;
__device__ __forceinline__ float wide(T x) { return x; }
__device__ __forceinline__ T narrow(float x) { return x; }
#elif KIND == 1
typedef unsigned short T;
__device__ __forceinline__ float wide(T x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ __forceinline__ T narrow(float x) {
  T y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
#else
typedef unsigned short T;
__device__ __forceinline__ float wide(T x) { return __uint_as_float((unsigned)x << 16); }
__device__ __forceinline__ T narrow(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fc0;
  return (T)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#endif

// Elements that are moved at once.
template <int V> struct alignas(sizeof(T) * V) Pack { T v[V]; };

template <int V> __device__ __forceinline__ Pack<V> load(const T *x) { return *reinterpret_cast<const Pack<V> *>(x); }
template <int V> __device__ __forceinline__ void store(T *x, Pack<V> pack) { *reinterpret_cast<Pack<V> *>(x) = pack; }

template <typename Number> __device__ __forceinline__ Number sum_of_warp(Number x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// Rows are stored (video, frame, place). The same row in the order (video, place, frame).
__device__ __forceinline__ long long places_first(long long row, int frames, int places) {
  const long long video = row / ((long long)frames * places);
  const int rest = (int)(row - video * frames * places);
  const int frame = rest / places, place = rest - frame * places;
  return (video * places + place) * frames + frame;
}
