// A whole Mamba-2 layer over one chunk of steps: norm, projection, convolution, scan, gate, residual.
#pragma once
#include "conv.h"
#include "gate.h"
#include "product.h"
#include "ssd.h"
#include "step_size.h"

// Weights as torch has them. Without a norm there is no residual either: the bare mixer.
struct Mamba2Parts {
    int64_t m, h, p, g, n, w;
    int64_t gate_groups, norm_first, skip_by_channel;  // gate_groups 0: the gate has no norm
    double epsilon, low, high;
    void *norm, *in_proj, *conv_weight, *conv_bias, *dt_bias, *A, *skip, *gate_norm, *out_proj;
};

namespace WIDTH {

// Weights as the kernel reads them. The convolution's rows are [x | B | C], each from a new vector;
// `at` says where channel i of them stands, `from` which channel stands at a place, or -1.
template <class T> struct Mamba2Weights {
    SsdSizes s;
    int64_t m, w, c, M, S, K;  // c = d + 2 g n channels; S = g N padded; K = D + 2 S
    Gate<T> gate;
    StepSize<T> step;
    bool skip_by_channel;
    T epsilon;
    int64_t *at, *from;
    T *norm, *in_mixed, *in_z, *in_dt, *conv_weight, *conv_bias, *dt_bias, *skip, *out;
    double* A2;
    T *in_mixed_back, *in_z_back, *in_dt_back, *out_back;  // only for gradients

    static Mamba2Weights sizes(const Mamba2Parts& p) {
        constexpr int W = Lanes<T>::W;
        Mamba2Weights q{};
        q.s = SsdSizes::of<T>(p.h, p.p, p.g, p.n);
        q.m = p.m, q.w = p.w, q.c = q.s.d + 2 * p.g * p.n, q.M = round_up(p.m, W);
        q.S = round_up(p.g * q.s.N, W), q.K = q.s.D + 2 * q.S;
        q.skip_by_channel = p.skip_by_channel != 0, q.epsilon = T(p.epsilon);
        q.step = {true, T(p.low), T(p.high)};
        bool whole = p.gate_groups == 1;
        q.gate = {p.gate_groups, whole ? q.s.d : q.s.d / q.s.g, whole ? q.s.D : q.s.E, q.s.D,
                  p.norm_first != 0, T(p.epsilon), nullptr};
        return q;
    }
    int64_t room(bool backward) const {
        int64_t in = K + s.D + s.H;
        int64_t forward = M + m * in + (w + 1) * K + 3 * s.H + 2 * s.D + s.D * M;
        int64_t back = in * M + m * s.D;
        return (forward + (backward ? back : 0)) * sizeof(T) + (c + K) * sizeof(int64_t) + 64 * 20;
    }
    static Mamba2Weights read(const Mamba2Parts& p, Arena& arena, bool backward) {
        Mamba2Weights q = sizes(p);
        const SsdSizes& s = q.s;
        const int64_t m = q.m, d = s.d, K = q.K, D = s.D;
        q.map(arena);
        const int64_t* from = q.from;
        auto zeros = [&](int64_t count) {
            T* to = arena.take<T>(count);
            memset(to, 0, count * sizeof(T));
            return to;
        };
        auto put = [&](int64_t k, int64_t width, auto get) {
            T* packed = arena.take<T>(k * width);
            pack<T>(packed, k, width, width, get);
            return packed;
        };
        const T *gate = (T*)p.in_proj, *mixed = gate + d * m, *dt = mixed + q.c * m, *out = (T*)p.out_proj;
        auto at = [=](const T* w, int64_t i, int64_t k) { return from[i] < 0 ? T(0) : w[from[i] * m + k]; };
        auto step = [=](int64_t i, int64_t k) { return i < s.h ? dt[i * m + k] : T(0); };
        auto last = [=](int64_t i, int64_t k) { return k < m && from[i] >= 0 ? out[k * d + from[i]] : T(0); };
        if (p.norm) pad<T>((T*)p.norm, m, q.norm = zeros(q.M), q.M);
        q.in_mixed = put(m, K, [=](int64_t k, int64_t i) { return at(mixed, i, k); });
        q.in_z = put(m, D, [=](int64_t k, int64_t i) { return at(gate, i, k); });
        q.in_dt = put(m, s.H, [=](int64_t k, int64_t i) { return step(i, k); });
        q.out = put(D, q.M, [=](int64_t k, int64_t i) { return last(k, i); });
        q.conv_weight = zeros(q.w * K), q.conv_bias = zeros(K);
        for (int64_t i = 0; i < q.c; i++) {
            for (int64_t k = 0; k < q.w; k++) q.conv_weight[k * K + q.at[i]] = ((T*)p.conv_weight)[i * q.w + k];
            if (p.conv_bias) q.conv_bias[q.at[i]] = ((T*)p.conv_bias)[i];
        }
        pad<T>((T*)p.dt_bias, s.h, q.dt_bias = zeros(s.H), s.H);
        q.A2 = arena.take<double>(s.H), q.skip = zeros(D), q.gate.weight = zeros(D);
        for (int64_t i = 0; i < s.H; i++) q.A2[i] = i < s.h ? ((T*)p.A)[i] * LOG2E : 0;
        for (int64_t i = 0; i < d; i++) q.skip[q.at[i]] = ((T*)p.skip)[p.skip_by_channel ? i : i / s.p];
        if (p.gate_norm) spread(s, (T*)p.gate_norm, q.gate.weight);
        if (backward) {
            q.in_mixed_back = put(K, q.M, [=](int64_t k, int64_t i) { return i < m ? at(mixed, k, i) : T(0); });
            q.in_z_back = put(D, q.M, [=](int64_t k, int64_t i) { return i < m ? at(gate, k, i) : T(0); });
            q.in_dt_back = put(s.h, q.M, [=](int64_t k, int64_t i) { return i < m ? step(k, i) : T(0); });
            q.out_back = put(m, D, [=](int64_t k, int64_t i) { return last(i, k); });
        }
        return q;
    }

  private:
    void map(Arena& arena) {
        at = arena.take<int64_t>(c), from = arena.take<int64_t>(K);
        for (int64_t i = 0; i < K; i++) from[i] = -1;
        for (int64_t i = 0; i < s.d; i++) at[i] = s.at(i);
        for (int64_t i = 0; i < s.g * s.n; i++) {
            at[s.d + i] = s.D + i / s.n * s.N + i % s.n;
            at[s.d + s.g * s.n + i] = at[s.d + i] + S;
        }
        for (int64_t i = 0; i < c; i++) from[at[i]] = i;
    }
};

template <class T> struct Mamba2Chunk {
    typedef Mamba2Weights<T> Weights;
    Weights q;
    SsdChunk<T> c;
    T *x, *xn, *inverse;       // [CHUNK][M] rows, normalised; [CHUNK]
    T *extended, *conv, *mixed;  // [CHUNK + w - 1][K]; [CHUNK][K] before and after silu
    T *z, *raw;                // [CHUNK][D], [CHUNK][H] step size before softplus
    T *value, *out, *gate_inverse;  // [CHUNK][D] see Gate; what is projected

    static int64_t room(const Weights& q) {
        int64_t rows = CHUNK * (2 * q.M + 3 * q.K + 3 * q.s.D + q.s.H + 2 + q.gate.groups) + q.w * q.K;
        return rows * sizeof(T) + SsdChunk<T>::room(q.s) + 64 * 20;
    }
    Mamba2Chunk(const Weights& q, Arena& arena) : q(q), c(SsdChunk<T>::make(arena, q.s)) {
        x = arena.take<T>(CHUNK * q.M), xn = arena.take<T>(CHUNK * q.M), inverse = arena.take<T>(CHUNK);
        extended = arena.take<T>((CHUNK + q.w - 1) * q.K);
        conv = arena.take<T>(CHUNK * q.K), mixed = arena.take<T>(CHUNK * q.K);
        z = arena.take<T>(CHUNK * q.s.D), raw = arena.take<T>(CHUNK * q.s.H);
        value = arena.take<T>(CHUNK * q.s.D), out = arena.take<T>(CHUNK * q.s.D);
        gate_inverse = arena.take<T>(CHUNK * (q.gate.groups + 1));
        c.A2 = q.A2, c.skip = q.skip, c.ldu = c.ldb = q.K;
        c.u = mixed, c.B = mixed + q.s.D, c.C = c.B + q.S;
    }

    void normalise_rows(int steps) {
        if (q.norm) normalise(x, q.norm, q.m, q.M, q.M, steps, q.epsilon, xn, inverse);
        else xn = x;
    }
    T* inputs() { return extended + (q.w - 1) * q.K; }
    void choose(int steps) { convolve(extended, q.conv_weight, q.conv_bias, q.w, q.K, steps, true, conv, mixed); }
    void open_gate(int steps) { q.gate.forward(c.y, z, steps, value, gate_inverse, out); }
    // The rows x to y[steps][M], state in c.h and in the first w - 1 extended rows.
    void forward(int steps, T* y) {
        const SsdSizes& s = q.s;
        normalise_rows(steps);
        product(xn, q.M, steps, q.in_mixed, q.m, q.K, inputs(), q.K);
        product(xn, q.M, steps, q.in_z, q.m, s.D, z, s.D);
        product(xn, q.M, steps, q.in_dt, q.m, s.H, raw, s.H);
        choose(steps);
        q.step.of(raw, q.dt_bias, s.H, steps, c.dt);
        scan_forward(c, steps);
        open_gate(steps);
        if (q.norm) memcpy(y, x, steps * q.M * sizeof(T));
        product(out, s.D, steps, q.out, s.D, q.M, y, q.M, q.norm != nullptr);
    }
    void remember(int steps) { memmove(extended, extended + steps * q.K, (q.w - 1) * q.K * sizeof(T)); }

    T* h() const { return c.h; }
    static int64_t size(const Weights& q) { return q.s.N * q.s.D; }
    int64_t numbers() const { return q.s.n * q.s.d; }
    void enter(const T* from, T* to) const { turn(q.s, from, to); }
    void leave(const T* from, T* to) const { turn_back(q.s, from, to); }
    static int64_t conv_row(const Weights& q) { return q.K; }
    int64_t conv_channels() const { return q.c; }
    void enter_row(const T* from, T* to) const {
        for (int64_t i = 0; i < q.c; i++) to[q.at[i]] = from[i];
    }
    void leave_row(const T* from, T* to) const {
        for (int64_t i = 0; i < q.c; i++) to[i] = from[q.at[i]];
    }
    // Gate, sum over states, step size.
    static int64_t kept(const Weights& q) { return 2 * q.s.D + q.s.H; }
    void keep(int t, T* to) const {
        const int64_t D = q.s.D, H = q.s.H;
        memcpy(to, z + t * D, D * sizeof(T));
        memcpy(to + D, c.y + t * D, D * sizeof(T));
        memcpy(to + 2 * D, raw + t * H, H * sizeof(T));
    }
    void recall(int t, const T* from) {
        const int64_t D = q.s.D, H = q.s.H;
        memcpy(z + t * D, from, D * sizeof(T));
        memcpy(c.y + t * D, from + D, D * sizeof(T));
        memcpy(raw + t * H, from + 2 * D, H * sizeof(T));
    }
};

// Gradients of one layer's weights, added up over chunks. Padded like the weights.
template <class T> struct Mamba2Sums {
    T *norm, *in_mixed, *in_z, *in_dt, *conv_weight, *conv_bias, *dt_bias, *skip, *gate_norm, *out;
    double* A;
    static int64_t exact(const Mamba2Weights<T>& q) { return q.s.h; }
    static int64_t size(const Mamba2Weights<T>& q) {
        int64_t in = q.K + q.s.D + q.s.H;
        return q.M + in * q.M + (q.w + 1) * q.K + q.s.H + 2 * q.s.D + q.m * q.s.D;
    }
    Mamba2Sums(T* p, double* exact, const Mamba2Weights<T>& q) {
        auto take = [&](int64_t count) { T* at = p; p += count; return at; };
        norm = take(q.M), in_mixed = take(q.K * q.M), in_z = take(q.s.D * q.M), in_dt = take(q.s.H * q.M);
        conv_weight = take(q.w * q.K), conv_bias = take(q.K), dt_bias = take(q.s.H), A = exact;
        skip = take(q.s.D), gate_norm = take(q.s.D), out = take(q.m * q.s.D);
    }
};

template <class T> struct Mamba2Adjoint {
    typedef Mamba2Sums<T> Sums;
    SsdGradient<T> g;
    T *y, *x;            // [CHUNK][M] gradients of output and input
    T *mixed, *z;        // [CHUNK][K], [CHUNK][D]
    T *into, *carried;   // [CHUNK + w - 1][K], [w - 1][K]

    static int64_t room(const Mamba2Weights<T>& q) {
        int64_t rows = CHUNK * (2 * q.M + 2 * q.K + q.s.D) + 2 * q.w * q.K;
        return rows * sizeof(T) + SsdGradient<T>::room(q.s) + 64 * 20;
    }
    Mamba2Adjoint(const Mamba2Chunk<T>& f, const Mamba2Sums<T>& sums, Arena& arena)
        : g(SsdGradient<T>::make(arena, f.q.s)) {
        const Mamba2Weights<T>& q = f.q;
        y = arena.take<T>(CHUNK * q.M), x = arena.take<T>(CHUNK * q.M);
        mixed = arena.take<T>(CHUNK * q.K), z = arena.take<T>(CHUNK * q.s.D);
        into = arena.take<T>((CHUNK + q.w - 1) * q.K), carried = arena.take<T>((q.w - 1) * q.K);
        memset(mixed, 0, CHUNK * q.K * sizeof(T));  // between groups nothing is ever stored
        g.A = sums.A, g.skip = sums.skip;
        g.u = mixed, g.B = mixed + q.s.D, g.C = g.B + q.S;
        g.into = nullptr, g.at = nullptr, g.kept = 0;
    }
    T* grad_h() const { return g.h; }
    // f.x, the extended rows and what was kept are those of the chunk, f.c.h the state before it; y in,
    // x out, carried and g.h from the chunk after to the chunk before.
    void backward(Mamba2Chunk<T>& f, const Mamba2Sums<T>& sums, int steps) {
        const Mamba2Weights<T>& q = f.q;
        const SsdSizes& s = q.s;
        f.normalise_rows(steps);
        f.choose(steps);
        q.step.again(f.raw, s.H, steps, f.c.dt);
        f.open_gate(steps);
        outer_product(y, q.M, q.m, f.out, s.D, s.D, steps, sums.out, s.D);
        product(y, q.M, steps, q.out_back, q.m, s.D, g.y, s.D);
        q.gate.backward(f.c.y, f.z, steps, f.value, f.gate_inverse, g.y, z, sums.gate_norm);
        scan_backward(f.c, g, steps);
        q.step.back(g.dt, f.raw, s.H, steps, sums.dt_bias);
        convolve_backward(f.extended, f.conv, q.conv_weight, q.w, q.K, steps, true, mixed, into, carried,
                          sums.conv_weight, sums.conv_bias);
        const T* inputs = into + (q.w - 1) * q.K;
        product(inputs, q.K, steps, q.in_mixed_back, q.K, q.M, x, q.M);
        product(z, s.D, steps, q.in_z_back, s.D, q.M, x, q.M, true);
        product(g.dt, s.H, steps, q.in_dt_back, s.h, q.M, x, q.M, true);
        outer_product(inputs, q.K, q.K, f.xn, q.M, q.M, steps, sums.in_mixed, q.M);
        outer_product(z, s.D, s.D, f.xn, q.M, q.M, steps, sums.in_z, q.M);
        outer_product(g.dt, s.H, s.h, f.xn, q.M, q.M, steps, sums.in_dt, q.M);
        if (!q.norm) return;
        normalise_backward(f.x, q.norm, f.inverse, q.m, q.M, q.M, steps, x, sums.norm);
        for (int64_t i = 0; i < steps * q.M; i += Lanes<T>::W) store(x + i, load(x + i) + load(y + i));
    }
};

}  // namespace WIDTH
