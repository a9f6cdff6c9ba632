// A whole Mamba layer as an operation on tensors.
#pragma once
#include "mamba.h"

struct MambaCall {
    MambaParts parts;
    int64_t batch, time, threads;
    void* x;  // (b t m)
    const int64_t* lengths;
    void *conv_before, *before;  // (b w-1 d), (b d n), or null
    void *y, *conv_last, *last;
    void *saved, *checkpoints;  // (b t 2 D), (b chunks N D), padded; null without gradient
    void *grad_y, *grad_conv_last, *grad_last;
    void *grad_x, *grad_conv_before, *grad_before;
    void *grad_norm, *grad_in_proj, *grad_conv_weight, *grad_conv_bias, *grad_x_proj;
    void *grad_dt_proj, *grad_dt_bias, *grad_A, *grad_skip, *grad_out_proj;
};

namespace WIDTH {

template <class T> struct MambaRun {
    const MambaCall& call;
    MambaChunk<T> f;
    int64_t chunks;

    MambaRun(const MambaCall& call, const MambaWeights<T>& q, Arena& arena)
        : call(call), f(q, arena), chunks((call.time + CHUNK - 1) / CHUNK) {}
    Moving<T> rows(void* p) const { return {(T*)p, call.time * f.q.m, f.q.m}; }
    Moving<T> window(void* p) const { return {(T*)p, (f.q.w - 1) * f.q.d, f.q.d}; }
    T* state(void* p, int64_t b) const { return p ? (T*)p + b * f.q.d * f.q.n : nullptr; }
    int64_t length(int64_t b) const { return call.lengths ? call.lengths[b] : call.time; }
    T* saved(int64_t b, int64_t t) const { return (T*)call.saved + (b * call.time + t) * 2 * f.q.D; }
    T* checkpoint(int64_t b, int64_t t0) const {
        return (T*)call.checkpoints + (b * chunks + t0 / CHUNK) * f.q.N * f.q.D;
    }
    // The window before the first step, into the first extended rows.
    void begin(int64_t b) {
        if (call.conv_before) gather(window(call.conv_before), b, 0, int(f.q.w) - 1, f.q.d, f.extended, f.q.D);
        else memset(f.extended, 0, (f.q.w - 1) * f.q.D * sizeof(T));
    }

    void forward(int64_t b, T* y) {
        const MambaWeights<T>& q = f.q;
        const int64_t end = length(b);
        begin(b);
        turn<T>(state(call.before, b), q.d, q.n, f.c.h, q.D, q.N);
        for (int64_t t0 = 0; t0 < end; t0 += CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            gather(rows(call.x), b, t0, steps, q.m, f.x, q.M);
            if (call.saved) memcpy(checkpoint(b, t0), f.c.h, q.N * q.D * sizeof(T));
            f.forward(steps, y);
            if (call.saved)
                for (int t = 0; t < steps; t++) {
                    memcpy(saved(b, t0 + t), f.inputs() + t * q.D, q.D * sizeof(T));
                    memcpy(saved(b, t0 + t) + q.D, f.c.z + t * q.D, q.D * sizeof(T));
                }
            scatter(y, q.M, rows(call.y), b, t0, steps, q.m);
            f.remember(steps);
        }
        clear(rows(call.y), b, end, call.time, q.m);
        scatter(f.extended, q.D, window(call.conv_last), b, 0, int(q.w) - 1, q.d);
        turn_back(f.c.h, q.D, state(call.last, b), q.d, q.n);
    }

    // Rows t0 - (w - 1) .. t0 + steps before the convolution, and the gates.
    void recall(int64_t b, int64_t t0, int steps) {
        const MambaWeights<T>& q = f.q;
        if (t0 < q.w - 1) begin(b);
        for (int64_t i = 0; i < steps + q.w - 1; i++) {
            int64_t t = t0 + i - (q.w - 1);
            if (t >= 0) memcpy(f.extended + i * q.D, saved(b, t), q.D * sizeof(T));
            // Before the sequence: row w - 1 + t of the window.
            else if (t0 > 0) memcpy(f.extended + i * q.D, f.extended + (q.w - 1 + t) * q.D, q.D * sizeof(T));
        }
        for (int t = 0; t < steps; t++) memcpy(f.c.z + t * q.D, saved(b, t0 + t) + q.D, q.D * sizeof(T));
    }

    void backward(int64_t b, MambaAdjoint<T>& a, const MambaSums<T>& sums) {
        const MambaWeights<T>& q = f.q;
        const int64_t end = length(b);
        gather(window(call.grad_conv_last), b, 0, int(q.w) - 1, q.d, a.carried, q.D);
        turn<T>(state(call.grad_last, b), q.d, q.n, a.g.h, q.D, q.N);
        for (int64_t t0 = (end - 1) / CHUNK * CHUNK; end > 0 && t0 >= 0; t0 -= CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            gather(rows(call.x), b, t0, steps, q.m, f.x, q.M);
            gather(rows(call.grad_y), b, t0, steps, q.m, a.y, q.M);
            recall(b, t0, steps);
            memcpy(f.c.h, checkpoint(b, t0), q.N * q.D * sizeof(T));
            a.backward(f, sums, steps);
            scatter(a.x, q.M, rows(call.grad_x), b, t0, steps, q.m);
        }
        clear(rows(call.grad_x), b, end, call.time, q.m);
        scatter(a.carried, q.D, window(call.grad_conv_before), b, 0, int(q.w) - 1, q.d);
        turn_back(a.g.h, q.D, state(call.grad_before, b), q.d, q.n);
    }
};

template <class T> int mamba_forward(const MambaCall& call) {
    auto q = MambaWeights<T>::sizes(call.parts);
    void* block = malloc(q.room(false) + 64);
    if (!block) return 1;
    Arena arena{(char*)block};
    q = MambaWeights<T>::read(call.parts, arena, false);
    int64_t room = MambaChunk<T>::room(q) + (CHUNK * q.M + 16) * sizeof(T);
    int failed = in_parts(call.batch, call.threads, room, [&](Arena arena, int64_t, Part part) {
        MambaRun<T> run(call, q, arena);
        T* y = arena.take<T>(CHUNK * q.M);
        for (int64_t b = part.first; b < part.end; b++) run.forward(b, y);
    });
    free(block);
    return failed;
}

template <class T> void narrow(const T* from, int64_t rows, int64_t padded, void* to, int64_t n) {
    for (int64_t i = 0; i < rows; i++) memcpy((T*)to + i * n, from + i * padded, n * sizeof(T));
}

template <class T> int mamba_backward(const MambaCall& call) {
    auto q = MambaWeights<T>::sizes(call.parts);
    void* block = malloc(q.room(true) + 64);
    Sums<T> all(Part::count(call.batch), MambaSums<T>::size(q));
    if (!block || !all.data) return free(block), 1;
    Arena arena{(char*)block};
    q = MambaWeights<T>::read(call.parts, arena, true);
    int64_t room = MambaChunk<T>::room(q) + MambaAdjoint<T>::room(q);
    int failed = in_parts(call.batch, call.threads, room, [&](Arena arena, int64_t i, Part part) {
        MambaRun<T> run(call, q, arena);
        MambaSums<T> sums(all.part(i), q);
        MambaAdjoint<T> adjoint(run.f, sums, arena);
        for (int64_t b = part.first; b < part.end; b++) run.backward(b, adjoint, sums);
    });
    MambaSums<T> sum(all.added(), q);
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
    free(block);
    return failed;
}

}  // namespace WIDTH
