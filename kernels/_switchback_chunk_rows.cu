// The rows of A, quantized in chunks of their depth by the blocks that multiply them: put between
// _switchback_cut.cu and _switchback_chunks.cu, which says how, and what is set.

constexpr int COUNTER = 8;  // words from one counter to the next: 32 bytes, a sector
constexpr int WARPS = 12, QUANTIZING = 3, BATCH = 3, LANDED = UNITS * 512;
constexpr int TILES = 64;  // of rows

struct Given {
  const char* x;     // M x K, IN 1 bfloat16, 2 float16
  long long pitch;   // bytes from row to row, a multiple of 16
  signed char* q;    // M x K, what map_a describes
  float* most;       // CHUNKS x padded: a row's largest magnitude so far
  const char* c;
  float steps;       // scale = largest magnitude / steps
  int padded;        // M, in whole pairs of tiles
};

__device__ u32 counters[(1 + TILES * CHUNKS) * COUNTER];  // who has left, then rows there

// Shared memory: stages, panels, scales and bias of columns, magnitudes of rows, barriers.
struct Ring {
  u32 base;

  __device__ u32 a(int stage) const { return base + stage * STAGE_BYTES; }
  __device__ u32 b(int stage) const { return a(stage) + A_BYTES; }
  __device__ u32 panels(int warp) const { return a(STAGES) + warp * PANELS * PANEL_BYTES; }
  __device__ u32 columns() const { return panels(8); }
  __device__ u32 most() const { return columns() + BN * 8; }
  __device__ u32 full(int stage) const { return most() + BM * 4 + 8 * stage; }
  __device__ u32 empty(int stage) const { return full(STAGES + stage); }
  __device__ u32 loaded(int slot) const { return empty(STAGES + slot); }
  __device__ void start() const {
    for (int s = 0; s < STAGES; s++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(full(s)));
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(empty(s)), "n"(RELEASES));
    }
    for (int s = 0; s < WARPS * SLOTS; s++)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(loaded(s)));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  // Called by all lanes of a warp: one arrival in each block that may refill the stage.
  __device__ void release(int stage, int lane) const {
    if (lane < CLUSTER)
      asm volatile("{.reg .b32 there; mapa.shared::cluster.u32 there, %0, %1;"
                   " mbarrier.arrive.shared::cluster.b64 _, [there];}"
                   :: "r"(empty(stage)), "r"(lane) : "memory");
  }
};

// Rows of this block, from first to end, and of tiles.
struct Rows {
  const Given& given;
  const Ring& ring;
  int M, K, first, end;

  __device__ Rows(const Given& given, const Ring& ring, int M, int K)
      : given(given), ring(ring), M(M), K(K),
        first((int)((long long)M * blockIdx.x / gridDim.x)),
        end((int)((long long)M * (blockIdx.x + 1) / gridDim.x)) {}

  __device__ u32* there(int tile, int chunk) const {
    return counters + (1 + tile * CHUNKS + chunk) * COUNTER;
  }
  // Waits until a chunk of a tile's rows is in memory and the copy engine may read it.
  __device__ void await(int tile, int chunk) const {
    const u32 all = min(BM, M - tile * BM);
    u32 rows;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(rows) : "l"(there(tile, chunk)) : "memory");
    } while (rows < all);
    asm volatile("fence.proxy.async.global;" ::: "memory");
  }
  // One thread says that a chunk of all rows of this block is there, a barrier after they wrote it
  // and each of them made it known to the copy engine.
  __device__ void announce(int chunk) const {
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    for (int tile = first / BM; first < end && tile <= (end - 1) / BM; tile++)
      asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;"
                   :: "l"(there(tile, chunk)),
                      "r"(min(end, (tile + 1) * BM) - max(first, tile * BM)) : "memory");
  }
  // One thread of each block that waits for rows, when it does not any more: then all have been
  // announced, and the last one makes all counters 0.
  __device__ void leave(int blocks) const {
    u32 before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                 : "=r"(before) : "l"(counters) : "memory");
    if (before == blocks - 1)
      for (int i = 0; i <= (M + BM - 1) / BM * CHUNKS; i++) counters[i * COUNTER] = 0;
  }

  __device__ __forceinline__ const char* place(int row, int chunk) const {
    return given.x + row * given.pitch + chunk * LANDED;
  }
  __device__ __forceinline__ void load(int row, int chunk, int lane, u32 (&held)[UNITS][4]) const {
    const char* from = place(row, chunk) + lane * 16;
#pragma unroll
    for (int j = 0; j < UNITS; j++)
      asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(held[j][0]), "=r"(held[j][1]), "=r"(held[j][2]), "=r"(held[j][3])
                   : "l"(from + j * 512));
  }
  // The largest magnitude of what a warp holds, and of what was before. Then all lanes hold theirs.
  __device__ __forceinline__ float largest(const u32 (&held)[UNITS][4], float before) const {
    u32 most[4] = {0, 0, 0, 0};
#pragma unroll
    for (int j = 0; j < UNITS; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) most[i] = larger_halves(most[i], held[j][i] & 0x7FFF7FFF);
    most[0] = larger_halves(larger_halves(most[0], most[1]), larger_halves(most[2], most[3]));
    u32 bits = max(most[0] & 0xFFFF, most[0] >> 16);
    asm volatile("redux.sync.max.u32 %0, %0, 0xFFFFFFFF;" : "+r"(bits) :: "memory");
    return fmaxf(magnitude(bits), before);
  }
  __device__ __forceinline__ void write(int row, int chunk, float most, int lane,
                                        const u32 (&held)[UNITS][4]) const {
    const float inverse = divided(127.f, fmaxf(most, 1e-36f));  // a row of zeros stays one
    if (lane == 0) given.most[chunk * given.padded + row] = most;
    signed char* to = given.q + (long long)row * K + chunk * (UNITS * 256) + lane * 8;
#pragma unroll
    for (int j = 0; j < UNITS; j++)
      asm volatile("st.global.v2.b32 [%0], {%1, %2};"
                   :: "l"(to + j * 256), "r"(four_bytes(held[j][0], held[j][1], inverse)),
                      "r"(four_bytes(held[j][2], held[j][3], inverse)) : "memory");
  }
  __device__ __forceinline__ bool extra(int warp, int i) const { return i < EXTRA && warp >= 4; }

  // All warps: the first chunk of rows first + warp + i * WARPS, of which there are at most BATCH a
  // warp. The second chunk of EXTRA of them is under way while the first is announced. When the first
  // row has come, fetch() asks for those of later chunks: before, the first chunk would come later
  // for it; once that is done, nothing would be read meanwhile.
  template <class Meanwhile, class Fetch>
  __device__ __forceinline__ void begin(int warp, int lane, const Meanwhile& meanwhile,
                                        const Fetch& fetch) const {
    u32 held[BATCH][UNITS][4];
    float most[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; i++)
      load(max(0, min(first + warp + i * WARPS, end - 1)), 0, lane, held[i]);
    meanwhile();
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const int row = first + warp + i * WARPS;
      most[i] = largest(held[i], 0.f);
      if (i == 0) fetch();
      if (row >= end) continue;
      write(row, 0, most[i], lane, held[i]);
      if (extra(warp, i)) load(row, 1, lane, held[i]);
    }
    asm volatile("fence.proxy.async.global;" ::: "memory");
    __syncthreads();
    if (threadIdx.x == 32) announce(0);
#pragma unroll
    for (int i = 0; i < EXTRA; i++) {
      const int row = first + warp + i * WARPS;
      if (extra(warp, i) && row < end) write(row, 1, largest(held[i], most[i]), lane, held[i]);
    }
    if (EXTRA) asm volatile("fence.proxy.async.global;" ::: "memory");
  }

  // How many rows have a later chunk left, and which is the one of a number: of the second chunk
  // EXTRA of each multiplying warp's are done.
  __device__ __forceinline__ int left(int chunk) const {
    int rows = end - first;
#pragma unroll
    for (int i = 0; i < EXTRA; i++)
      if (chunk == 1) rows -= min(8, max(0, end - first - WARPS * i - 4));
    return rows;
  }
  __device__ __forceinline__ int row_of(int chunk, int number) const {
    const int done = chunk == 1 ? EXTRA : 0;
    return first + (number < 4 * done ? number / 4 * WARPS + number % 4 : 8 * done + number);
  }
  // What one of so many warps reads, in order: its rows of one chunk after the other. They land in
  // its SLOTS places in turn (to bring more near was slower).
  struct Landing {
    int warp, warps;
    u32 room, loaded;
    int chunk, number, asked;

    __device__ u32 slot(int turn) const { return room + turn % SLOTS * LANDED; }
    __device__ u32 barrier(int turn) const { return loaded + turn % SLOTS * 8; }
  };
  __device__ __forceinline__ Landing landing(int warp, int warps, u32 room) const {
    Landing at = {warp, warps, room + warp * (SLOTS * LANDED), ring.loaded(warp * SLOTS), 1, warp, 0};
    skip(at);
    return at;
  }
  __device__ __forceinline__ void skip(Landing& at) const {  // chunks that have no more
    while (at.chunk < CHUNKS && at.number >= left(at.chunk)) at.chunk++, at.number = at.warp;
  }
  __device__ __forceinline__ void fetch(Landing& at, int lane) const {
    if (at.chunk == CHUNKS) return;
    const u32 barrier = at.barrier(at.asked);
    if (lane == 0) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                   :: "r"(barrier), "n"(LANDED) : "memory");
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                   " [%0], [%1], %2, [%3];"
                   :: "r"(at.slot(at.asked)), "l"(place(row_of(at.chunk, at.number), at.chunk)),
                      "n"(LANDED), "r"(barrier) : "memory");
    }
    at.asked++, at.number += at.warps;
    skip(at);
  }
  __device__ __forceinline__ void fetch_first(Landing& at, int lane) const {
#pragma unroll 1
    for (int i = 0; i < SLOTS; i++) fetch(at, lane);
  }
  // The later chunks, after fetch_first(). The threads of these warps meet before a chunk is
  // announced, the first time with those that multiply, who have done EXTRA.
  __device__ __forceinline__ void rest(Landing& at, int lane) const {
    const int warp = at.warp, warps = at.warps;
    int turn = 0;
#pragma unroll 1
    for (int chunk = 1; chunk < CHUNKS; chunk++) {
      const int all = left(chunk);
      float before = 0.f;  // each lane has that of one row
      if (warp + lane * warps < all)
        asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(before)
                     : "l"(given.most + (chunk - 1) * given.padded + row_of(chunk, warp + lane * warps))
                     : "memory");
#pragma unroll 1
      for (int n = 0, number = warp; number < all; n++, number += warps, turn++) {
        const u32 slot = at.slot(turn);
        wait(at.barrier(turn), turn / SLOTS & 1);
        u32 held[UNITS][4];
#pragma unroll
        for (int j = 0; j < UNITS; j++)
          asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                       : "=r"(held[j][0]), "=r"(held[j][1]), "=r"(held[j][2]), "=r"(held[j][3])
                       : "r"(slot + j * 512 + lane * 16) : "memory");
        const float most = largest(held, __shfl_sync(~0u, before, n));
        fetch(at, lane);  // all lanes have read what was there
        write(row_of(chunk, number), chunk, most, lane, held);
      }
      asm volatile("fence.proxy.async.global;" ::: "memory");
      const int threads = (warps == QUANTIZING && chunk == 1 && EXTRA ? 11 : warps) * 32;
      asm volatile("bar.sync 2, %0;" :: "r"(threads) : "memory");
      if (warp + lane == 0) announce(chunk);
    }
  }
};
