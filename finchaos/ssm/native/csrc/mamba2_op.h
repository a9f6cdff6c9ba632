// A whole Mamba-2 layer as an operation on tensors.
#pragma once
#include "layer_op.h"
#include "mamba2.h"
#include "ssd_op.h"

struct Mamba2Call {
    Mamba2Parts parts;
    LayerCall layer;
    void *grad_norm, *grad_in_proj, *grad_conv_weight, *grad_conv_bias, *grad_dt_bias, *grad_A;
    void *grad_skip, *grad_gate_norm, *grad_out_proj;
};

namespace WIDTH {

template <class T> int mamba2_sizes(Mamba2Call& call) {
    return layer_sizes<T, Mamba2Chunk<T>>(call.layer, call.parts);
}

template <class T> int mamba2_forward(const Mamba2Call& call) {
    return layer_forward<T, Mamba2Chunk<T>>(call.layer, call.parts);
}

template <class T> int mamba2_backward(const Mamba2Call& call) {
    auto leave = [&](const Mamba2Sums<T>& sum, const Mamba2Weights<T>& q) {
        const SsdSizes& s = q.s;
        if (call.grad_norm) narrow(sum.norm, 1, q.M, call.grad_norm, q.m);
        T *z = (T*)call.grad_in_proj, *mixed = z + s.d * q.m, *dt = mixed + q.c * q.m;
        for (int64_t i = 0; i < s.d; i++) memcpy(z + i * q.m, sum.in_z + q.at[i] * q.M, q.m * sizeof(T));
        for (int64_t i = 0; i < q.c; i++) {
            memcpy(mixed + i * q.m, sum.in_mixed + q.at[i] * q.M, q.m * sizeof(T));
            for (int64_t k = 0; k < q.w; k++)
                ((T*)call.grad_conv_weight)[i * q.w + k] = sum.conv_weight[k * q.K + q.at[i]];
            if (call.grad_conv_bias) ((T*)call.grad_conv_bias)[i] = sum.conv_bias[q.at[i]];
        }
        narrow(sum.in_dt, s.h, q.M, dt, q.m);
        narrow(sum.dt_bias, 1, s.H, call.grad_dt_bias, s.h);
        for (int64_t i = 0; i < s.h; i++) ((T*)call.grad_A)[i] = T(sum.A[i]);
        leave_skip(s, sum.skip, q.skip_by_channel, (T*)call.grad_skip);
        if (call.grad_gate_norm) gathered(s, sum.gate_norm, (T*)call.grad_gate_norm);
        for (int64_t k = 0; k < q.m; k++) gathered(s, sum.out + k * s.D, (T*)call.grad_out_proj + k * s.d);
    };
    return layer_backward<T, Mamba2Chunk<T>, Mamba2Adjoint<T>>(call.layer, call.parts, leave);
}

}  // namespace WIDTH
