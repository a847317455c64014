/* Launch the AdamW of fastadam on an NVIDIA GPU, through the driver API.
 *
 *     fastadam export --ptx adamw -o adamw.ptx --header adamw_cuda.h
 *     cc cuda.c -lcuda -o cuda && ./cuda adamw.ptx
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adamw_cuda.h"

/* The functions of cuda.h that are needed, so that no toolkit is. */
typedef uint64_t address;
int cuInit(unsigned), cuDeviceGet(int *, int), cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *), cuModuleLoadData(void **, const void *), cuCtxSynchronize(void);
int cuModuleGetFunction(void **, void *, const char *);
int cuMemAlloc_v2(address *, size_t), cuMemsetD8_v2(address, unsigned char, size_t);
int cuMemcpyHtoD_v2(address, const void *, size_t), cuMemcpyDtoH_v2(void *, address, size_t);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   void *, void **, void **);

enum { N = 1 << 20, CHUNK = 4096, CHUNKS = N / CHUNK };

static void check(int code, const char *what)
{
    if (code) fprintf(stderr, "%s: CUDA error %d\n", what, code), exit(1);
}

/* Device memory with a copy of some bytes, or zeros. */
static address on_device(const void *data, size_t size)
{
    address where;
    check(cuMemAlloc_v2(&where, size), "cuMemAlloc");
    if (data) check(cuMemcpyHtoD_v2(where, data, size), "cuMemcpyHtoD");
    else check(cuMemsetD8_v2(where, 0, size), "cuMemsetD8");
    return where;
}

int main(int argc, char **argv)
{
    static char ptx[1 << 20];
    FILE *file = fopen(argc > 1 ? argv[1] : "adamw.ptx", "rb");
    if (!file || !fread(ptx, 1, sizeof ptx - 1, file)) return fprintf(stderr, "no PTX\n"), 1;

    int device;
    void *context, *module, *kernel;
    check(cuInit(0), "cuInit");
    check(cuDeviceGet(&device, 0), "cuDeviceGet");
    check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    check(cuModuleLoadData(&module, ptx), "cuModuleLoadData");
    check(cuModuleGetFunction(&kernel, module, FASTADAM_ADAMW_FLOAT32_ENTRY), "the entry");

    static float param[N], grad[N];
    static fastadam_chunk chunks[CHUNKS];
    for (int i = 0; i < N; i++) param[i] = 1, grad[i] = 2;
    for (int k = 0; k < CHUNKS; k++) chunks[k] = (fastadam_chunk){0, k * CHUNK, (k + 1) * CHUNK};
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999; /* of the first step */
    fastadam_adamw_float32_constants constants = {
        .step_size = (float)(lr / (1 - beta1)), .beta1_comp = (float)(1 - beta1),
        .beta2 = (float)beta2, .beta2_comp = (float)(1 - beta2),
        .root_scale = (float)(1 / sqrt(1 - beta2)), .eps = 1e-8f, .decay = (float)(lr * 1e-2)};
    fastadam_adamw_float32_row row = {
        .record = 0, .param = on_device(param, sizeof param), .grad = on_device(grad, sizeof grad),
        .exp_avg = on_device(0, sizeof param), .exp_avg_sq = on_device(0, sizeof param)};
    fastadam_task task = {on_device(&row, sizeof row), on_device(chunks, sizeof chunks),
                          on_device(&constants, sizeof constants), 0, CHUNKS};
    address where = on_device(&task, sizeof task);
    void *arguments[] = {&where};
    check(cuLaunchKernel(kernel, 264, 1, 1, FASTADAM_ADAMW_FLOAT32_THREADS, 1, 1, 0, 0, arguments, 0),
          "cuLaunchKernel");
    check(cuCtxSynchronize(), "cuCtxSynchronize");
    check(cuMemcpyDtoH_v2(param, row.param, sizeof param), "cuMemcpyDtoH");
    printf("%.6f\n", param[N - 1]); /* 0.998990 */
    return 0;
}
