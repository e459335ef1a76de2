// C (M x N) = A (M x K) times int8 B (N x K) transposed, rescaled, plus a bias, where A is of 16-bit
// numbers that this same launch quantizes, in CHUNKS of its depth: a tile is begun when the first
// chunk of its rows is there. A chunk's scale is the row's largest magnitude so far; where that grows,
// the exact sums so far are made smaller by as much, rounded down. The last one is the row's own.
//
// All warps of all blocks quantize the first chunk of as many rows each. Then two groups multiply,
// as in _switchback_hopper.cu, one warp copies tiles, and three quantize the other chunks of the
// block's rows, which land where C's panels will be. int8 rows go through the cache; a counter for
// each tile's rows and chunk says how many are there. Blocks wait for one another: all of them must
// run at once, which a cooperative launch sees to. There is one block a multiprocessor, so two such
// launches never run at once, and the counters are 0 between them.
//
// After _switchback_cut.cu, with what is set there (PINGPONG 0, CLUSTER 2, SHARE_B 1, FUSED 1), and
// _switchback_chunk_rows.cu; also set: IN, CHUNKS, UNITS (of 256 numbers of a chunk), SLOTS (rows of
// a warp that land) and EXTRA (rows of a multiplying warp whose second chunk it does before).
// What the instructions mean: PTX ISA.

// The warp that copies tiles: B of the first stages before A is there.
struct Producer {
  const Rows& rows;
  const Tiles& tiles;
  const TensorMap* map_a;
  const TensorMap* map_b;

  __device__ void stage(int turn, bool begins, int k, int column) const {
    const Ring& ring = rows.ring;
    const int s = turn % STAGES, part = tiles.rank * (BN / CLUSTER);
    wait(ring.empty(s), turn / STAGES & 1 ^ 1);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"(ring.full(s)), "r"(STAGE_BYTES + (begins ? BM * 4 : 0)) : "memory");
    copy_in<true>(ring.b(s) + part * BK, map_b, k * BK, column + part, ring.full(s));
  }
  __device__ void early() const {
    int row, column;
    tiles.place(blockIdx.x / CLUSTER, row, column);
    for (int k = 0; k < STAGES; k++) stage(k, k == 0, k, column);
  }
  __device__ void work(int walkers) const {
    const Ring& ring = rows.ring;
    const int deep = tiles.steps / CHUNKS;
    int turn = 0;
    for (int tile = blockIdx.x / CLUSTER; tile < tiles.rows * tiles.columns; tile += walkers) {
      int row, column;
      tiles.place(tile, row, column);
      for (int k = 0; k < tiles.steps; k++, turn++) {
        const int s = turn % STAGES, chunk = k / deep;
        if (turn >= STAGES) stage(turn, k % deep == 0, k, column);
        if (k % deep == 0) {
          if (row < rows.M) rows.await(row / BM, chunk);
          asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                       " [%0], [%1], %2, [%3];"
                       :: "r"(ring.most()), "l"(rows.given.most + chunk * rows.given.padded + row),
                          "r"(BM * 4), "r"(ring.full(s)) : "memory");
        }
        copy_in<false>(ring.a(s), map_a, k * BK, row, ring.full(s));
      }
    }
    rows.leave(walkers * CLUSTER);
    // The other block's groups still announce here what they have read: stay until all of it is.
    for (int s = 0; s < STAGES; s++, turn++) wait(ring.empty(turn % STAGES), turn / STAGES & 1 ^ 1);
  }
};

// From here on what the accumulators hold is read: not before what waited for them.
__device__ __forceinline__ void settled(int (&d)[MT][BN / 2]) {
#pragma unroll
  for (int m = 0; m < MT; m++)
#pragma unroll
    for (int i = 0; i < BN / 2; i++) asm volatile("" : "+r"(d[m][i]) :: "memory");
}

// Makes the sums of a lane's row smaller by was / is, rounded down. LOW 0: its upper row, 2: its lower.
template <int LOW>
__device__ __forceinline__ void shrink(int (&d)[BN / 2], float was, float is) {
  if (!__any_sync(~0u, is > was)) return;
  float ratio = is > was ? __fdiv_rn(was, is) : 1.f;  // a power of two must be one
  if (!(ratio > 0.f)) ratio = 0.f;  // nothing so far, or a scale that is infinite
  if (__any_sync(~0u, ratio < 0.5f)) {
    // 2**-shift <= 2 * ratio < 2**(1 - shift) * 2; 31 where there is nothing left
    const int shift = ratio < 0.5f ? min(31, 126 - (int)(__float_as_uint(ratio) >> 23)) : 0;
    ratio = shift == 31 ? 1.f : ratio * __uint_as_float((u32)(127 + shift) << 23);
#pragma unroll
    for (int i = 0; i < BN / 2; i += 4) d[i + LOW] >>= shift, d[i + LOW + 1] >>= shift;
  }
  // d * ratio = d + d * (ratio - 1), and -1/2 <= ratio - 1 <= 0 is a signed fraction of 2**32
  const int less = (int)((ratio - 1.f) * 4294967296.f);
#pragma unroll
  for (int i = 0; i < BN / 2; i += 4)
#pragma unroll
    for (int e = LOW; e < LOW + 2; e++)
      asm volatile("mad.hi.s32 %0, %0, %1, %0;" : "+r"(d[i + e]) : "r"(less));
}

__device__ __forceinline__ void all_multiplying() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

__device__ void consume(const Rows& rows, const Tiles& tiles, const TensorMap* map_c,
                        const float* scale_b, int step_b, const void* bias, int N, int walkers) {
  const Ring& ring = rows.ring;
  const int group = threadIdx.x / 128 - 1, thread = threadIdx.x - 128;
  const int warp = thread / 32 % 4, lane = thread % 32, own = group * ROWS;
  const u32 panels = ring.panels(group * 4 + warp), columns = ring.columns();
  const int deep = tiles.steps / CHUNKS;
  int d[MT][BN / 2] = {}, turn = 0, panel = 0;
#pragma unroll 1
  for (int tile = blockIdx.x / CLUSTER; tile < tiles.rows * tiles.columns; tile += walkers) {
    int top, left;
    tiles.place(tile, top, left);
    top += own + warp * 16;
    float above[MT], below[MT];
    Columns early;
    early.read(scale_b, step_b, bias, left, N, thread < BN ? thread : 1 << 20);
#pragma unroll 1
    for (int c = 0; c < CHUNKS; c++) {
      wait(ring.full(turn % STAGES), turn / STAGES & 1);
      float is_above[MT], is_below[MT];
#pragma unroll
      for (int m = 0; m < MT; m++) {
        const u32 at = ring.most() + (own + warp * 16 + m * 64 + lane / 4) * 4;
        asm volatile("ld.shared.f32 %0, [%1];" : "=f"(is_above[m]) : "r"(at) : "memory");
        asm volatile("ld.shared.f32 %0, [%1+32];" : "=f"(is_below[m]) : "r"(at) : "memory");
      }
      if (c > 0) {
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        settled(d);
        ring.release((turn - 1) % STAGES, lane);
#pragma unroll
        for (int m = 0; m < MT; m++) {
          shrink<0>(d[m], above[m], is_above[m]);
          shrink<2>(d[m], below[m], is_below[m]);
        }
      }
#pragma unroll
      for (int m = 0; m < MT; m++) above[m] = is_above[m], below[m] = is_below[m];
#pragma unroll 1
      for (int j = 0; j < deep; j++, turn++) {
        const int s = turn % STAGES;
        if (j > 0) wait(ring.full(s), turn / STAGES & 1);
        const u64 a = descriptor(ring.a(s) + own * BK), b = descriptor(ring.b(s));
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int part = 0; part < 4; part++)  // 32 deep, 2 units of 16 bytes
#pragma unroll
          for (int m = 0; m < MT; m++)
            multiply(d[m], a + m * (64 * BK / 16) + part * 2, b + part * 2, c | j | part);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (j > 0) {
          asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
          ring.release((turn - 1) % STAGES, lane);
        }
      }
    }
    all_multiplying();  // what the last tile's columns were, all have read
    if (thread < BN) early.put(columns, thread);
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    settled(d);
    ring.release((turn - 1) % STAGES, lane);
    all_multiplying();
    // Rows do not land in the panels any more.
    if (tile == blockIdx.x / CLUSTER) asm volatile("bar.sync 3, 352;" ::: "memory");
#pragma unroll
    for (int m = 0; m < MT; m++) {
      above[m] = divided(above[m], rows.given.steps), below[m] = divided(below[m], rows.given.steps);
#pragma unroll
      for (int p = 0; p < BN / PANEL; p++) {
        const u32 at = panels + panel * PANEL_BYTES;
        panel = panel + 1 == PANELS ? 0 : panel + 1;
        if (lane == 0) asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(PANELS - 1) : "memory");
        __syncwarp();
        fill(at, &d[m][p * (PANEL / 2)], lane, above[m], below[m], columns + p * PANEL * 8);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
        if (lane == 0) {
          asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];"
                       :: "l"(map_c), "r"(left + p * PANEL), "r"(top + m * 64), "r"(at) : "memory");
          asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        }
      }
    }
  }
  if (lane == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

extern "C" __global__ void __launch_bounds__(384, 1) __cluster_dims__(CLUSTER, 1, 1)
product(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
        const __grid_constant__ TensorMap map_c, const float*, const float* scale_b,
        const void* bias, int M, int N, int K, int step_b, const __grid_constant__ Given given) {
  extern __shared__ __align__(1024) char shared[];
  const Ring ring = {(u32)__cvta_generic_to_shared(shared)};
  const Tiles tiles(M, N, K);
  const Rows rows(given, ring, M, K);
  const Producer producer = {rows, tiles, &map_a, &map_b};
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int walkers = min(tiles.rows * tiles.columns, (int)gridDim.x / CLUSTER);
  const bool walks = blockIdx.x < CLUSTER * walkers;
  if (threadIdx.x == 0) {
    ring.start();
    asm volatile("prefetch.tensormap [%0];" :: "l"(&map_a) : "memory");
    asm volatile("prefetch.tensormap [%0];" :: "l"(&map_b) : "memory");
    asm volatile("prefetch.tensormap [%0];" :: "l"(&map_c) : "memory");
  }
  if (threadIdx.x == 352 && walks) {  // where C is, the GPU looks up now
    int row, column;
    tiles.place(blockIdx.x / CLUSTER, row, column);
    if (row < M && column < N)
      asm volatile("prefetch.global.L2 [%0];" :: "l"(given.c + ((long long)row * N + column) * 2));
  }
  __syncthreads();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  const bool quantizes = !walks || warp > 0 && warp <= QUANTIZING;
  Rows::Landing at = walks ? rows.landing(warp - 1, QUANTIZING, ring.panels(0))
                           : rows.landing(warp, WARPS, ring.a(0));
  rows.begin(warp, lane, [&] { if (threadIdx.x == 0 && walks) producer.early(); },
             [&] { if (quantizes) rows.fetch_first(at, lane); });
  if (!walks) {
    rows.rest(at, lane);
  } else if (threadIdx.x < 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(FEW));
    if (threadIdx.x == 0) producer.work(walkers);
    if (warp > 0) {
      rows.rest(at, lane);
      asm volatile("bar.arrive 3, 352;" ::: "memory");
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(MANY));
    if (EXTRA) asm volatile("bar.arrive 2, 352;" ::: "memory");
    consume(rows, tiles, &map_c, scale_b, step_b, bias, N, walkers);
  }
}
