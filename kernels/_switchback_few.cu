// SwitchBack's product for few rows: quantization and product in one launch, for SM 9.0.
//
// x (M x K, M up to TOKENS) times int8 W (N x K) transposed, rescaled, plus a bias: C (M x N). With so
// few rows W's bytes are what takes time, and the launch. A cluster of SPLIT blocks, which share the
// depth, makes a run of tiles of HIGH columns of C; there are as many clusters as the GPU holds at once.
// One thread copies W's rows, long stretches of them, to a ring of stages that takes up shared memory: it
// begins at once, and does not stop between tiles. Meanwhile the other warps read x, each what it will
// multiply and no more, tell one another the rows' largest magnitudes, and quantize in their registers,
// where x stays. Each warp then multiplies its part of every stage's depth, and adds what it has of a
// tile to int32 sums in shared memory. At the end they are added up over the cluster, each block a share
// of them, rescaled and written.
//
// NVRTC's command line sets TOKENS (8, 16 or 32), SPLIT, PIECE (bytes of depth of a stage, a multiple of
// 64), PIECES (a block's), and IN, OUT and BIAS as for the other kernels. _switchback_pieces.cu is before
// this.

constexpr int HIGH = 16, WARPS = 8, MULTIPLYING = WARPS * 32, THREADS = MULTIPLYING + 32;
constexpr int ROWS = TOKENS / 8;                             // of x, eight at a time
constexpr int PITCH = PIECE + (PIECE % 128 ? 96 : 32);       // each of four rows in banks of its own
constexpr int STEPS = (PIECE / 64 + WARPS - 1) / WARPS * 2;  // of 32 in depth: a warp's of a stage
constexpr int MOST_STAGES = 32;

// Shared memory: barriers, rows' scales, largest magnitudes by warp, W, sums, scales and bias of columns.
// Where x is zero, past a piece's end, a warp multiplies whatever lies behind W's row: behind the last
// stage's last one, sums.
struct Room {
  u32 base;
  int stages, wide;  // wide: columns of a cluster, at most

  __device__ u32 full(int stage) const { return base + stage * 8; }
  __device__ u32 empty(int stage) const { return full(MOST_STAGES) + stage * 8; }
  __device__ u32 scale(int row) const { return empty(MOST_STAGES) + row * 4; }
  __device__ u32 largest(int warp) const { return scale(TOKENS) + warp * TOKENS * 4; }
  __device__ u32 w(int stage) const { return largest(SPLIT * WARPS) + stage * HIGH * PITCH; }
  __device__ u32 sums(int row) const { return w(stages) + row * (wide + 4) * 4; }  // + 4: other banks
  __device__ u32 scale_w(int column) const { return sums(TOKENS) + column * 4; }
  __device__ u32 plus(int column) const { return scale_w(wide) + column * 4; }
};

// All threads of the cluster: what each wrote before, all see after.
__device__ __forceinline__ void all_together() {
  if (SPLIT == 1) {
    __syncthreads();
    return;
  }
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// They have only come there: loads before it are not waited for. A block by itself needs none.
__device__ __forceinline__ void all_here() {
  if (SPLIT == 1) return;
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// A block's part of W: its tiles, and so many pieces of their depth.
struct Weight {
  const char* w;
  int tile, first, N, K;

  __device__ __forceinline__ void copy(const Room& room, int piece, int stage) const {
    const int row = (tile + piece / PIECES) * HIGH, k = first + piece % PIECES * PIECE;
    const int rows = min(HIGH, N - row), bytes = max(0, min(PIECE, K - k));
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"(room.full(stage)), "r"(rows * bytes) : "memory");
    const char* from = w + (long long)row * K + k;
    for (int i = 0; i < rows && bytes > 0; i++, from += K)
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                   :: "r"(room.w(stage) + i * PITCH), "l"(from), "r"(bytes), "r"(room.full(stage))
                   : "memory");
  }
};

// Where a warp's step begins in a piece's depth: steps come in pairs, 64 long, the warps' side by side.
__device__ constexpr int depth_of(int step) { return step / 2 * WARPS * 64 + step % 2 * 32; }

// What a lane multiplies of x: as it is, then as int8.
struct Part {
  u32 v[PIECES][STEPS][ROWS][4];
  u32 q[PIECES][STEPS][ROWS][2];

  // All of it is on its way before any is looked at. Rows that are not there are the last one again:
  // what they come to is not written.
  __device__ __forceinline__ void read(const char* x, long long pitch, int first, int own, int lane, int M,
                                       int K) {
    const char* from[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      from[r] = x + min(r * 8 + lane / 4, M - 1) * pitch + (first + own) * 2ll;
#pragma unroll
    for (int p = 0; p < PIECES; p++)
#pragma unroll
      for (int s = 0; s < STEPS; s++) {
        const int k = p * PIECE + depth_of(s);
        const bool there = depth_of(s) < PIECE - own && k < K - first - own;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          u32(&to)[4] = v[p][s][r];
          to[0] = to[1] = to[2] = to[3] = 0;
          if (there)
            asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from[r] + k * 2));
        }
      }
  }
  // The largest magnitudes in it, told to every block of the cluster.
  __device__ __forceinline__ void tell_largest(const Room& room, int rank, int warp, int lane) const {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      u32 most = 0;
#pragma unroll
      for (int i = 0; i < PIECES * STEPS * 4; i++)
        most = larger_halves(most, v[i / 4 / STEPS][i / 4 % STEPS][r][i % 4] & 0x7FFF7FFF);
      most = larger_halves(most, __shfl_xor_sync(0xFFFFFFFF, most, 1));
      most = larger_halves(most, __shfl_xor_sync(0xFFFFFFFF, most, 2));
      const u32 bits = max(most & 0xFFFF, most >> 16);
      const u32 at = room.largest(rank * WARPS + warp) + (r * 8 + lane / 4) * 4;
      for (int block = lane % 4; block < SPLIT; block += 4)
        asm volatile("st.shared::cluster.u32 [%0], %1;" :: "r"(in_block(at, block)), "r"(bits) : "memory");
    }
  }
  __device__ __forceinline__ void quantize(const Room& room, float steps, int warp, int lane) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int row = r * 8 + lane / 4;
      u32 bits = 0;
#pragma unroll
      for (int one = 0; one < SPLIT * WARPS; one++) {
        u32 theirs;
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(theirs) : "r"(room.largest(one) + row * 4));
        bits = max(bits, theirs);
      }
      const float absmax = magnitude(bits);
      const float inverse = divided(127.f, fmaxf(absmax, 1e-36f));  // a row of zeros stays one
      if (warp == 0 && lane % 4 == 0)
        asm volatile("st.shared.f32 [%0], %1;"
                     :: "r"(room.scale(row)), "f"(divided(absmax, steps)) : "memory");
#pragma unroll
      for (int p = 0; p < PIECES; p++)
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
          const u32(&from)[4] = v[p][s][r];
          q[p][s][r][0] = four_bytes(from[0], from[1], inverse);
          q[p][s][r][1] = four_bytes(from[2], from[3], inverse);
        }
    }
  }
};

// 16 rows of W by 8 of x, 32 deep.
__device__ __forceinline__ void multiply(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7},"
      " {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void read_two(u32 at, u32& first, u32& second) {
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(first), "=r"(second) : "r"(at) : "memory");
}

// A warp's part of all tiles. It takes depth in another order than the instruction, of W and x alike.
__device__ __forceinline__ void add_up(const Room& room, const Part& part, int tiles, int own, int lane) {
  int stage = 0, parity = 0;
  for (int tile = 0; tile < tiles; tile++) {
    int d[2][ROWS][4] = {};  // two, so that a multiplication need not wait for the one before
#pragma unroll
    for (int p = 0; p < PIECES; p++) {
      wait(room.full(stage), parity);
      const u32 at = room.w(stage) + lane / 4 * PITCH + own;
#pragma unroll
      for (int s = 0; s < STEPS; s++) {
        const u32 here = at + depth_of(s);
        u32 a[4];
        read_two(here, a[0], a[2]);
        read_two(here + 8 * PITCH, a[1], a[3]);
#pragma unroll
        for (int r = 0; r < ROWS; r++) multiply(d[s % 2][r], a, part.q[p][s][r]);
      }
      __syncwarp();
      if (lane == 0)
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(room.empty(stage)) : "memory");
      if (++stage == room.stages) stage = 0, parity ^= 1;
    }
#pragma unroll
    for (int i = 0; i < ROWS * 4; i++) {
      const int row = i / 4 * 8 + lane % 4 * 2 + i % 2, column = tile * HIGH + lane / 4 + i % 4 / 2 * 8;
      asm volatile("red.shared.add.u32 [%0], %1;"
                   :: "r"(room.sums(row) + column * 4), "r"(d[0][i / 4][i % 4] + d[1][i / 4][i % 4])
                   : "memory");
    }
  }
}

__device__ __forceinline__ void read_four(u32 at, u32 (&to)[4]) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}

__device__ __forceinline__ void read_four_of(int block, u32 at, u32 (&to)[4]) {
  asm volatile("ld.shared::cluster.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(in_block(at, block)) : "memory");
}

// A block's share of its cluster's results, four columns at a time: adds up, rescales, writes.
__device__ __forceinline__ void write(const Room& room, void* c, int rank, int left, int columns, int M,
                                      int N) {
  const int quads = min(columns, N - left) / 4, all = M * quads, share = (all + SPLIT - 1) / SPLIT;
  for (int i = rank * share + threadIdx.x; i < min(all, (rank + 1) * share); i += THREADS) {
    const int row = i / quads, column = i % quads * 4;
    const u32 at = room.sums(row) + column * 4;
    u32 sum[4] = {0, 0, 0, 0}, scale[4], plus[4];
    if (SPLIT == 1) read_four(at, sum);
#pragma unroll
    for (int block = 0; SPLIT > 1 && block < SPLIT; block++) {
      u32 theirs[4];
      read_four_of(block, at, theirs);
#pragma unroll
      for (int j = 0; j < 4; j++) sum[j] += theirs[j];
    }
    read_four(room.scale_w(column), scale);
    read_four(room.plus(column), plus);
    float own, y[4];
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(own) : "r"(room.scale(row)) : "memory");
#pragma unroll
    for (int j = 0; j < 4; j++)
      y[j] = (float)(int)sum[j] * own * __uint_as_float(scale[j]) + __uint_as_float(plus[j]);
    *(uint2*)((u16*)c + (long long)row * N + left + column) =
        make_uint2(rounded(y[0], y[1]), rounded(y[2], y[3]));
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) __cluster_dims__(SPLIT, 1, 1)
product(const char* w, const char* x, long long pitch, float steps, void* c, const float* scale_w,
        const void* bias, int M, int N, int K, int step_w, int stages, int each, int more) {
  extern __shared__ __align__(1024) char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, rank = blockIdx.x % SPLIT;
  const int cluster = blockIdx.x / SPLIT, tile = cluster * each + min(cluster, more);
  const int tiles = each + (cluster < more), count = tiles * PIECES;
  const int own = warp * 64 + lane % 4 * 8;  // in a piece's depth, where a lane begins
  const int first = rank * PIECES * PIECE, left = tile * HIGH, columns = tiles * HIGH;
  const Room room = {(u32)__cvta_generic_to_shared(shared), stages, (each + (more > 0)) * HIGH};
  const Weight weight = {w, tile, first, N, K};
  const bool copies = threadIdx.x == MULTIPLYING;
  if (copies) {
    for (int s = 0; s < stages; s++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(room.full(s)));
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(room.empty(s)), "n"(WARPS));
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  // Launched before its predecessor ended: from here on what that one wrote is there.
  asm volatile("griddepcontrol.wait;" ::: "memory");
  Part part;
  if (copies)
    for (int i = 0; i < min(stages, count); i++) weight.copy(room, i, i);
  if (warp < WARPS) {
    part.read(x, pitch, first, own, lane, M, K);
    for (int i = threadIdx.x; i < columns; i += MULTIPLYING) {  // early: they may come from far away
      const bool there = left + i < N;
      const float scale = there ? scale_w[(left + i) * step_w] : 0.f;
      const float plus = there ? bias_of(bias, left + i) : 0.f;
      asm volatile("st.shared.f32 [%0], %1;" :: "r"(room.scale_w(i)), "f"(scale) : "memory");
      asm volatile("st.shared.f32 [%0], %1;" :: "r"(room.plus(i)), "f"(plus) : "memory");
    }
    for (int i = threadIdx.x; i < TOKENS * (room.wide + 4) / 4; i += MULTIPLYING)
      asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" :: "r"(room.sums(0) + i * 16), "r"(0)
                   : "memory");
  }
  all_here();  // the other blocks run: their shared memory may be written
  if (warp < WARPS) part.tell_largest(room, rank, warp, lane);
  all_together();
  if (warp < WARPS) {
    part.quantize(room, steps, warp, lane);
    add_up(room, part, tiles, own, lane);
  } else if (copies) {
    for (int i = stages, stage = 0, parity = 0; i < count; i++) {
      wait(room.empty(stage), parity);
      weight.copy(room, i, stage);
      if (++stage == stages) stage = 0, parity ^= 1;
    }
  }
  all_together();
  write(room, c, rank, left, columns, M, N);
  all_here();  // nobody leaves before the others have read its sums
}
