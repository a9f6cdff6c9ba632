// A whole Mamba layer as an operation on tensors.
#pragma once
#include "layer_op.h"
#include "mamba.h"

struct MambaCall {
    MambaParts parts;
    LayerCall layer;
    void *grad_norm, *grad_in_proj, *grad_conv_weight, *grad_conv_bias, *grad_x_proj;
    void *grad_dt_proj, *grad_dt_bias, *grad_A, *grad_skip, *grad_out_proj;
};

namespace WIDTH {

template <class T> int mamba_sizes(MambaCall& call) {
    return layer_sizes<T, MambaChunk<T>>(call.layer, call.parts);
}

template <class T> int mamba_forward(const MambaCall& call) {
    return layer_forward<T, MambaChunk<T>>(call.layer, call.parts);
}

template <class T> int mamba_backward(const MambaCall& call) {
    auto leave = [&](const MambaSums<T>& sum, const MambaWeights<T>& q) {
        if (call.grad_norm) narrow(sum.norm, 1, q.M, call.grad_norm, q.m);
        narrow(sum.in_u, q.d, q.M, call.grad_in_proj, q.m);
        narrow(sum.in_z, q.d, q.M, (T*)call.grad_in_proj + q.d * q.m, q.m);
        turn_back(sum.conv_weight, q.D, (T*)call.grad_conv_weight, q.d, q.w);
        if (call.grad_conv_bias) narrow(sum.conv_bias, 1, q.D, call.grad_conv_bias, q.d);
        narrow(sum.x_proj, q.s, q.D, call.grad_x_proj, q.d);
        narrow(sum.dt_proj, q.d, q.R, call.grad_dt_proj, q.r);
        narrow(sum.dt_bias, 1, q.D, call.grad_dt_bias, q.d);
        turn_back(sum.A, q.D, (T*)call.grad_A, q.d, q.n);
        narrow(sum.skip, 1, q.D, call.grad_skip, q.d);
        narrow(sum.out, q.m, q.D, call.grad_out_proj, q.d);
    };
    return layer_backward<T, MambaChunk<T>, MambaAdjoint<T>>(call.layer, call.parts, leave);
}

}  // namespace WIDTH
