// A whole Mamba layer over one chunk of steps: norm, projections, convolution, scan, gate, residual.
// Between its steps everything stays in the cache; nothing but a chunk is ever stored.
#pragma once
#include "conv.h"
#include "norm.h"
#include "product.h"
#include "selective.h"

// Weights as torch has them. Without a norm there is no residual either: the bare mixer.
struct MambaParts {
    int64_t m, d, n, r, w;
    double epsilon;
    void *norm, *in_proj, *conv_weight, *conv_bias, *x_proj, *dt_proj, *dt_bias, *A, *skip, *out_proj;
};

namespace WIDTH {

// Weights as the kernel reads them; k of a product is what it sums over.
template <class T> struct MambaWeights {
    int64_t m, d, n, r, w, M, D, N, R, K, s;  // capitals are padded; s = r + 2 n, K = s padded
    T epsilon;
    T *norm, *in_u, *in_z, *conv_weight, *conv_bias, *x_proj, *dt_proj, *dt_bias, *A2, *skip, *out;
    T *in_u_back, *in_z_back, *x_proj_back, *dt_proj_back, *out_back;  // only for gradients

    static MambaWeights sizes(const MambaParts& p) {
        constexpr int W = Lanes<T>::W;
        MambaWeights q{};
        q.m = p.m, q.d = p.d, q.n = p.n, q.r = p.r, q.w = p.w, q.s = p.r + 2 * p.n;
        q.M = round_up(p.m, W), q.D = round_up(p.d, W), q.N = round_up(p.n, 4);
        q.R = round_up(p.r, W), q.K = round_up(q.s, W), q.epsilon = T(p.epsilon);
        return q;
    }
    int64_t room(bool backward) const {
        int64_t forward = M + 2 * m * D + (w + 4) * D + d * K + r * D + N * D + d * M;
        int64_t back = 2 * d * M + s * D + d * R + m * D;
        return (forward + (backward ? back : 0)) * sizeof(T) + 64 * 20;
    }
    static MambaWeights read(const MambaParts& p, Arena& arena, bool backward) {
        MambaWeights q = sizes(p);
        const int64_t m = q.m, d = q.d, n = q.n, r = q.r;
        auto put = [&](int64_t k, int64_t count, int64_t width, auto get) {
            T* packed = arena.take<T>(k * width);
            pack<T>(packed, k, count, width, get);
            return packed;
        };
        auto padded = [&](void* from, int64_t count, int64_t width) {
            T* to = arena.take<T>(width);
            pad<T>((T*)from, count, to, width);
            return to;
        };
        const T *in = (T*)p.in_proj, *gate = in + d * m, *select = (T*)p.x_proj;
        const T *step = (T*)p.dt_proj, *out = (T*)p.out_proj;
        q.norm = p.norm ? padded(p.norm, m, q.M) : nullptr;
        q.in_u = put(m, d, q.D, [=](int64_t k, int64_t i) { return in[i * m + k]; });
        q.in_z = put(m, d, q.D, [=](int64_t k, int64_t i) { return gate[i * m + k]; });
        q.conv_weight = arena.take<T>(q.w * q.D);
        turn<T>((T*)p.conv_weight, d, q.w, q.conv_weight, q.D, q.w);
        q.conv_bias = padded(p.conv_bias, d, q.D);
        q.x_proj = put(d, q.s, q.K, [=](int64_t k, int64_t i) { return select[i * d + k]; });
        q.dt_proj = put(r, d, q.D, [=](int64_t k, int64_t i) { return step[i * r + k]; });
        q.dt_bias = padded(p.dt_bias, d, q.D);
        q.A2 = arena.take<T>(q.N * q.D);
        turn<T>((T*)p.A, d, n, q.A2, q.D, q.N, T(LOG2E));
        q.skip = padded(p.skip, d, q.D);
        q.out = put(d, m, q.M, [=](int64_t k, int64_t i) { return out[i * d + k]; });
        if (backward) {
            q.in_u_back = put(d, m, q.M, [=](int64_t k, int64_t i) { return in[k * m + i]; });
            q.in_z_back = put(d, m, q.M, [=](int64_t k, int64_t i) { return gate[k * m + i]; });
            q.x_proj_back = put(q.s, d, q.D, [=](int64_t k, int64_t i) { return select[k * d + i]; });
            q.dt_proj_back = put(d, r, q.R, [=](int64_t k, int64_t i) { return step[k * r + i]; });
            q.out_back = put(m, d, q.D, [=](int64_t k, int64_t i) { return out[k * d + i]; });
        }
        return q;
    }
};

template <class T> struct MambaChunk {
    typedef MambaWeights<T> Weights;
    Weights q;
    SelectiveChunk<T> c;
    T *x, *xn, *inverse;  // [CHUNK][M] rows, normalised; [CHUNK]
    T *extended, *conv;   // [CHUNK + w - 1][D] inputs of the convolution; [CHUNK][D] before silu
    T *select, *raw;      // [CHUNK][K] step, B, C; [CHUNK][D] step size before softplus

    static int64_t room(const MambaWeights<T>& q) {
        return (CHUNK * (2 * q.M + 9 * q.D + q.K + 2 * q.N + 1) + q.w * q.D + q.N * q.D) * sizeof(T) +
               64 * 20;
    }
    MambaChunk(const MambaWeights<T>& q, Arena& arena)
        : q(q), c(SelectiveChunk<T>::make(arena, q.d, q.n)) {
        c.A2 = q.A2, c.skip = q.skip;
        x = arena.take<T>(CHUNK * q.M), xn = arena.take<T>(CHUNK * q.M);
        inverse = arena.take<T>(CHUNK);
        extended = arena.take<T>((CHUNK + q.w - 1) * q.D), conv = arena.take<T>(CHUNK * q.D);
        select = arena.take<T>(CHUNK * q.K), raw = arena.take<T>(CHUNK * q.D);
    }

    void normalise_rows(int steps) {
        if (q.norm) normalise(x, q.norm, q.m, q.M, q.M, steps, q.epsilon, xn, inverse);
        else xn = x;
    }
    T* inputs() { return extended + (q.w - 1) * q.D; }
    void project(int steps) {
        product(xn, q.M, steps, q.in_u, q.m, q.D, inputs(), q.D);
        product(xn, q.M, steps, q.in_z, q.m, q.D, c.z, q.D);
    }
    // From the extended rows and the gate to what the scan reads.
    void choose(int steps) {
        convolve(extended, q.conv_weight, q.conv_bias, q.w, q.D, steps, true, conv, c.u);
        product(c.u, q.D, steps, q.x_proj, q.d, q.K, select, q.K);
        for (int t = 0; t < steps; t++) {
            const T* row = select + t * q.K + q.r;
            pad(row, q.n, c.B + t * q.N, q.N);
            pad(row + q.n, q.n, c.C + t * q.N, q.N);
        }
        product(select, q.K, steps, q.dt_proj, q.r, q.D, raw, q.D);
        for (int t = 0; t < steps; t++)
            for (int64_t j = 0; j < q.D; j += Lanes<T>::W) {
                Vec<T> dt = load(raw + t * q.D + j) + load(q.dt_bias + j);
                store(raw + t * q.D + j, dt);
                store(c.dt + t * q.D + j, softplus<T>(dt));
            }
    }
    // The rows x to y[steps][M], state in c.h and in the first w - 1 extended rows.
    void forward(int steps, T* y) {
        normalise_rows(steps);
        project(steps);
        choose(steps);
        scan_forward(c, steps);
        if (q.norm) memcpy(y, x, steps * q.M * sizeof(T));
        product(c.out, q.D, steps, q.out, q.d, q.M, y, q.M, q.norm != nullptr);
    }
    void remember(int steps) { memmove(extended, extended + steps * q.D, (q.w - 1) * q.D * sizeof(T)); }

    T* h() const { return c.h; }
    static int64_t size(const Weights& q) { return q.N * q.D; }
    int64_t numbers() const { return q.n * q.d; }
    void enter(const T* from, T* to) const { turn<T>(from, q.d, q.n, to, q.D, q.N); }
    void leave(const T* from, T* to) const { turn_back(from, q.D, to, q.d, q.n); }
    static int64_t conv_row(const Weights& q) { return q.D; }
    int64_t conv_channels() const { return q.d; }
    void enter_row(const T* from, T* to) const { memcpy(to, from, q.d * sizeof(T)); }
    void leave_row(const T* from, T* to) const { memcpy(to, from, q.d * sizeof(T)); }
    static int64_t kept(const Weights& q) { return q.D; }
    void keep(int t, T* to) const { memcpy(to, c.z + t * q.D, q.D * sizeof(T)); }
    void recall(int t, const T* from) { memcpy(c.z + t * q.D, from, q.D * sizeof(T)); }
};

// Gradients of one layer's weights, added up over chunks. Padded like the weights.
template <class T> struct MambaSums {
    T *norm, *in_u, *in_z, *conv_weight, *conv_bias, *x_proj, *dt_proj, *dt_bias, *A, *skip, *out;
    static int64_t size(const MambaWeights<T>& q) {
        return q.M + 2 * q.d * q.M + q.w * q.D + 3 * q.D + q.s * q.D + q.d * q.R + q.N * q.D + q.m * q.D;
    }
    static int64_t exact(const MambaWeights<T>&) { return 0; }
    MambaSums(T* p, double*, const MambaWeights<T>& q) {
        auto take = [&](int64_t count) { T* at = p; p += count; return at; };
        norm = take(q.M), in_u = take(q.d * q.M), in_z = take(q.d * q.M);
        conv_weight = take(q.w * q.D), conv_bias = take(q.D), x_proj = take(q.s * q.D);
        dt_proj = take(q.d * q.R), dt_bias = take(q.D), A = take(q.N * q.D), skip = take(q.D);
        out = take(q.m * q.D);
    }
};

template <class T> struct MambaAdjoint {
    typedef MambaSums<T> Sums;
    SelectiveGradient<T> g;
    T *y, *x;                   // [CHUNK][M] gradients of output and input
    T *select, *low;            // [CHUNK][K], [CHUNK][R]
    T *into, *carried;          // [CHUNK + w - 1][D], [w - 1][D]

    static int64_t room(const MambaWeights<T>& q) {
        constexpr int W = Lanes<T>::W;
        int64_t scan = CHUNK * (5 * q.D + 2 * q.N + 2 * q.N * W + 17 * W) + 8 * W + q.N * q.D;
        return (scan + CHUNK * (2 * q.M + q.K + q.R + q.D) + 2 * q.w * q.D) * sizeof(T) + 64 * 20;
    }
    MambaAdjoint(const MambaChunk<T>& f, const MambaSums<T>& sums, Arena& arena)
        : g(SelectiveGradient<T>::make(arena, f.c)) {
        const MambaWeights<T>& q = f.q;
        g.A2 = sums.A, g.skip = sums.skip;
        y = arena.take<T>(CHUNK * q.M), x = arena.take<T>(CHUNK * q.M);
        select = arena.take<T>(CHUNK * q.K), low = arena.take<T>(CHUNK * q.R);
        into = arena.take<T>((CHUNK + q.w - 1) * q.D), carried = arena.take<T>((q.w - 1) * q.D);
    }
    T* grad_h() const { return g.h; }
    // f.x, the extended rows and the gate are those of the chunk, f.c.h the state before it; y in,
    // x out, carried and g.h from the chunk after to the chunk before.
    void backward(MambaChunk<T>& f, const MambaSums<T>& sums, int steps) {
        const MambaWeights<T>& q = f.q;
        f.normalise_rows(steps);
        f.choose(steps);
        product(y, q.M, steps, q.out_back, q.m, q.D, g.out, q.D);
        scan_backward(f.c, g, steps);
        outer_product(y, q.M, q.m, f.c.out, q.D, q.D, steps, sums.out, q.D);
        through_step_size(g.dt, f.raw, q.D, steps, true, sums.dt_bias);
        product(g.dt, q.D, steps, q.dt_proj_back, q.d, q.R, low, q.R);
        outer_product(g.dt, q.D, q.d, f.select, q.K, q.R, steps, sums.dt_proj, q.R);
        for (int t = 0; t < steps; t++) {
            T* row = select + t * q.K;
            memcpy(row, low + t * q.R, q.r * sizeof(T));
            memcpy(row + q.r, g.B + t * q.N, q.n * sizeof(T));
            memcpy(row + q.r + q.n, g.C + t * q.N, q.n * sizeof(T));
        }
        product(select, q.K, steps, q.x_proj_back, q.s, q.D, g.u, q.D, true);
        outer_product(select, q.K, q.s, f.c.u, q.D, q.D, steps, sums.x_proj, q.D);
        convolve_backward(f.extended, f.conv, q.conv_weight, q.w, q.D, steps, true, g.u, into,
                          carried, sums.conv_weight, sums.conv_bias);
        const T* inputs = into + (q.w - 1) * q.D;
        product(inputs, q.D, steps, q.in_u_back, q.d, q.M, x, q.M);
        product(g.z, q.D, steps, q.in_z_back, q.d, q.M, x, q.M, true);
        outer_product(inputs, q.D, q.d, f.xn, q.M, q.M, steps, sums.in_u, q.M);
        outer_product(g.z, q.D, q.d, f.xn, q.M, q.M, steps, sums.in_z, q.M);
        if (!q.norm) return;
        normalise_backward(f.x, q.norm, f.inverse, q.m, q.M, q.M, steps, x, sums.norm);
        for (int64_t i = 0; i < steps * q.M; i += Lanes<T>::W) store(x + i, load(x + i) + load(y + i));
    }
};

}  // namespace WIDTH
