// SwitchBack's product for few rows: quantization and product in one launch, for SM 9.0a.
//
// x (M x K, M up to TOKENS) times int8 W (N x K) transposed, rescaled, plus a bias: C (M x N). With so
// few rows W's bytes are what takes time, and the launches. A cluster of SPLIT blocks makes WIDE = 64
// columns of C: each block copies its part of W's depth to shared memory at once (TMA), meanwhile
// reads its part of x, tells the others the rows' largest magnitudes there, and quantizes its part
// into shared memory as wgmma wants it. W is the left operand: it has the 64 rows that a wgmma takes,
// x is the right one with as few as 8. The int32 sums are added up over the cluster, each block
// a share of them, rescaled and written.
//
// NVRTC's command line sets TOKENS (8, 16, 32 or 64), STEPS (of 128 in depth, a block), SPLIT, and IN,
// OUT and BIAS as for the other kernels. _switchback_pieces.cu is before this, and before that
// multiply() for TOKENS columns.

constexpr int WIDE = 64, BK = 128, THREADS = 256;
constexpr int W_BYTES = WIDE * BK, X_BYTES = TOKENS * BK;    // of a step
constexpr int OWN = TOKENS / 8;                              // rows of x that a warp reads
constexpr int UNITS = (STEPS * BK / 8 + 31) / 32;            // 16 bytes each that a lane reads of a row
constexpr int PITCH = WIDE + 4;                              // ints: other banks for the next rows

// Shared memory: W, x as int8, sums of both groups, largest magnitudes by block, scales, barriers.
struct Room {
  u32 base;

  __device__ u32 w(int step) const { return base + step * W_BYTES; }
  __device__ u32 x(int step) const { return w(STEPS) + step * X_BYTES; }
  __device__ u32 sums(int group) const { return x(STEPS) + group * TOKENS * PITCH * 4; }
  __device__ u32 largest(int block) const { return sums(2) + block * TOKENS * 4; }
  __device__ u32 scale(int row) const { return largest(SPLIT) + row * 4; }
  __device__ u32 full(int step) const { return scale(TOKENS) + step * 8; }
};

// All blocks of the cluster. TELL: what each wrote before, all see after; else they only have come
// there, and the loads before it are not waited for.
template <bool TELL>
__device__ __forceinline__ void all_together() {
  if (SPLIT == 1) {
    __syncthreads();
    return;
  }
  __syncwarp();
  if (TELL) asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  else asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// This block's part of a warp's rows: all of it is on its way before any is looked at.
__device__ __forceinline__ void read_x(u32 (&v)[OWN][UNITS][4], const char* x, long long pitch, int first,
                                       int warp, int lane, int M, int K) {
#pragma unroll
  for (int i = 0; i < OWN; i++)
#pragma unroll
    for (int j = 0; j < UNITS; j++) {
      const int row = warp + 8 * i, unit = lane + 32 * j, k = first + unit * 8;
      v[i][j][0] = v[i][j][1] = v[i][j][2] = v[i][j][3] = 0;
      if (row < M && unit < STEPS * BK / 8 && k < K)
        asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v[i][j][0]), "=r"(v[i][j][1]), "=r"(v[i][j][2]), "=r"(v[i][j][3])
                     : "l"(x + row * pitch + k * 2ll));
    }
}

// The largest magnitudes in this block's part, told to every block of the cluster.
__device__ __forceinline__ void tell_largest(const Room& room, const u32 (&v)[OWN][UNITS][4], int rank,
                                             int warp, int lane) {
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    u32 most = 0;
#pragma unroll
    for (int j = 0; j < UNITS * 4; j++) most = larger_halves(most, v[i][j / 4][j % 4] & 0x7FFF7FFF);
    u32 bits = max(most & 0xFFFF, most >> 16);
    asm volatile("redux.sync.max.u32 %0, %0, 0xFFFFFFFF;" : "+r"(bits));
    if (lane < SPLIT)
      asm volatile("st.shared::cluster.u32 [%0], %1;"
                   :: "r"(in_block(room.largest(rank) + (warp + 8 * i) * 4, lane)), "r"(bits) : "memory");
  }
}

// Puts this block's part into shared memory as int8, each row of 128 in chunks of 16 that are swizzled.
__device__ __forceinline__ void put_quantized(const Room& room, const u32 (&v)[OWN][UNITS][4], float steps,
                                              int warp, int lane) {
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int row = warp + 8 * i;
    u32 bits = 0;
#pragma unroll
    for (int block = 0; block < SPLIT; block++) {
      u32 theirs;
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(theirs) : "r"(room.largest(block) + row * 4));
      bits = max(bits, theirs);
    }
    const float absmax = magnitude(bits);
    const float inverse = divided(127.f, fmaxf(absmax, 1e-36f));  // a row of zeros stays one
    if (lane == 0)
      asm volatile("st.shared.f32 [%0], %1;"
                   :: "r"(room.scale(row)), "f"(divided(absmax, steps)) : "memory");
#pragma unroll
    for (int j = 0; j < UNITS; j++) {
      const int unit = lane + 32 * j, chunk = unit / 2 % 8;
      if (unit < STEPS * BK / 8)
        asm volatile("st.shared.v2.b32 [%0], {%1, %2};"
                     :: "r"(room.x(unit / 16) + row * BK + ((chunk ^ (row & 7)) << 4) + unit % 2 * 8),
                        "r"(four_bytes(v[i][j][0], v[i][j][1], inverse)),
                        "r"(four_bytes(v[i][j][2], v[i][j][3], inverse)) : "memory");
    }
  }
}

// Every other step is a group's: its sums, one int a feature and row of x.
__device__ __forceinline__ void add_up(const Room& room, int group, int thread) {
  int d[TOKENS / 2] = {};  // or the compilers of CUDA 12 wait for each multiplication before the next
  // A group without a step of its own multiplies the first one too, which then does not count.
  const int steps = max((STEPS + 1 - group) / 2, 1);
  for (int k = 0; k < steps; k++) {
    const int step = group < STEPS ? group + 2 * k : 0;
    wait(room.full(step), 0);
    const u64 a = descriptor(room.w(step)), b = descriptor(room.x(step));
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int part = 0; part < 4; part++) multiply(d, a + part * 2, b + part * 2, k | part);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    if (k > 0) asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  const int feature = thread / 32 * 16 + thread % 32 / 4;
#pragma unroll
  for (int i = 0; i < TOKENS / 2; i++) {
    const int row = i / 4 * 8 + thread % 4 * 2 + i % 2;
    asm volatile("st.shared.u32 [%0], %1;"
                 :: "r"(room.sums(group) + (row * PITCH + feature + i % 4 / 2 * 8) * 4),
                    "r"(group < STEPS ? d[i] : 0) : "memory");
  }
}

// A block's share of the results, four features at a time: adds up, rescales, writes.
struct Share {
  int first, end, feature, column;  // of this thread: each next one is THREADS further
  float scale[4], plus[4];

  __device__ Share(const float* scale_w, int step_w, const void* bias, int rank, int left, int M, int N) {
    const int all = M * (WIDE / 4), share = (all + SPLIT - 1) / SPLIT;
    first = rank * share + threadIdx.x, end = min(all, (rank + 1) * share);
    feature = first % (WIDE / 4) * 4, column = left + feature;
#pragma unroll
    for (int j = 0; j < 4; j++) {  // early: they may have to come from far away
      scale[j] = column < N ? scale_w[(column + j) * step_w] : 0.f;
      plus[j] = column < N ? bias_of(bias, column + j) : 0.f;
    }
  }
  __device__ __forceinline__ void write(const Room& room, void* c, int N) const {
    for (int i = first; i < end && column < N; i += THREADS) {
      const int row = i / (WIDE / 4);
      int sum[4] = {0, 0, 0, 0};
#pragma unroll
      for (int part = 0; part < SPLIT * 2; part++) {
        int v[4];
        asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                     : "r"(in_block(room.sums(part % 2) + (row * PITCH + feature) * 4, part / 2)));
#pragma unroll
        for (int j = 0; j < 4; j++) sum[j] += v[j];
      }
      float own, y[4];
      asm volatile("ld.shared.f32 %0, [%1];" : "=f"(own) : "r"(room.scale(row)));
#pragma unroll
      for (int j = 0; j < 4; j++) y[j] = (float)sum[j] * own * scale[j] + plus[j];
      *(uint2*)((u16*)c + (long long)row * N + column) =
          make_uint2(rounded(y[0], y[1]), rounded(y[2], y[3]));
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) __cluster_dims__(SPLIT, 1, 1)
product(const __grid_constant__ TensorMap map_w, const char* x, long long pitch, float steps, void* c,
        const float* scale_w, const void* bias, int M, int N, int K, int step_w) {
  extern __shared__ __align__(1024) char shared[];
  const Room room = {(u32)__cvta_generic_to_shared(shared)};
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int rank = blockIdx.x % SPLIT, left = blockIdx.x / SPLIT * WIDE, first = rank * STEPS * BK;
  if (threadIdx.x == 0) {
    for (int s = 0; s < STEPS; s++)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(room.full(s)));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    // Harmless even where W is still being written.
    for (int s = 0; s < STEPS; s++)
      asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];"
                   :: "l"(&map_w), "r"(first + s * BK), "r"(left) : "memory");
  }
  // Launched before its predecessor ended: from here on what that one wrote is there.
  asm volatile("griddepcontrol.wait;" ::: "memory");
  if (threadIdx.x == 0)
    for (int s = 0; s < STEPS; s++) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                   :: "r"(room.full(s)), "n"(W_BYTES) : "memory");
      asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                   " [%0], [%1, {%2, %3}], [%4];"
                   :: "r"(room.w(s)), "l"(&map_w), "r"(first + s * BK), "r"(left), "r"(room.full(s))
                   : "memory");
    }
  __syncwarp();
  u32 v[OWN][UNITS][4];
  read_x(v, x, pitch, first, warp, lane, M, K);
  const Share share(scale_w, step_w, bias, rank, left, M, N);
  all_together<false>();  // the other blocks run: their shared memory may be written
  tell_largest(room, v, rank, warp, lane);
  all_together<true>();
  put_quantized(room, v, steps, warp, lane);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  add_up(room, threadIdx.x / 128, threadIdx.x % 128);
  all_together<true>();
  share.write(room, c, N);
  all_together<false>();  // nobody leaves before the others have read its sums
}
