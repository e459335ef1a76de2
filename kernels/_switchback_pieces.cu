// What SwitchBack's kernels for SM 9.0a share: waiting, descriptions of tiles, 16-bit numbers, and the
// arithmetic of quantization (where IN says of what: 1 bfloat16, 2 float16). Put before each of them.

struct alignas(64) TensorMap { char opaque[128]; };

__device__ __forceinline__ void wait(u32 barrier, u32 parity) {
  u32 done;
  do {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
                 " selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  } while (!done);
}

__device__ __forceinline__ u32 in_block(u32 at, int block) {
  u32 there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(block));
  return there;
}

// For what other blocks of the cluster have written.
__device__ __forceinline__ void wait_for_cluster(u32 barrier) {
  u32 done;
  do {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;"
                 " selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(barrier) : "memory");
  } while (!done);
}

// A tile of 128-byte rows, swizzled by 128 bytes; 8 rows are 1024 bytes.
__device__ __forceinline__ u64 descriptor(u32 at) {
  return (u64)((at & 0x3FFFF) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

__device__ __forceinline__ float bias_of(const void* bias, int column) {
  if (BIAS == 0) return 0.f;
  if (BIAS == 3) return ((const float*)bias)[column];
  u16 number = ((const u16*)bias)[column];
  if (BIAS == 1) return __uint_as_float((u32)number << 16);
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(number));
  return wide;
}

__device__ __forceinline__ u32 rounded(float first, float second) {
  u32 both;
  if (OUT == 1) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
  return both;
}

#ifdef IN
// As Triton divides: ours must be the same numbers as _switchback_quantizers.py gives.
__device__ __forceinline__ float divided(float a, float b) {
  float c;
  asm("div.full.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
}

__device__ __forceinline__ u32 larger_halves(u32 a, u32 b) {
  u32 c;
  asm("max.u16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
  return c;
}

// Magnitudes of 16-bit floats are in order as integers, and a NaN is the largest: it shall not hide.
__device__ __forceinline__ float magnitude(u32 bits) {
  float number;
  if (IN == 1) number = __uint_as_float(bits << 16);
  else asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"((u16)bits));
  const float infinite = __uint_as_float(0x7F800000);
  return number < infinite ? number : infinite;
}

// Two numbers, rounded half to even, as the low bytes of two words: 1.5 * 2**23 leaves no fraction.
__device__ __forceinline__ void rounded_bytes(u32 two, float inverse, u32& first, u32& second) {
  float low, high;
  if (IN == 1) {
    low = __uint_as_float(two << 16), high = __uint_as_float(two & 0xFFFF0000);
  } else {
    asm("cvt.f32.f16 %0, %1;" : "=f"(low) : "h"((u16)two));
    asm("cvt.f32.f16 %0, %1;" : "=f"(high) : "h"((u16)(two >> 16)));
  }
  first = __float_as_uint(__fmaf_rn(low, inverse, 12582912.f));
  second = __float_as_uint(__fmaf_rn(high, inverse, 12582912.f));
}

__device__ __forceinline__ u32 four_bytes(u32 two, u32 more, float inverse) {
  u32 a, b, c, d;
  rounded_bytes(two, inverse, a, b);
  rounded_bytes(more, inverse, c, d);
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}
#endif
