// int8 A (M x K) times int8 B (N x K) transposed, rescaled, plus a bias: C (M x N), for SM 9.0a.
//
// One block a multiprocessor walks over tiles of C. Its first warp group copies tiles of A and B
// into a ring of shared memory through the tensor copy engine (TMA); the two others multiply
// (wgmma, exact int32 sums), rescale, and hand their part of C to the copy engine, each warp by
// itself. PINGPONG: each multiplying group has a tile of its own, so that one multiplies while the
// other writes; else they share a tile. CLUSTER of several blocks: one operand is read once and sent
// to all. SPLIT: the blocks of a cluster share the depth of one tile (only the first group multiplies
// then, if PINGPONG), and send their sums to the block that adds them up, for each warp another.
//
// Compiled at run time by NVRTC, without headers. Its command line sets MT (64-row pieces a group),
// BN, STAGES, PANELS (of C that a warp writes and has under way), PINGPONG, CLUSTER, SHARE_B (1: B is
// what a cluster shares, 0: A), SPLIT, GROUP, and OUT and BIAS (0 none, 1 bfloat16, 2 float16, 3
// float32).
// With FUSED, A is quantized here: _switchback_rows.cu is before this, and says what else is set.
// _switchback_hopper.py writes multiply(), which names BN / 2 registers, and puts it,
// _switchback_pieces.cu and _switchback_cut.cu before this. What the instructions mean: PTX ISA,
// wgmma.mma_async, cp.async.bulk.tensor, mbarrier, stmatrix, griddepcontrol.

// Where the depth is split, each multiplying warp's sums are added up in one block of the cluster.
constexpr int WARP_BYTES = MT * 16 * BN * 4;

// Shared memory: the stages, panels of each warp, scales and bias of each group's columns, barriers;
// with SPLIT a barrier for each warp, and what the other blocks' warps have summed up.
struct Ring {
  u32 base;

  __device__ u32 a(int stage) const { return base + stage * STAGE_BYTES; }
  __device__ u32 b(int stage) const { return a(stage) + A_BYTES; }
  __device__ u32 panels(int warp) const { return a(STAGES) + warp * PANELS * PANEL_BYTES; }
  __device__ u32 columns(int group) const { return panels(8) + group * BN * 8; }
  __device__ u32 full(int stage) const { return columns(2) + 8 * stage; }
  __device__ u32 empty(int stage) const { return full(STAGES + stage); }
  __device__ u32 added(int warp) const { return empty(STAGES) + 8 * warp; }
  __device__ u32 sums(int warp, int part) const {
    return added(8) + (warp / SPLIT * (SPLIT - 1) + part) * WARP_BYTES;
  }
  __device__ u32 end() const { return empty(STAGES); }
  __device__ void start() const {
    for (int s = 0; s < STAGES; s++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(full(s)));
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(empty(s)), "n"(RELEASES));
    }
    for (int warp = 0; warp < 8 && SPLIT > 1; warp++)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(added(warp)));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  // Called by all lanes of a warp: one arrival in each block that may refill the stage.
  __device__ void release(int stage, int lane) const {
    if (lane >= CLUSTER) return;
    if (CLUSTER == 1)
      asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(empty(stage)) : "memory");
    else
      asm volatile("{.reg .b32 there; mapa.shared::cluster.u32 there, %0, %1;"
                   " mbarrier.arrive.shared::cluster.b64 _, [there];}"
                   :: "r"(empty(stage)), "r"(lane) : "memory");
  }
};

// Brings the start of the first tile of B near: harmless even where B is still being written.
__device__ void foresee(const Tiles& tiles, const TensorMap* map_b) {
  int row, column, part_b = CLUSTER > 1 && SHARE_B ? tiles.rank * (BN / CLUSTER) : 0;
  tiles.place(blockIdx.x / BLOCKS, row, column);
  for (int k = 0; k < min(tiles.steps, FORESEEN); k++)
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];"
                 :: "l"(map_b), "r"((tiles.first + k) * BK), "r"(column + part_b) : "memory");
}

template <class Source>
__device__ void produce(const Ring& ring, const Tiles& tiles, const TensorMap* map_a,
                        const TensorMap* map_b, const Source& source) {
  constexpr bool SEND_A = CLUSTER > 1 && !SHARE_B, SEND_B = CLUSTER > 1 && SHARE_B;
  const int part_a = SEND_A ? tiles.rank * (BM / CLUSTER) : 0;
  const int part_b = SEND_B ? tiles.rank * (BN / CLUSTER) : 0;
  int turn = 0;
  source.note(0);
  for (int tile = blockIdx.x / BLOCKS; tile < tiles.rows * tiles.columns;
       tile += gridDim.x / BLOCKS) {
    int row, column;
    tiles.place(tile, row, column);
    source.reach(tiles.group_end(tile));
    source.await(row);
    source.note(turn == 0 ? 1 : 2);
    for (int k = 0; k < tiles.steps; k++, turn++) {
      int s = turn % STAGES;
      wait(ring.empty(s), turn / STAGES & 1 ^ 1);
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                   :: "r"(ring.full(s)), "n"(STAGE_BYTES) : "memory");
      copy_in<SEND_A>(ring.a(s) + part_a * BK, map_a, (tiles.first + k) * BK, row + part_a,
                      ring.full(s));
      copy_in<SEND_B>(ring.b(s) + part_b * BK, map_b, (tiles.first + k) * BK, column + part_b,
                      ring.full(s));
    }
  }
  source.note(3);
  source.reach(0x3FFFFFFF);  // no row is too far ahead any more
  // The other block's groups still announce here what they have read: stay until all of it is.
  for (int s = 0; s < STAGES && CLUSTER > 1; s++, turn++)
    wait(ring.empty(turn % STAGES), turn / STAGES & 1 ^ 1);
}

// Where A is there before the product starts.
struct There {
  __device__ void start() const {}
  __device__ void reach(int) const {}
  __device__ void await(int) const {}
  __device__ void note(int) const {}
};

// The groups multiply in turn: a barrier knows but two phases, so nobody may wait for a stage before
// the other has seen what was in it before.
__device__ __forceinline__ void take_over(int group) {
  asm volatile("bar.sync %0, 256;" :: "r"(3 + group) : "memory");
}
__device__ __forceinline__ void hand_over(int group) {
  asm volatile("bar.arrive %0, 256;" :: "r"(3 + group) : "memory");
}

__device__ __forceinline__ void together(int group) {  // the warps of a group
  asm volatile("bar.sync %0, 128;" :: "r"(1 + group) : "memory");
}

// The scale of a row of A. Where it may have been written while this kernel runs, the copy of it that
// is near may be an old one: it is read from where all see the same.
__device__ __forceinline__ float scale_of(const float* scale_a, int row) {
#if FUSED
  float scale;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(scale) : "l"(scale_a + row) : "memory");
  return scale;
#else
  return scale_a[row];
#endif
}

__device__ __forceinline__ void scales_of(const float* scale_a, int top, int lane, int M,
                                          float (&above)[MT], float (&below)[MT]) {
#pragma unroll
  for (int m = 0; m < MT; m++) {
    int row = top + m * 64 + lane / 4;
    above[m] = row < M ? scale_of(scale_a, row) : 0.f;
    below[m] = row + 8 < M ? scale_of(scale_a, row + 8) : 0.f;
  }
}

// Sends a warp's sums to the block of the cluster that adds them up; there it adds what has come, and
// says so.
__device__ __forceinline__ bool gathered(const Ring& ring, int warp, int lane, int (&d)[MT][BN / 2]) {
  const int rank = blockIdx.x % SPLIT, adder = warp % SPLIT;
  if (rank != adder) {
    const u32 to = in_block(ring.sums(warp, rank - (rank > adder)) + lane * 16, adder);
    const u32 barrier = in_block(ring.added(warp), adder);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
      for (int i = 0; i < BN / 2; i += 4)
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.u32 [%0], {%1, %2, %3, %4}, [%5];"
                     :: "r"(to + (m * BN / 2 + i) * 128), "r"(d[m][i]), "r"(d[m][i + 1]),
                        "r"(d[m][i + 2]), "r"(d[m][i + 3]), "r"(barrier) : "memory");
    return false;
  }
  if (lane == 0)
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"(ring.added(warp)), "n"((SPLIT - 1) * WARP_BYTES) : "memory");
  wait_for_cluster(ring.added(warp));
#pragma unroll
  for (int part = 0; part < SPLIT - 1; part++)
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
      for (int i = 0; i < BN / 2; i += 4) {
        int v[4];
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                     : "r"(ring.sums(warp, part) + lane * 16 + (m * BN / 2 + i) * 128));
#pragma unroll
        for (int j = 0; j < 4; j++) d[m][i + j] += v[j];
      }
  return true;
}

__device__ void consume(const Ring& ring, const Tiles& tiles, const TensorMap* map_c,
                        const float* scale_a, const float* scale_b, int step_b, const void* bias,
                        int M, int N) {
  const int group = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const int warp = thread / 32, lane = thread % 32, own = PINGPONG ? 0 : group * ROWS;
  const u32 panels = ring.panels(group * 4 + warp), columns = ring.columns(group);
  const int count = tiles.rows * tiles.columns, stride = gridDim.x / BLOCKS;
  // 0, though the first multiplication of a tile does not read them: numbers from nowhere make the
  // compilers of CUDA 12 wait for each multiplication before the next (ptxas says so, C7515).
  int d[MT][BN / 2] = {}, turn = 0, mine = 0, panel = 0;
  if (PINGPONG && group == 1) hand_over(0);
  for (int tile = blockIdx.x / BLOCKS; tile < count; tile += stride, mine ^= 1) {
    if (PINGPONG && mine != group) {
      turn += tiles.steps;
      continue;
    }
    int top, left;
    tiles.place(tile, top, left);
    top += own + warp * 16;
    float above[MT], below[MT];
    if (!FUSED) scales_of(scale_a, top, lane, M, above, below);
    Columns early;
    early.read(scale_b, step_b, bias, left, N, thread);
    together(group);  // what the last tile's columns were, all have read
    if (PINGPONG) {
      early.put(columns, thread);
      take_over(group);
    }
    if (FUSED) {  // the scales are there when the rows are
      wait(ring.full(turn % STAGES), turn / STAGES & 1);
      scales_of(scale_a, top, lane, M, above, below);
    }
    for (int k = 0; k < tiles.steps; k++, turn++) {
      int s = turn % STAGES;
      wait(ring.full(s), turn / STAGES & 1);
      u64 a = descriptor(ring.a(s) + own * BK), b = descriptor(ring.b(s));
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int part = 0; part < 4; part++)  // 32 deep, 2 units of 16 bytes
#pragma unroll
        for (int m = 0; m < MT; m++)
          multiply(d[m], a + m * (64 * BK / 16) + part * 2, b + part * 2, k | part);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      if (k > 0) {
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        ring.release((turn - 1) % STAGES, lane);
      }
    }
    if (PINGPONG && tile + stride < count) hand_over(1 - group);
    if (!PINGPONG) early.put(columns, thread);
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (SPLIT == 1) ring.release((turn - 1) % STAGES, lane);
    if (!PINGPONG) together(group);
    if (SPLIT > 1 && !gathered(ring, PINGPONG ? warp : group * 4 + warp, lane, d)) break;

#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
      for (int p = 0; p < BN / PANEL; p++) {
        u32 at = panels + panel * PANEL_BYTES;
        panel = panel + 1 == PANELS ? 0 : panel + 1;
        // What this panel held has been copied out; the other panels may be under way.
        if (lane == 0) asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(PANELS - 1) : "memory");
        __syncwarp();
        fill(at, &d[m][p * (PANEL / 2)], lane, above[m], below[m], columns + p * PANEL * 8);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
        if (lane == 0) {
          asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];"
                       :: "l"(map_c), "r"(left + p * PANEL), "r"(top + m * 64), "r"(at)
                       : "memory");
          asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        }
      }
    }
  }
  if (lane == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

extern "C" __global__ void __launch_bounds__(384, 1) __cluster_dims__(BLOCKS, 1, 1)
product(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
        const __grid_constant__ TensorMap map_c, const float* scale_a, const float* scale_b,
        const void* bias, int M, int N, int K, int step_b
#if FUSED
        , const __grid_constant__ Given given
#endif
        ) {
  extern __shared__ __align__(1024) char shared[];
  const Ring ring = {(u32)__cvta_generic_to_shared(shared)};
  const Tiles tiles(M, N, K);
#if FUSED
  const Rows source = {given, (ring.end() + 127) & ~127, M, K, tiles.columns * (SHARE_B ? 1 : CLUSTER)};
#else
  const There source;
#endif
  if (threadIdx.x == 0) {
    source.start();
    ring.start();
    asm volatile("prefetch.tensormap [%0];" :: "l"(&map_a) : "memory");
    asm volatile("prefetch.tensormap [%0];" :: "l"(&map_c) : "memory");
    foresee(tiles, &map_b);
  }
  __syncthreads();
  if (BLOCKS > 1) {  // the other blocks' barriers are there too
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
  // Launched before its predecessor ended: from here on what that one wrote is there.
  asm volatile("griddepcontrol.wait;" ::: "memory");
  if (threadIdx.x < 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(FEW));
    if (threadIdx.x == 0) produce(ring, tiles, &map_a, &map_b, source);
#if FUSED
    if (threadIdx.x >= 32 && threadIdx.x < 32 + 32 * SCALERS)
      source.work(threadIdx.x / 32 - 1, threadIdx.x % 32);
#endif
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(MANY));
    consume(ring, tiles, &map_c, scale_a, scale_b, step_b, bias, M, N);
    if (threadIdx.x == 128) source.note(7);
  }
}
