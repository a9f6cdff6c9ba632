// Everything for one width of vector; built once for each width and linked into one library.
#include "conv.h"
#include "mamba2_op.h"
#include "mamba_op.h"
#include "selective_op.h"
#include "ssd_op.h"
#include "stream.h"

#define EXPORT extern "C" __attribute__((visibility("default")))
#define DOOR(name, call_type)                                                              \
    EXPORT int JOIN(fc_##name##_float_, LANES)(call_type* c) {                  \
        return WIDTH::name<float>(*c);                                                     \
    }                                                                                      \
    EXPORT int JOIN(fc_##name##_double_, LANES)(call_type* c) {                 \
        return WIDTH::name<double>(*c);                                                    \
    }

DOOR(selective_forward, SelectiveCall)
DOOR(selective_backward, SelectiveCall)
DOOR(conv_forward, ConvCall)
DOOR(conv_backward, ConvCall)
DOOR(mamba_sizes, MambaCall)
DOOR(mamba_forward, MambaCall)
DOOR(mamba_backward, MambaCall)
DOOR(ssd_forward, SsdCall)
DOOR(ssd_backward, SsdCall)
DOOR(mamba2_sizes, Mamba2Call)
DOOR(mamba2_forward, Mamba2Call)
DOOR(mamba2_backward, Mamba2Call)

#define STREAM_DOOR(name)                                                                  \
    EXPORT int JOIN(fc_##name##_float_, LANES)(StreamCall* c) { return WIDTH::name<float>(*c); } \
    EXPORT int JOIN(fc_##name##_double_, LANES)(StreamCall* c) { return WIDTH::name<double>(*c); }

STREAM_DOOR(stream_sizes)
STREAM_DOOR(stream_pack)
STREAM_DOOR(stream_open)
STREAM_DOOR(stream_advance)
STREAM_DOOR(stream_read)
STREAM_DOOR(stream_write)

#if LANES == 4
// The widest vectors that this processor runs.
EXPORT int fc_widest() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}
// Digest of the sources, so that an old build is never taken for these.
EXPORT const char* fc_sources() { return SOURCES; }
#endif
