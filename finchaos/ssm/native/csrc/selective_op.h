// The selective scan as an operation on tensors.
#pragma once
#include "selective.h"
#include "walk.h"

struct SelectiveCall {
    Walk walk;
    int64_t d, n, softplus;
    void *u, *delta, *z, *B, *C;  // (b t d), B and C (b t n); strides of batch and time below
    int64_t strides[10];
    void *A, *skip, *bias;  // (d n), (d), (d)
    void *y, *grad_y;       // (b t d)
    void *grad_u, *grad_delta, *grad_z, *grad_B, *grad_C;
    void *grad_A, *grad_skip, *grad_bias;
};

namespace WIDTH {

template <class T> struct SelectiveRun {
    const SelectiveCall& call;
    SelectiveChunk<T> c;
    T* raw;   // [CHUNK][D] step size before softplus
    T* bias;  // [D]
    SelectiveGradient<T> g{};
    T* grad_bias = nullptr;

    SelectiveRun(const SelectiveCall& call, Arena& arena)
        : call(call), c(SelectiveChunk<T>::make(arena, call.d, call.n)) {
        raw = arena.take<T>(CHUNK * c.D);
        bias = arena.take<T>(c.D);
        c.A2 = arena.take<T>(c.N * c.D);
        turn<T>((T*)call.A, call.d, call.n, c.A2, c.D, c.N, T(LOG2E));
        pad<T>((T*)call.bias, call.d, bias, c.D);
        c.skip = call.skip ? arena.take<T>(c.D) : nullptr;
        if (c.skip) pad<T>((T*)call.skip, call.d, c.skip, c.D);
        if (!call.z) c.z = nullptr;
    }
    void with_gradient(Arena& arena, T* sums, double*) {
        g = SelectiveGradient<T>::make(arena, c);
        g.A2 = sums, g.skip = g.A2 + c.N * c.D, grad_bias = g.skip + c.D;
    }
    static int64_t room(const SelectiveCall& call) {
        int64_t D = round_up(call.d, Lanes<T>::W), N = round_up(call.n, 4), W = Lanes<T>::W;
        int64_t numbers = CHUNK * (12 * D + 4 * N + 2 * N * W) + (17 * CHUNK + 8) * W + 4 * N * D + 3 * D;
        return numbers * sizeof(T) + 64 * 40;
    }
    Moving<T> moving(void* p, int i) const {
        return {(T*)p, call.strides[2 * i], call.strides[2 * i + 1]};
    }
    Moving<T> dense(void* p, int64_t n) const { return {(T*)p, call.walk.time * n, n}; }

    T* h() const { return c.h; }
    T* grad_h() const { return g.h; }
    int64_t size() const { return c.N * c.D; }
    int64_t numbers() const { return call.d * call.n; }
    void enter(const T* from, T* to) const { turn<T>(from, call.d, call.n, to, c.D, c.N); }
    void leave(const T* from, T* to) const { turn_back(from, c.D, to, call.d, call.n); }

    void read(int64_t b, int64_t t0, int steps) {
        gather(moving(call.u, 0), b, t0, steps, call.d, c.u, c.D);
        gather(moving(call.delta, 1), b, t0, steps, call.d, raw, c.D);
        if (c.z) gather(moving(call.z, 2), b, t0, steps, call.d, c.z, c.D);
        gather(moving(call.B, 3), b, t0, steps, call.n, c.B, c.N);
        gather(moving(call.C, 4), b, t0, steps, call.n, c.C, c.N);
        for (int t = 0; t < steps; t++)
            for (int64_t j = 0; j < c.D; j += Lanes<T>::W) {
                Vec<T> dt = load(raw + t * c.D + j) + load(bias + j);
                store(raw + t * c.D + j, dt);
                store(c.dt + t * c.D + j, call.softplus ? softplus<T>(dt) : dt);
            }
    }
    void piece(int from, int to) {
        SelectiveChunk<T> p = c;
        T** rows[] = {&p.u, &p.dt, &p.du, &p.y, &p.out};
        for (T** row : rows) *row += from * c.D;
        if (p.z) p.z += from * c.D;
        p.B += from * c.N, p.C += from * c.N;
        scan_forward(p, to - from);
    }
    void write(int64_t b, int64_t t0, int steps) {
        scatter(c.out, c.D, dense(call.y, call.d), b, t0, steps, call.d);
    }
    void blank(int64_t b, int64_t end) { clear(dense(call.y, call.d), b, end, call.walk.time, call.d); }

    void read_gradient(int64_t b, int64_t t0, int steps) {
        gather(dense(call.grad_y, call.d), b, t0, steps, call.d, g.out, c.D);
    }
    void adjoint(int steps, const T* into, const int64_t* at, int64_t kept) {
        g.into = into, g.at = at, g.kept = kept;
        scan_backward(c, g, steps);
        through_step_size(g.dt, raw, c.D, steps, call.softplus, grad_bias);
    }
    void write_gradient(int64_t b, int64_t t0, int steps) {
        scatter(g.u, c.D, dense(call.grad_u, call.d), b, t0, steps, call.d);
        scatter(g.dt, c.D, dense(call.grad_delta, call.d), b, t0, steps, call.d);
        if (c.z) scatter(g.z, c.D, dense(call.grad_z, call.d), b, t0, steps, call.d);
        scatter(g.B, c.N, dense(call.grad_B, call.n), b, t0, steps, call.n);
        scatter(g.C, c.N, dense(call.grad_C, call.n), b, t0, steps, call.n);
    }
    void blank_gradient(int64_t b, int64_t end) {
        void* rows[] = {call.grad_u, call.grad_delta, c.z ? call.grad_z : nullptr};
        for (void* p : rows)
            if (p) clear(dense(p, call.d), b, end, call.walk.time, call.d);
        clear(dense(call.grad_B, call.n), b, end, call.walk.time, call.n);
        clear(dense(call.grad_C, call.n), b, end, call.walk.time, call.n);
    }
};

template <class T> int selective_forward(const SelectiveCall& call) {
    return walk_forward<T, SelectiveRun<T>>(call);
}

template <class T> int selective_backward(const SelectiveCall& call) {
    const int64_t D = round_up(call.d, Lanes<T>::W), N = round_up(call.n, 4);
    Sums<T> all(Part::count(call.walk.batch), (N + 2) * D);  // A, skip, bias
    if (all.failed()) return 1;
    int failed = walk_backward<T, SelectiveRun<T>>(call, N * D, all);
    all.add();
    T* sum = all.part(0);
    turn_back(sum, D, (T*)call.grad_A, call.d, call.n);
    if (call.grad_skip) memcpy(call.grad_skip, sum + N * D, call.d * sizeof(T));
    if (call.grad_bias) memcpy(call.grad_bias, sum + N * D + D, call.d * sizeof(T));
    return failed;
}

}  // namespace WIDTH
