/* A cuBLAS that multiplies in the host's memory, for tests/fakes/libcuda.c. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static float at(const void *data, int type, size_t index) {
  if (type == 0) return ((const float *)data)[index];
  uint32_t bits = (uint32_t)((const uint16_t *)data)[index] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
int cublasCreate_v2(void **handle) { *handle = handle; return getenv("FAKE_CUBLAS_BROKEN") ? 1 : 0; }
int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const float *alpha,
                 const void *a, int a_type, int lda, const void *b, int b_type, int ldb,
                 const float *beta, void *c, int c_type, int ldc, int compute, int algorithm) {
  if (!handle || ta || tb || *alpha != 1 || *beta != 0 || c_type || compute != 68 || algorithm != -1)
    return 7;
  for (int j = 0; j < n; j++)
    for (int i = 0; i < m; i++) {
      float sum = 0;
      for (int p = 0; p < k; p++)
        sum += at(a, a_type, (size_t)i + (size_t)p * (size_t)lda)
             * at(b, b_type, (size_t)p + (size_t)j * (size_t)ldb);
      ((float *)c)[(size_t)i + (size_t)j * (size_t)ldc] = sum;
    }
  return 0;
}
