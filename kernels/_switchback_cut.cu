// What the products for SM 9.0a share: how C is cut into tiles and in which order, how tiles are copied
// in, how sums are rescaled into panels that are copied out. _switchback_hopper.cu says what is set.

constexpr int ROWS = 64 * MT, BM = PINGPONG ? ROWS : 2 * ROWS, BK = 128;
constexpr int A_BYTES = BM * BK, STAGE_BYTES = (BM + BN) * BK;
constexpr int BLOCKS = CLUSTER * SPLIT;  // of a cluster
constexpr int OUT_BYTES = OUT == 3 ? 4 : 2;
constexpr int PANEL = OUT == 3 || BN % 64 ? 32 : 64;  // columns of C that are written at a time
constexpr int PITCH = PANEL * OUT_BYTES, PANEL_BYTES = 16 * PITCH;  // a warp's 16 rows
constexpr int RELEASES = CLUSTER * (PINGPONG ? 4 : 8);  // a warp each
// Registers of a thread that multiplies, and of the others: a block has 3 * 168 for a thread of each
// group, and asking for more than are left waits for ever.
#if FUSED
constexpr int FORESEEN = 16;  // steps of B brought near beforehand
constexpr int MANY = BN * MT <= 256 ? 184 : BN * MT <= 320 ? 200 : 232;
#else
constexpr int FORESEEN = 4;  // more would keep the copy engine from the first tiles of A
constexpr int MANY = 232;
#endif
constexpr int FEW = 3 * 168 - 2 * MANY;

// Copies a box to shared memory here, or to the same place in each block of the cluster.
template <bool EVERYWHERE>
__device__ __forceinline__ void copy_in(u32 to, const TensorMap* map, int x, int y, u32 barrier) {
  if (EVERYWHERE)
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
                 :: "r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier), "h"((u16)((1 << CLUSTER) - 1))
                 : "memory");
  else
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3}], [%4];"
                 :: "r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}

// The tiles, and this block's part of their depth, in an order in which neighbours in time share rows of B: GROUP rows of tiles at a time.
// What the copy engine copies from beyond a matrix's end, zeros, takes it longer than rows that are
// there: a tile that would pass the end of A or B starts earlier, and repeats what others have.
// Where A is quantized here, others wait for its rows by the tile that they are of: it does not.
struct Tiles {
  int rows, columns, first, steps, rank, lowest, rightmost;

  __device__ Tiles(int M, int N, int K)
      : first(0), rank(0), lowest(FUSED ? 0x7FFFFFFF : max(M - BM, 0)),
        rightmost(FUSED ? 0x7FFFFFFF : max(N - BN, 0)) {
    if (CLUSTER > 1) asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    rows = (M + BM - 1) / BM, columns = (N + BN - 1) / BN, steps = (K + BK - 1) / BK;
    if (SHARE_B) rows = (rows + CLUSTER - 1) / CLUSTER;
    else columns = (columns + CLUSTER - 1) / CLUSTER;
    if (SPLIT > 1) {
      const int part = blockIdx.x % SPLIT;
      first = steps * part / SPLIT, steps = steps * (part + 1) / SPLIT - first;
    }
  }
  // The first row after those of the GROUP that a tile belongs to.
  __device__ int group_end(int number) const {
    return min(rows, (number / (GROUP * columns) + 1) * GROUP) * BM * (SHARE_B ? CLUSTER : 1);
  }
  __device__ void place(int number, int& row, int& column) const {
    int first = number / (GROUP * columns) * GROUP, rest = number % (GROUP * columns);
    int height = min(rows - first, GROUP);
    row = first + rest % height, column = rest / height;
    if (SHARE_B) row = row * CLUSTER + rank;
    else column = column * CLUSTER + rank;
    row = min(row * BM, lowest), column = min(column * BN, rightmost);
  }
};

// The scales and the bias of a tile's columns, one or two a thread: read early, put down later.
struct Columns {
  float scale[2], bias[2];

  __device__ void read(const float* scale_b, int step_b, const void* plus, int left, int N,
                       int thread) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int at = thread + 128 * i, column = left + at;
      bool there = at < BN && column < N;
      scale[i] = there ? scale_b[column * step_b] : 0.f;
      bias[i] = there ? bias_of(plus, column) : 0.f;
    }
  }
  __device__ void put(u32 columns, int thread) const {
#pragma unroll
    for (int i = 0; i < 2; i++)
      if (thread + 128 * i < BN)
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};"
                     :: "r"(columns + (thread + 128 * i) * 8), "f"(scale[i]), "f"(bias[i])
                     : "memory");
  }
};

// A panel's rows are PITCH bytes, 128 or 64, in chunks of 16 that are swizzled as the map says.
__device__ __forceinline__ u32 chunk_at(u32 panel, int row, int chunk) {
  return panel + row * PITCH + ((chunk ^ (PITCH == 128 ? row & 7 : row >> 1 & 3)) << 4);
}

// Rescales PANEL columns of a warp's 16 rows and puts them into a panel.
__device__ __forceinline__ void fill(u32 panel, const int* d, int lane, float above, float below,
                                     u32 columns) {
#pragma unroll
  for (int j = 0; j < PANEL / 8; j += 2) {
    float y[2][4];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float scale[2], bias[2];
      asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                   : "=f"(scale[0]), "=f"(bias[0]), "=f"(scale[1]), "=f"(bias[1])
                   : "r"(columns + ((j + h) * 8 + lane % 4 * 2) * 8));
      const int* sum = d + (j + h) * 4;
#pragma unroll
      for (int i = 0; i < 4; i++)
        y[h][i] = (float)sum[i] * (i < 2 ? above : below) * scale[i % 2] + bias[i % 2];
    }
    if (OUT == 3) {
#pragma unroll
      for (int h = 0; h < 2; h++)
#pragma unroll
        for (int low = 0; low < 2; low++)
          asm volatile("st.shared.v2.f32 [%0], {%1, %2};"
                       :: "r"(chunk_at(panel, low * 8 + lane / 4, (j + h) * 2 + lane % 4 / 2)
                              + lane % 2 * 8),
                          "f"(y[h][low * 2]), "f"(y[h][low * 2 + 1]) : "memory");
    } else {
      asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                   :: "r"(chunk_at(panel, lane % 16, j + lane / 16)),
                      "r"(rounded(y[0][0], y[0][1])), "r"(rounded(y[0][2], y[0][3])),
                      "r"(rounded(y[1][0], y[1][1])), "r"(rounded(y[1][2], y[1][3])) : "memory");
    }
  }
}
