// The rows of A, quantized by warps of the product's own blocks while others multiply: put before
// _switchback_cut.cu where _switchback_hopper.cu is compiled with FUSED.
//
// SCALERS warps of each block, idle in the product alone, take rows from a counter that all blocks
// share, in order: whoever runs takes what is next, so nobody ever waits for a block that has not been
// started. SLOTS rows of each warp are on their way to shared memory, by one bulk copy each. A row is
// read there once, as far as registers hold it (HELD of the UNITS that a lane has of it: the product
// takes nearly all that shared memory can give), quantized, and written to memory, which is the cache:
// A's tiles are read from there soon. A counter for each tile's rows tells the warps that copy tiles how
// much of it is there; a row is announced when the next one has been read, not to wait for its writes.
//
// All counters are 0 before and after a launch: they count up to a number that is known, and wrap.
// What the instructions mean: PTX ISA, cp.async.bulk, atom, red, fence.proxy, redux.

constexpr int TALL = 64 * MT * (PINGPONG ? 1 : 2);  // rows of a tile: BM in _switchback_cut.cu
constexpr int COUNTER = 8;   // words from one counter to the next: 32 bytes, a sector
constexpr int UNIT = 8;      // numbers of 16 bits, 16 bytes, that a lane takes at a time
constexpr int ASKED = SLOTS + 1;  // questions of a warp to which the answer is that no row is left
// Units of a lane that are not held, and how many of them are under way: there are few registers.
constexpr int REST = UNITS - HELD, AHEAD = MT * BN > 320 ? 2 : 4;

struct Given {
  const char* x;         // M x K, IN 1 bfloat16, 2 float16
  long long pitch;       // bytes from row to row, a multiple of 16
  signed char* q;        // M x K, what map_a describes
  float* scale;          // M
  u32* counters;         // of chunks taken, then of each tile's rows
  float steps;           // scale = largest magnitude / steps
  int lead;              // how many rows may be quantized ahead of what this block multiplies
  u64* times;            // 16 a block, with TRACE: when what happened, in ns, and what took how long
};

// With TRACE: how many clocks a warp has spent on what, and on how many rows.
struct Spent {
#ifdef TRACE
  u32 clocks[6], last;
  __device__ __forceinline__ u32 now() const {
    u32 t;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(t) :: "memory");
    return t;
  }
  __device__ __forceinline__ Spent() : clocks{0, 0, 0, 0, 0, 0}, last(now()) {}
  __device__ __forceinline__ void on(int what) {
    const u32 t = now();
    clocks[what] += t - last, last = t;
  }
  __device__ __forceinline__ void tell(u64* times) {
    for (int i = 0; i < 6; i++) times[blockIdx.x * 16 + 8 + i] = clocks[i];
  }
  __device__ __forceinline__ void row() { clocks[5]++; }
#else
  __device__ __forceinline__ void on(int) {}
  __device__ __forceinline__ void tell(u64*) {}
  __device__ __forceinline__ void row() {}
#endif
};

struct Rows {
  Given given;
  u32 base;                 // shared memory: a word, a barrier a slot, then the slots
  int M, K, passes;         // how many tiles each tile's rows are read for

  __device__ int bytes() const { return K * 2; }
  __device__ u32 reached() const { return base; }
  __device__ u32 loaded(int slot) const { return base + 8 + 8 * slot; }
  __device__ u32 slot(int number) const {
    return base + (8 + 8 * SCALERS * SLOTS + 15) / 16 * 16 + number * bytes();
  }
  __device__ u32* ready(int block) const { return given.counters + (1 + block) * COUNTER; }
  __device__ u32 rows_of(int block) const { return min(TALL, M - block * TALL); }

  __device__ void start() const {
    for (int s = 0; s < SCALERS * SLOTS; s++)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(loaded(s)));
    reach(0);
  }

  __device__ __forceinline__ void note(int what) const {
#ifdef TRACE
    u64 now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now) :: "memory");
    given.times[blockIdx.x * 16 + what] = now;
#endif
  }

  // What the warp that copies tiles says and asks.

  // Rows before this one are what this block multiplies now.
  __device__ void reach(int row) const {
    asm volatile("st.relaxed.cta.shared::cta.u32 [%0], %1;" :: "r"(reached()), "r"(row) : "memory");
  }
  // Waits until the rows of a tile are in memory and the copy engine may read them. Their
  // counter is then one of tiles that waited; the last one's makes it 0.
  __device__ void await(int row) const {
    if (row >= M) return;  // a tile that only keeps the other block company
    const int block = row / TALL;
    const u32 all = rows_of(block);
    u32 there;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(there) : "l"(ready(block)) : "memory");
    } while (there < all);
    asm volatile("fence.proxy.async.global;" ::: "memory");
    asm volatile("red.relaxed.gpu.global.inc.u32 [%0], %1;"
                 :: "l"(ready(block)), "r"(all + passes - 1) : "memory");
  }

  // The warps that quantize. All lanes call these.

  // The next row that nobody has; from M on there is none. Each warp asks once for each row that it
  // gets and ASKED times more: the last of these questions makes the counter 0.
  __device__ __forceinline__ int take(int lane) const {
    int taken = 0;
    if (lane == 0)
      asm volatile("atom.relaxed.gpu.global.inc.u32 %0, [%1], %2;"
                   : "=r"(taken)
                   : "l"(given.counters), "r"(M + gridDim.x * (SCALERS * ASKED) - 1) : "memory");
    return taken;  // the others learn it when it is there
  }
  // Whether a row is near enough to what this block multiplies. Not to run ahead keeps rows in the
  // cache; what the block that is the furthest back waits for is near enough for everybody.
  __device__ __forceinline__ bool near(int row) const {
    int reach;
    asm volatile("ld.relaxed.cta.shared::cta.u32 %0, [%1];"
                 : "=r"(reach) : "r"(reached()) : "memory");
    return __any_sync(~0u, row < M && row < reach + given.lead);
  }
  __device__ __forceinline__ void load(int row, int at, int lane, u64 policy) const {
    if (lane) return;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"(loaded(at)), "r"(bytes()) : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1], %2, [%3], %4;"
                 :: "r"(slot(at)), "l"(given.x + row * given.pitch), "r"(bytes()),
                    "r"(loaded(at)), "l"(policy) : "memory");
  }
  __device__ __forceinline__ bool came(int at, u32 parity) const {
    u32 done;
    asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;"
                 " selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(loaded(at)), "r"(parity) : "memory");
    return __all_sync(~0u, done);
  }
  // A unit of a row: 0 where the row has ended. inside: it has not, that is known.
  __device__ __forceinline__ void read(u32 at, int unit, bool inside, u32 (&v)[4]) const {
    if (!inside) v[0] = v[1] = v[2] = v[3] = 0;
    if (inside || unit < K / UNIT)
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3]) : "r"(at + unit * 16) : "memory");
  }
  __device__ __forceinline__ void enlarge(u32 (&most)[4], const u32 (&v)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i++) most[i] = larger_halves(most[i], v[i] & 0x7FFF7FFF);
  }
  // The bits of a row's largest magnitude. Then all have read what they hold.
  __device__ __forceinline__ u32 largest(u32 at, int lane, u32 (&held)[HELD + 1][4]) const {
    u32 most[4] = {0, 0, 0, 0}, v[AHEAD][4];
#pragma unroll
    for (int j = 0; j < HELD; j++) read(at, lane + j * 32, j < UNITS - 1, held[j]);
#pragma unroll
    for (int j = 0; j < HELD; j++) enlarge(most, held[j]);
#pragma unroll 1
    for (int u = lane + HELD * 32; u < K / UNIT && REST; u += AHEAD * 32) {
#pragma unroll
      for (int i = 0; i < AHEAD; i++) read(at, u + i * 32, false, v[i]);
#pragma unroll
      for (int i = 0; i < AHEAD; i++) enlarge(most, v[i]);
    }
    most[0] = larger_halves(larger_halves(most[0], most[1]), larger_halves(most[2], most[3]));
    u32 bits = max(most[0] & 0xFFFF, most[0] >> 16);
    asm volatile("redux.sync.max.u32 %0, %0, 0xFFFFFFFF;" : "+r"(bits) :: "memory");
    return bits;
  }
  __device__ __forceinline__ void put(signed char* to, int unit, bool inside, const u32 (&v)[4],
                                      float inverse) const {
    if (inside || unit < K / UNIT)
      asm volatile("st.global.v2.b32 [%0], {%1, %2};"
                   :: "l"(to + unit * UNIT), "r"(four_bytes(v[0], v[1], inverse)),
                      "r"(four_bytes(v[2], v[3], inverse)) : "memory");
  }
  __device__ __forceinline__ void write(int row, u32 bits, u32 at, int lane,
                                        const u32 (&held)[HELD + 1][4]) const {
    const float absmax = magnitude(bits);
    const float inverse = divided(127.f, fmaxf(absmax, 1e-36f));  // a row of zeros stays one
    if (lane == 0) given.scale[row] = divided(absmax, given.steps);
    signed char* to = given.q + (long long)row * K;
#pragma unroll
    for (int j = 0; j < HELD; j++) put(to, lane + j * 32, j < UNITS - 1, held[j], inverse);
#pragma unroll 1
    for (int u = lane + HELD * 32; u < K / UNIT && REST; u += AHEAD * 32) {
      u32 v[AHEAD][4];
#pragma unroll
      for (int i = 0; i < AHEAD; i++) read(at, u + i * 32, false, v[i]);
#pragma unroll
      for (int i = 0; i < AHEAD; i++) put(to, u + i * 32, false, v[i], inverse);
    }
  }
  // What a warp's lanes wrote may be read by the copy engine of whoever sees the counter.
  __device__ __forceinline__ void announce(int row, int lane) const {
    asm volatile("fence.proxy.async.global;" ::: "memory");
    __syncwarp();
    const int block = row / TALL;
    if (lane == 0)
      asm volatile("red.release.gpu.global.inc.u32 [%0], %1;"
                   :: "l"(ready(block)), "r"(rows_of(block) + passes - 1) : "memory");
  }

  // The rows that come first are brought near while the first questions are under way: whoever gets
  // them, this block reads as many.
  __device__ void foresee(int warp, int lane) const {
    const int row = (lane * gridDim.x + blockIdx.x) * SCALERS + warp;
    if (lane < SLOTS && row < M)
      asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;"
                   :: "l"(given.x + row * given.pitch), "r"(bytes()) : "memory");
  }
  __device__ void work(int warp, int lane) const {
    foresee(warp, lane);
    u64 policy;  // x is read once: let the cache keep what is read again
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    // Rows that are under way, the one that is next to be worked on first, and whether they are loaded.
    int rows[SLOTS], asked, s = 0, written = -1;
    bool loading[SLOTS], first = warp + lane == 0;
    u32 parity = 0;
    Spent spent;
#pragma unroll
    for (int i = 0; i < SLOTS; i++) rows[i] = take(lane);
    asked = take(lane);
#pragma unroll
    for (int i = 0; i < SLOTS; i++) {
      rows[i] = __shfl_sync(~0u, rows[i], 0);
      loading[i] = near(rows[i]);
      if (loading[i]) load(rows[i], warp * SLOTS + i, lane, policy);
    }
    while (rows[0] < M) {
      const int row = rows[0], own = warp * SLOTS + s;
      // What was written is announced now if there is nothing better to do.
      if (written >= 0 && !(loading[0] && came(own, parity))) {
        announce(written, lane), written = -1;
        if (first) note(5), first = false;
      }
      if (!loading[0]) {
        while (!near(row)) __nanosleep(200);
        load(row, own, lane, policy);
      }
      wait(loaded(own), parity);
      spent.on(0);  // waiting for a row, announcing the one before
      if (first && written < 0) note(4);
      u32 held[HELD + 1][4];
      const u32 bits = largest(slot(own), lane, held);
      spent.on(1);
      const int next = __shfl_sync(~0u, asked, 0);
      const bool soon = near(next);
      if (REST == 0 && soon) load(next, own, lane, policy);
      spent.on(2);  // learning of the next row, starting to load it
      if (written >= 0) {
        announce(written, lane);
        if (first) note(5), first = false;
      }
      asked = take(lane);  // not before: announcing waits for what is under way
      spent.on(3);
      write(row, bits, slot(own), lane, held);
      if (REST > 0) {
        __syncwarp();  // all have read the slot
        if (soon) load(next, own, lane, policy);
      }
      spent.on(4), spent.row();
      written = row;
#pragma unroll
      for (int i = 0; i + 1 < SLOTS; i++) rows[i] = rows[i + 1], loading[i] = loading[i + 1];
      rows[SLOTS - 1] = next, loading[SLOTS - 1] = soon;
      if (++s == SLOTS) s = 0, parity ^= 1;
    }
    if (written >= 0) announce(written, lane);
    if (warp + lane == 0) note(6), spent.tell(given.times);
  }
};
