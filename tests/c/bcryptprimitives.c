/* For Wine 8, which lacks this library of Windows: random bytes, which Rust's standard library asks it for. */
#include <stddef.h>
#include <stdint.h>

__declspec(dllimport) uint8_t __stdcall SystemFunction036(void *data, uint32_t size); /* RtlGenRandom, of advapi32 */

__declspec(dllexport) int32_t __stdcall ProcessPrng(uint8_t *data, size_t size) {
  const uint32_t most = 1U << 16;
  while (size > 0) {
    const uint32_t part = size < most ? (uint32_t)size : most;
    if (!SystemFunction036(data, part)) return 0;
    data += part;
    size -= part;
  }
  return 1;
}
