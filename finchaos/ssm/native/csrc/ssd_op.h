// The scan of Mamba-2 as an operation on tensors.
#pragma once
#include "gate.h"
#include "ssd.h"
#include "step_size.h"
#include "walk.h"

struct SsdCall {
    Walk walk;
    int64_t h, p, g, n, softplus, skip_by_channel;
    double low, high;
    void *x, *dt, *z, *B, *C;  // (b t h p), (b t h), (b t g n); strides of batch and time below
    int64_t strides[10];
    void *A, *skip, *bias;  // (h), (h) or (h p), (h)
    void *y, *grad_y;       // (b t h p)
    void *grad_x, *grad_dt, *grad_z, *grad_B, *grad_C;
    void *grad_A, *grad_skip, *grad_bias;
};

namespace WIDTH {

template <class T> struct SsdRun {
    const SsdCall& call;
    SsdSizes s;
    SsdChunk<T> c;
    StepSize<T> step;
    Gate<T> gate;
    T *raw, *bias, *z, *out;  // [CHUNK][H], [H], [CHUNK][D] (null without gate) twice
    SsdGradient<T> g{};
    T *grad_bias = nullptr, *grad_z = nullptr, *before = nullptr;  // before: [N][D]

    static SsdSizes sizes(const SsdCall& call) { return SsdSizes::of<T>(call.h, call.p, call.g, call.n); }
    static int64_t room(const SsdCall& call) {
        SsdSizes s = sizes(call);
        int64_t rows = CHUNK * (6 * s.D + 4 * s.g * s.N + s.H) + 3 * s.H + s.D + s.N * s.D;
        return rows * sizeof(T) + SsdChunk<T>::room(s) + SsdGradient<T>::room(s) + 64 * 20;
    }
    SsdRun(const SsdCall& call, Arena& arena)
        : call(call), s(sizes(call)), c(SsdChunk<T>::make(arena, s)),
          step{call.softplus != 0, T(call.low), T(call.high)}, gate{0, s.d, s.D, s.D, false, T(0), nullptr} {
        c.ldu = s.D, c.ldb = s.g * s.N;
        c.u = zeros(arena, CHUNK * s.D);
        c.B = zeros(arena, CHUNK * c.ldb), c.C = zeros(arena, CHUNK * c.ldb);
        c.A2 = arena.take<double>(s.H), bias = zeros(arena, s.H), raw = zeros(arena, CHUNK * s.H);
        for (int64_t i = 0; i < s.H; i++) c.A2[i] = i < s.h ? ((T*)call.A)[i] * LOG2E : 0;
        if (call.bias) memcpy(bias, call.bias, s.h * sizeof(T));
        c.skip = call.skip ? zeros(arena, s.D) : nullptr;
        for (int64_t i = 0; call.skip && i < s.d; i++)
            c.skip[s.at(i)] = ((T*)call.skip)[call.skip_by_channel ? i : i / s.p];
        z = call.z ? zeros(arena, CHUNK * s.D) : nullptr;
        out = call.z ? arena.take<T>(CHUNK * s.D) : c.y;
    }
    void with_gradient(Arena& arena, T* sums, double* exact) {
        g = SsdGradient<T>::make(arena, s);
        g.u = arena.take<T>(CHUNK * s.D);
        g.B = arena.take<T>(CHUNK * c.ldb), g.C = arena.take<T>(CHUNK * c.ldb);
        g.A = exact, grad_bias = sums, g.skip = sums + s.H;
        if (z) grad_z = arena.take<T>(CHUNK * s.D), before = arena.take<T>(s.N * s.D);
    }
    static T* zeros(Arena& arena, int64_t count) {
        T* p = arena.take<T>(count);
        memset(p, 0, count * sizeof(T));
        return p;
    }
    Moving<T> moving(void* p, int i) const {
        return {(T*)p, call.strides[2 * i], call.strides[2 * i + 1]};
    }
    Moving<T> dense(void* p, int64_t n) const { return {(T*)p, call.walk.time * n, n}; }
    void read_channels(Moving<T> from, int64_t b, int64_t t0, int steps, T* rows) const {
        for (int t = 0; t < steps; t++) spread(s, from.at(b, t0 + t), rows + t * s.D);
    }
    void write_channels(const T* rows, void* to, int64_t b, int64_t t0, int steps) const {
        for (int t = 0; t < steps; t++) gathered(s, rows + t * s.D, dense(to, s.d).at(b, t0 + t));
    }
    void read_states(Moving<T> from, int64_t b, int64_t t0, int steps, T* rows) const {
        for (int t = 0; t < steps; t++)
            for (int64_t i = 0; i < s.g; i++)
                memcpy(rows + t * c.ldb + i * s.N, from.at(b, t0 + t) + i * s.n, s.n * sizeof(T));
    }
    void write_states(const T* rows, void* to, int64_t b, int64_t t0, int steps) const {
        for (int t = 0; t < steps; t++)
            for (int64_t i = 0; i < s.g; i++)
                memcpy(dense(to, s.g * s.n).at(b, t0 + t) + i * s.n, rows + t * c.ldb + i * s.N, s.n * sizeof(T));
    }

    T* h() const { return c.h; }
    T* grad_h() const { return g.h; }
    int64_t size() const { return s.N * s.D; }
    int64_t numbers() const { return s.d * s.n; }
    void enter(const T* from, T* to) const { turn(s, from, to); }
    void leave(const T* from, T* to) const { turn_back(s, from, to); }

    void read(int64_t b, int64_t t0, int steps) {
        read_channels(moving(call.x, 0), b, t0, steps, c.u);
        gather(moving(call.dt, 1), b, t0, steps, s.h, raw, s.H);
        if (z) read_channels(moving(call.z, 2), b, t0, steps, z);
        read_states(moving(call.B, 3), b, t0, steps, c.B);
        read_states(moving(call.C, 4), b, t0, steps, c.C);
        step.of(raw, bias, s.H, steps, c.dt);
    }
    void piece(int from, int to) { scan_forward(c.from(from), to - from); }
    void write(int64_t b, int64_t t0, int steps) {
        if (z) gate.forward(c.y, z, steps, nullptr, nullptr, out);
        write_channels(out, call.y, b, t0, steps);
    }
    void blank(int64_t b, int64_t end) { clear(dense(call.y, s.d), b, end, call.walk.time, s.d); }

    void read_gradient(int64_t b, int64_t t0, int steps) {
        read_channels(dense(call.grad_y, s.d), b, t0, steps, g.y);
    }
    void adjoint(int steps, const T* into, const int64_t* at, int64_t kept) {
        if (z) {  // the gate's gradient needs y: the state goes forwards and back
            memcpy(before, c.h, size() * sizeof(T));
            scan_forward(c, steps);
            memcpy(c.h, before, size() * sizeof(T));
            gate.backward(c.y, z, steps, nullptr, nullptr, g.y, grad_z, nullptr);
        }
        g.into = into, g.at = at, g.kept = kept;
        scan_backward(c, g, steps);
        step.back(g.dt, raw, s.H, steps, grad_bias);
    }
    void write_gradient(int64_t b, int64_t t0, int steps) {
        write_channels(g.u, call.grad_x, b, t0, steps);
        scatter(g.dt, s.H, dense(call.grad_dt, s.h), b, t0, steps, s.h);
        if (z) write_channels(grad_z, call.grad_z, b, t0, steps);
        write_states(g.B, call.grad_B, b, t0, steps);
        write_states(g.C, call.grad_C, b, t0, steps);
    }
    void blank_gradient(int64_t b, int64_t end) {
        const int64_t time = call.walk.time;
        clear(dense(call.grad_x, s.d), b, end, time, s.d);
        clear(dense(call.grad_dt, s.h), b, end, time, s.h);
        if (z) clear(dense(call.grad_z, s.d), b, end, time, s.d);
        clear(dense(call.grad_B, s.g * s.n), b, end, time, s.g * s.n);
        clear(dense(call.grad_C, s.g * s.n), b, end, time, s.g * s.n);
    }
};

template <class T> int ssd_forward(const SsdCall& call) { return walk_forward<T, SsdRun<T>>(call); }

// The gradient of a skip weight from that by channel.
template <class T> void leave_skip(const SsdSizes& s, const T* sum, bool by_channel, T* grad) {
    for (int64_t i = 0; i < s.h; i++) {
        const T* channels = sum + s.at(i * s.p);
        if (by_channel) memcpy(grad + i * s.p, channels, s.p * sizeof(T));
        else grad[i] = sum_of(channels, s.p);
    }
}

template <class T> int ssd_backward(const SsdCall& call) {
    SsdSizes s = SsdRun<T>::sizes(call);
    Sums<T> all(Part::count(call.walk.batch), s.H + s.D, s.h);  // bias, skip; A
    if (all.failed()) return 1;
    int failed = walk_backward<T, SsdRun<T>>(call, s.N * s.D, all);
    all.add();
    T* sum = all.part(0);
    for (int64_t i = 0; i < s.h; i++) ((T*)call.grad_A)[i] = T(all.exact_part(0)[i]);
    if (call.grad_bias) memcpy(call.grad_bias, sum, s.h * sizeof(T));
    if (call.grad_skip) leave_skip(s, sum + s.H, call.skip_by_channel != 0, (T*)call.grad_skip);
    return failed;
}

}  // namespace WIDTH
