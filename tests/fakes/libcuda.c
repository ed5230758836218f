/* A libcuda that has one small GPU in the host's memory: it does what our kernels do, by their names,
 * writes down who was called, and breaks one thing where FAKE_CUDA_BREAK says so. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (48u << 20)
#define UNITS 2u
typedef uint64_t ptr;

static const char *const NAMES[] = {"",           "fill_f32",  "fill_bf16", "fill_u32",
                                    "check_u32", "digest_u32", "gemm_f32",  "fma_f32"};
static size_t used, sizes[64];
static ptr places[64];
static unsigned products;

static int breaks(const char *what) {
  const char *said = getenv("FAKE_CUDA_BREAK");
  return said && !strcmp(said, what);
}
static void note(const char *name) {
  const char *path = getenv("FAKE_CUDA_LOG");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (file) { fprintf(file, "%s\n", name); fclose(file); }
}
static uint32_t mixed(uint64_t index, uint32_t seed) {
  uint32_t x = (uint32_t)index * 0x9E3779B1u + seed;
  x ^= x >> 15; x *= 0x85EBCA77u;
  return x ^ x >> 13;
}
static float unit(uint64_t index, uint32_t seed) {
  return (float)(mixed(index, seed) >> 8) * 0x1p-23f - 1.0f;
}

int cuInit(unsigned flags) { note("cuInit"); return breaks("init") ? 100 : (int)flags; }
int cuGetErrorName(int code, const char **out) {
  *out = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY"
       : code == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR_UNKNOWN";
  return 0;
}
int cuDeviceGetCount(int *out) { note("cuDeviceGetCount"); *out = breaks("no-gpu") ? 0 : 1; return 0; }
int cuDeviceGet(int *out, int index) { *out = index; return index ? 101 : 0; }
int cuDeviceGetName(char *out, int size, int device) {
  (void)device; snprintf(out, (size_t)size, "NVIDIA Fake"); return 0;
}
int cuDeviceGetPCIBusId(char *out, int size, int device) {
  (void)device; snprintf(out, (size_t)size, "0000:3B:00.0"); return 0;
}
int cuDeviceGetUuid(unsigned char *out, int device) {
  (void)device; for (int i = 0; i < 16; i++) out[i] = (unsigned char)i; return 0;
}
int cuDeviceGetAttribute(int *out, int attribute, int device) {
  (void)device; *out = attribute == 75 ? 9 : attribute == 76 ? 0 : (int)UNITS; return 0;
}
int cuDevicePrimaryCtxRetain(void **out, int device) {
  (void)device; note("cuDevicePrimaryCtxRetain"); *out = out; return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  (void)device; note("cuDevicePrimaryCtxRelease_v2"); return 0;
}
int cuCtxSetCurrent(void *context) { return context ? 0 : 201; }
int cuCtxSynchronize(void) { return 0; }
int cuModuleLoadData(void **out, const char *text) {
  note("cuModuleLoadData");
  *out = out;
  return breaks("jit") || !strstr(text, ".entry fill_f32") ? 218 : 0;
}
int cuModuleGetFunction(void **out, void *module, const char *name) {
  (void)module;
  for (size_t i = 1; i < sizeof NAMES / sizeof *NAMES; i++)
    if (!strcmp(NAMES[i], name)) { *out = (void *)i; return 0; }
  return 500;
}
int cuMemGetInfo_v2(size_t *left, size_t *total) { *left = ROOM - used; *total = ROOM; return 0; }
int cuMemAlloc_v2(ptr *out, size_t size) {
  note("cuMemAlloc_v2");
  if (breaks("alloc") || used + size > ROOM) return 2;
  for (int i = 0; i < 64; i++)
    if (!places[i]) {
      places[i] = *out = (ptr)(uintptr_t)malloc(size);
      used += sizes[i] = size;
      return 0;
    }
  return 2;
}
int cuMemFree_v2(ptr place) {
  note("cuMemFree_v2");
  for (int i = 0; i < 64; i++)
    if (places[i] == place) {
      free((void *)(uintptr_t)place);
      used -= sizes[i]; places[i] = 0;
      return 0;
    }
  return 1;
}
int cuMemHostAlloc(void **out, size_t size, unsigned flags) {
  note("cuMemHostAlloc"); (void)flags; *out = malloc(size); return 0;
}
int cuMemFreeHost(void *place) { note("cuMemFreeHost"); free(place); return 0; }
int cuMemsetD32_v2(ptr out, unsigned value, size_t count) {
  for (size_t i = 0; i < count; i++) ((uint32_t *)(uintptr_t)out)[i] = value;
  return 0;
}
int cuMemcpyHtoD_v2(ptr out, const void *from, size_t size) {
  note("cuMemcpyHtoD_v2"); memcpy((void *)(uintptr_t)out, from, size); return 0;
}
int cuMemcpyDtoD_v2(ptr out, ptr from, size_t size) {
  note("cuMemcpyDtoD_v2"); memcpy((void *)(uintptr_t)out, (void *)(uintptr_t)from, size); return 0;
}
int cuMemcpyDtoH_v2(void *out, ptr from, size_t size) {
  memcpy(out, (void *)(uintptr_t)from, size);
  if (size > 4096) note("cuMemcpyDtoH_v2");
  if (size > (1u << 20) && breaks("copy")) ((char *)out)[size / 2] ^= 1;
  return 0;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **given, void **extra) {
  const char *name = NAMES[(size_t)function];
  (void)gy; (void)gz; (void)by; (void)bz; (void)shared; (void)stream; (void)extra;
  note(name);
  void *data = (void *)(uintptr_t)*(ptr *)given[0];
  if (!strcmp(name, "fma_f32")) {
    unsigned steps = *(unsigned *)given[3];
    for (unsigned i = 0; i < gx * bx; i++) ((float *)data)[i] = (float)(steps * 8);
    if (breaks("vector")) ((float *)data)[gx] += 1;
    return 0;
  }
  if (!strcmp(name, "gemm_f32")) {
    float *a = data, *b = (float *)(uintptr_t)*(ptr *)given[1];
    float *c = (float *)(uintptr_t)*(ptr *)given[2];
    unsigned n = *(unsigned *)given[3];
    for (unsigned j = 0; j < n; j++)
      for (unsigned i = 0; i < n; i++) {
        float sum = 0;
        for (unsigned k = 0; k < n; k++) sum += a[i + k * n] * b[k + j * n];
        c[i + j * n] = breaks("matrix") ? -sum : sum;
      }
    if (products++ && breaks("drift")) ((uint32_t *)c)[0] ^= 1;
    return 0;
  }
  uint32_t seed = *(uint32_t *)given[1], *words = data;
  uint64_t n = *(uint64_t *)given[2], sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    if (!strcmp(name, "fill_f32")) ((float *)data)[i] = unit(i, seed);
    else if (!strcmp(name, "fill_bf16")) {
      float value = unit(i, seed);
      uint32_t bits;
      memcpy(&bits, &value, 4);
      ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
    } else if (!strcmp(name, "fill_u32")) words[i] = mixed(i, seed);
    else if (!strcmp(name, "check_u32")) sum += words[i] != mixed(i, seed);
    else sum += mixed(i, words[i] ^ (uint32_t)i);
  }
  if (!strcmp(name, "fill_u32") && breaks("memory")) words[n / 2] ^= 1u << 7;
  *(uint64_t *)(uintptr_t)*(ptr *)given[3] += sum;
  return 0;
}
