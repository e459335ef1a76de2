/* A CUDA driver and a cuBLASLt that really multiply, on the CPU, in every memory order the kernel uses.
 * Built by the tests, so that a machine without a GPU still runs the calls, layouts and comparisons of
 * kernels/cublaslt_igemm.py. PRETEND in the environment names one fault to show.
 * Orders as cublasLt.h describes them; where it leaves the place inside a tile open, any place will do.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int pretends(const char *fault) {
    const char *set = getenv("PRETEND");
    return set && !strcmp(set, fault);
}

/* the driver */
int cuInit(unsigned flags) {
    (void)flags;
    return pretends("no-device") ? 100 : pretends("mismatch") ? 803 : pretends("fabric") ? 802 :
           pretends("compat") ? 804 : pretends("unknown") ? 999 : 0;
}
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return index ? 101 : 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = context; return pretends("full") ? 2 : pretends("occupied") ? 46 : 0; }
int cuCtxSetCurrent(void *context) { (void)context; return 0; }
int cuCtxSynchronize(void) { return pretends("illegal-address") ? 700 : 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { (void)device; *value = which == 75 ? 8 : which == 76 ? 6 : 0; return 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = (size_t)1 << 34; *free = pretends("starved") ? 12 << 20 : *total; return 0;
}
int cuDeviceGetName(char *name, int size, int device) { (void)device; strncpy(name, "Pretend GPU", size); return 0; }
int cuMemAlloc_v2(void **block, size_t size) { *block = malloc(size); return 0; }
int cuMemFree_v2(void *block) { free(block); return 0; }
int cuMemsetD8_v2(void *block, unsigned char value, size_t size) { memset(block, value, size); return 0; }
int cuMemcpyHtoD_v2(void *to, const void *from, size_t size) { memcpy(to, from, size); return 0; }
int cuMemcpyDtoD_v2(void *to, const void *from, size_t size) { memcpy(to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
    if (pretends("flipped-bit")) ((char *)to)[size / 3] ^= 4;
    return 0;
}
int cuGetErrorName(int status, const char **name) {
    *name = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : status == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" :
            status == 46 ? "CUDA_ERROR_DEVICE_UNAVAILABLE" : status == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" : "CUDA_ERROR";
    return 0;
}


/* the driver's compiler: it reads PTX up to 8.8, and its one kernel is out[i] = i * factor + offset */
int cuModuleLoadDataEx(void **module, const char *text, unsigned count, const int *options, void **values) {
    const char *at = strstr(text, ".version ");
    double version = at ? atof(at + 9) : 0;
    *module = module;
    for (unsigned i = 0; i < count; i++) {
        if (options[i] == 5 && version > 8.8)
            strcpy(values[i], pretends("terse") ? "" : "ptxas application ptx input, line 2; fatal   : "
                   "Unsupported .version 99.9; current version is '8.8'");
        if (options[i] == 3) strcpy(values[i], "ptxas info : Compiling entry function 'fill' for 'sm_86'");
    }
    if (pretends("no-compiler")) return 221;
    return version > 8.8 ? 222 : 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = module; return strcmp(name, "fill") ? 500 : 0; }
int cuModuleUnload(void *module) { (void)module; return 0; }
int cuLaunchKernel(void *function, unsigned blocks, unsigned by, unsigned bz, unsigned threads, unsigned ty, unsigned tz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    (void)function; (void)shared; (void)stream; (void)extra;
    uint32_t *out = *(uint32_t **)arguments[0], factor = *(uint32_t *)arguments[1], offset = *(uint32_t *)arguments[2];
    if (by * bz * ty * tz != 1) return 1;
    if (pretends("launch-failed")) return 719;
    for (uint32_t i = 0; i < blocks * threads; i++) out[i] = i * factor + offset + (pretends("miscompiled") && i == 9);
    return 0;
}

/* cuBLASLt */
typedef struct { int kind, order; uint64_t rows, columns; int64_t ld; } Layout;
typedef struct { int trans[2]; } Product;

static size_t place(const Layout *m, uint64_t row, uint64_t column) {
    uint64_t panel = column / 32 * m->ld, in = column % 32, r;
    switch (m->order) {
    case 0: return column * m->ld + row;
    case 1: return row * m->ld + column;
    case 2: return panel + row * 32 + in;
    case 3: r = row % 8; return panel + row / 8 * 256 + ((r % 2 * 8 + in / 4) * 4 + r / 2) * 4 + in % 4;
    default: r = row % 32; return panel + row / 32 * 1024 + (((r % 8) / 2 * 4 + r / 8) * 2 + r % 2) * 32 + in;
    }
}
static int64_t get(const Layout *m, const void *data, uint64_t row, uint64_t column) {
    size_t at = place(m, row, column);
    return m->kind == 3 ? ((const int8_t *)data)[at] : ((const int32_t *)data)[at];
}
static void set(const Layout *m, void *data, uint64_t row, uint64_t column, int64_t value) {
    size_t at = place(m, row, column);
    if (m->kind == 3) ((int8_t *)data)[at] = value; else ((int32_t *)data)[at] = value;
}

size_t cublasLtGetVersion(void) { return 130100; }
int cublasLtCreate(void **handle) { *handle = handle; return pretends("not-initialized") || pretends("starved") ? 1 : 0; }
int cublasLtMatrixLayoutCreate(Layout **made, int kind, uint64_t rows, uint64_t columns, int64_t ld) {
    Layout layout = {kind, 0, rows, columns, ld};
    *made = malloc(sizeof layout); **made = layout; return 0;
}
int cublasLtMatrixLayoutSetAttribute(Layout *m, int which, const int32_t *value, size_t size) {
    if (which != 1 || size != 4) return 7;
    m->order = *value; return 0;
}
int cublasLtMatrixTransformDescCreate(void **made, int scale) { *made = made; return scale ? 7 : 0; }
int cublasLtMatrixTransform(void *handle, void *description, const float *one, const void *from, Layout *source,
                            const float *zero, const void *c, Layout *c_layout, void *to, Layout *target, void *stream) {
    (void)handle; (void)description; (void)c; (void)c_layout; (void)stream;
    if (*one != 1 || *zero || source->rows != target->rows || source->columns != target->columns) return 7;
    for (uint64_t row = 0; row < source->rows; row++)
        for (uint64_t column = 0; column < source->columns; column++)
            set(target, to, row, column, get(source, from, row, column));
    return 0;
}
int cublasLtMatmulDescCreate(Product **made, int compute, int scale) {
    *made = calloc(1, sizeof **made); return compute == 72 && scale == 10 ? 0 : 7;
}
int cublasLtMatmulDescSetAttribute(Product *p, int which, const int32_t *value, size_t size) {
    if ((which != 3 && which != 4) || size != 4) return 7;
    p->trans[which - 3] = *value; return 0;
}
int cublasLtMatmulPreferenceCreate(void **made) { *made = made; return 0; }
int cublasLtMatmulPreferenceSetAttribute(void *p, int which, const uint64_t *value, size_t size) {
    (void)p; (void)value; return which == 1 && size == 8 ? 0 : 7;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, Product *p, Layout *a, Layout *b, Layout *c, Layout *d, void *preference,
                                   int wanted, void *result, int *count) {
    (void)handle; (void)c; (void)d; (void)preference; (void)wanted; (void)result;
    *count = 0;
    if (a->order == 0 && p->trans[0] && (a->rows % 4 || a->columns % 4 || a->ld % 4)) return 15; /* as documented */
    if (pretends("not-supported") && a->order == 2) return 15;
    if (pretends("no-ampere") && b->order == 4) return 0;
    *count = 1; return 0;
}
int cublasLtMatmulAlgoCapGetAttribute(const void *algo, int which, uint64_t *flags, size_t size, size_t *written) {
    (void)algo; *written = 8;
    *flags = pretends("fp32-sums") ? 0x201 : 0x804;
    return which == 15 && size == 8 ? 0 : 7;
}
int cublasLtMatmulAlgoInit(void *handle, int compute, int scale, int a, int b, int c, int d, int number, void *algo) {
    (void)handle; (void)algo;
    return compute == 72 && scale == 10 && a == 3 && b == 3 && c == 10 && d == 10 && number == 21 ? 0 : 7;
}
int cublasLtMatmul(void *handle, Product *p, const int32_t *one, const void *a, Layout *la, const void *b, Layout *lb,
                   const int32_t *zero, const void *c, Layout *lc, void *d, Layout *ld, void *algo, void *workspace,
                   size_t size, void *stream) {
    (void)handle; (void)c; (void)lc; (void)algo; (void)workspace; (void)size; (void)stream;
    uint64_t depth = p->trans[0] ? la->rows : la->columns;
    if (*one != 1 || *zero || depth != (p->trans[1] ? lb->columns : lb->rows)) return 7;
    for (uint64_t row = 0; row < ld->rows; row++)
        for (uint64_t column = 0; column < ld->columns; column++) {
            int64_t sum = pretends("off-by-one") && row == 5 && column == 7 && depth < 1000;
            sum += pretends("odd-sums") && row == 5 && column == 7 && depth == 1540;
            for (uint64_t k = 0; k < depth; k++)
                sum += (p->trans[0] ? get(la, a, k, row) : get(la, a, row, k)) *
                       (p->trans[1] ? get(lb, b, column, k) : get(lb, b, k, column));
            set(ld, d, row, column, sum);
        }
    if (pretends("crash")) abort();
    return 0;
}
