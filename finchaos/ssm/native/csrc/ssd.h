// The scan of Mamba-2 over one chunk of steps, forwards and backwards.
//
//     h[n] = exp(dt A) h[n] + dt u B[n],   y = sum_n h[n] C[n] + D u
//
// with one dt and one A a head. Lanes run over channels; each group of heads begins a new vector.
// States stand as [n][channel]; the exponent uses A log2(e).
#pragma once
#include "rows.h"

namespace WIDTH {

// Heads of p channels in g groups; capitals are padded: channels of a group E and of all D.
struct SsdSizes {
    int64_t h, p, g, n, d, E, D, N, H;
    template <class T> static SsdSizes of(int64_t h, int64_t p, int64_t g, int64_t n) {
        constexpr int W = Lanes<T>::W;
        int64_t E = round_up(h / g * p, W);
        return {h, p, g, n, h * p, E, g * E, round_up(n, 4), round_up(h, W)};
    }
    // Where channel i stands.
    int64_t at(int64_t i) const { return i / (d / g) * E + i % (d / g); }
};

// Channels and states between dense rows and padded ones.
template <class T> void spread(const SsdSizes& s, const T* from, T* to) {
    for (int64_t i = 0; i < s.g; i++) memcpy(to + i * s.E, from + i * (s.d / s.g), s.d / s.g * sizeof(T));
}
template <class T> void gathered(const SsdSizes& s, const T* from, T* to) {
    for (int64_t i = 0; i < s.g; i++) memcpy(to + i * (s.d / s.g), from + i * s.E, s.d / s.g * sizeof(T));
}
// [d][n] to [N][D] and back.
template <class T> void turn(const SsdSizes& s, const T* from, T* to) {
    memset(to, 0, s.N * s.D * sizeof(T));
    if (from)
        for (int64_t i = 0; i < s.d; i++)
            for (int64_t k = 0; k < s.n; k++) to[k * s.D + s.at(i)] = from[i * s.n + k];
}
template <class T> void turn_back(const SsdSizes& s, const T* from, T* to) {
    for (int64_t i = 0; i < s.d; i++)
        for (int64_t k = 0; k < s.n; k++) to[i * s.n + k] = from[k * s.D + s.at(i)];
}

template <class T> struct SsdChunk {
    SsdSizes s;
    int64_t ldu, ldb;      // row lengths of u, and of B and C
    T *u, *B, *C;          // [CHUNK][ldu], [CHUNK][ldb]: a group's states side by side
    T *dt;                 // [CHUNK][H]
    double* A2;            // [H] times log2(e)
    T* skip;               // [D] (may be null)
    T *decay, *du;         // [CHUNK][D] spread over the channels
    T *heads, *rest;       // [H]
    T *y, *h;              // [CHUNK][D] sum over states plus skip; [N][D] carried

    static int64_t room(const SsdSizes& s) {
        return (CHUNK * (3 * s.D + s.H) + 2 * s.H + s.N * s.D) * sizeof(T) + 64 * 7;
    }
    static SsdChunk make(Arena& arena, const SsdSizes& s) {
        SsdChunk c{};
        c.s = s;
        c.dt = arena.take<T>(CHUNK * s.H), c.heads = arena.take<T>(s.H), c.rest = arena.take<T>(s.H);
        c.decay = arena.take<T>(CHUNK * s.D), c.du = arena.take<T>(CHUNK * s.D);
        c.y = arena.take<T>(CHUNK * s.D), c.h = arena.take<T>(s.N * s.D);
        return c;
    }
    // The chunk from a step on.
    SsdChunk from(int t) const {
        SsdChunk c = *this;
        c.u += t * ldu, c.B += t * ldb, c.C += t * ldb, c.dt += t * s.H;
        c.decay += t * s.D, c.du += t * s.D, c.y += t * s.D;
        return c;
    }
};

template <class T> void spread_steps(const SsdChunk<T>& c, int steps) {
    constexpr double ln2 = 0.6931471805599453;
    const SsdSizes& s = c.s;
    if (s.D > s.d) {  // between groups
        memset(c.decay, 0, steps * s.D * sizeof(T));
        memset(c.du, 0, steps * s.D * sizeof(T));
    }
    for (int t = 0; t < steps; t++) {
        const T *dt = c.dt + t * s.H, *u = c.u + t * c.ldu;
        // One exponent serves all channels and states of a head: what it is off by does not average
        // out, so that it is formed in double.
        for (int64_t j = 0; j < s.H; j++) {
            double x = dt[j] * c.A2[j], least_x = -2000;
            x = x < least_x ? least_x : x;  // what is not a number stays so
            c.heads[j] = T(x), c.rest[j] = T((x - c.heads[j]) * ln2);
        }
        for (int64_t j = 0; j < s.H; j += Lanes<T>::W) {
            Vec<T> decay = exp2v(load(c.heads + j));
            store(c.heads + j, decay + decay * load(c.rest + j));
        }
        for (int64_t i = 0; i < s.h; i++) {
            const int64_t k = s.at(i * s.p);
            const T decay = c.heads[i], step = dt[i];
            T *decays = c.decay + t * s.D + k, *du = c.du + t * s.D + k;
            for (int64_t j = 0; j < s.p; j++) decays[j] = decay, du[j] = u[k + j] * step;
        }
    }
}

// States n0 .. n0 + NB of W channels from j, in groups of eight as the scan of Mamba-1.
template <class T, int NB>
INLINE void ssd_states(const SsdChunk<T>& c, int steps, int64_t j, int64_t n0) {
    constexpr int G = NB < 8 ? NB : 8;
    const int64_t D = c.s.D, b = j / c.s.E * c.s.N + n0;
    Vec<T> h[NB];
    UNROLL for (int n = 0; n < NB; n++) h[n] = load(c.h + (n0 + n) * D + j);
    for (int t = 0; t < steps; t++) {
        Vec<T> decay = load(c.decay + t * D + j), du = load(c.du + t * D + j);
        const T *B = c.B + t * c.ldb + b, *C = c.C + t * c.ldb + b;
        Vec<T> y = n0 ? load(c.y + t * D + j) : splat(T(0));
        UNROLL for (int g = 0; g < NB; g += G) {
            Vec<T> other = splat(T(0));
            UNROLL for (int n = g; n < g + G; n++) {
                h[n] = decay * h[n] + du * B[n];
                if (n & 1) other += h[n] * C[n];
                else y += h[n] * C[n];
            }
            y += other;
        }
        store(c.y + t * D + j, y);
    }
    UNROLL for (int n = 0; n < NB; n++) store(c.h + (n0 + n) * D + j, h[n]);
}

template <class T> void scan_forward(const SsdChunk<T>& c, int steps) {
    constexpr int W = Lanes<T>::W;
    const SsdSizes& s = c.s;
    spread_steps(c, steps);
    int64_t n = 0;
#if LANES == 16
    for (; n + 16 <= s.N; n += 16)
        for (int64_t j = 0; j < s.D; j += W) ssd_states<T, 16>(c, steps, j, n);
#endif
    for (; n + 8 <= s.N; n += 8)
        for (int64_t j = 0; j < s.D; j += W) ssd_states<T, 8>(c, steps, j, n);
    for (; n < s.N; n += 4)
        for (int64_t j = 0; j < s.D; j += W) ssd_states<T, 4>(c, steps, j, n);
    if (!c.skip) return;
    for (int t = 0; t < steps; t++)
        for (int64_t j = 0; j < s.D; j += W)
            store(c.y + t * s.D + j, load(c.y + t * s.D + j) + load(c.skip + j) * load(c.u + t * c.ldu + j));
}

template <class T> struct SsdGradient {
    static constexpr int NB = 4, JB = 2;  // states and vectors of channels worked on at once
    T *y;                   // [CHUNK][D] in: gradient of y
    T *u, *B, *C;           // [CHUNK][ldu], [CHUNK][ldb] out
    T *dt;                  // [CHUNK][H] out: gradient of the step size
    T *exponent;            // [CHUNK][D] gradient of dt A, not yet added up over a head
    T *h;                   // [N][D] gradient of the state, carried backwards
    double* A;              // [h] accumulated: terms of either sign from every channel, state and step
    T* skip;                // [D] accumulated
    T *sumB, *sumC, *sums;  // [CHUNK][NB][W] lanes not yet added up; [CHUNK][NB] added
    T *states;              // [CHUNK + 1][NB][JB][W]
    const T* into;          // gradients of kept states [N][D], and at which steps
    const int64_t* at;
    int64_t kept;

    static int64_t room(const SsdSizes& s) {
        constexpr int W = Lanes<T>::W;
        return (CHUNK * (2 * s.D + s.H + 2 * NB * W + NB) + (CHUNK + 1) * NB * JB * W + s.N * s.D) * sizeof(T) +
               64 * 9;
    }
    static SsdGradient make(Arena& arena, const SsdSizes& s) {
        constexpr int W = Lanes<T>::W;
        SsdGradient g{};
        g.y = arena.take<T>(CHUNK * s.D), g.exponent = arena.take<T>(CHUNK * s.D);
        g.dt = arena.take<T>(CHUNK * s.H), g.h = arena.take<T>(s.N * s.D);
        g.sumB = arena.take<T>(CHUNK * NB * W), g.sumC = arena.take<T>(CHUNK * NB * W);
        g.sums = arena.take<T>(CHUNK * NB), g.states = arena.take<T>((CHUNK + 1) * NB * JB * W);
        memset(g.y, 0, CHUNK * s.D * sizeof(T)), memset(g.dt, 0, CHUNK * s.H * sizeof(T));
        return g;
    }
};

// States n0 .. n0 + NB of Q vectors of channels from j: forwards again, then back. `first`: of the
// group's channels, so that its sums over channels begin.
template <class T, int NB, int Q>
INLINE void ssd_adjoint(const SsdChunk<T>& c, const SsdGradient<T>& g, int steps, int64_t j, int64_t n0,
                        bool first) {
    constexpr int W = Lanes<T>::W;
    const int64_t D = c.s.D, b = j / c.s.E * c.s.N + n0;
    Vec<T> h[NB][Q];
    auto each = [&](auto work) INLINED {
        UNROLL for (int n = 0; n < NB; n++) UNROLL for (int q = 0; q < Q; q++) work(n, q);
    };
    each([&](int n, int q) INLINED {
        h[n][q] = load(c.h + (n0 + n) * D + j + q * W);
        store(g.states + (n * Q + q) * W, h[n][q]);
    });
    for (int t = 0; t < steps; t++) {
        const T* B = c.B + t * c.ldb + b;
        T* states = g.states + (t + 1) * NB * Q * W;
        Vec<T> decay[Q], du[Q];
        UNROLL for (int q = 0; q < Q; q++) {
            decay[q] = load(c.decay + t * D + j + q * W);
            du[q] = load(c.du + t * D + j + q * W);
        }
        each([&](int n, int q) INLINED {
            h[n][q] = decay[q] * h[n][q] + du[q] * B[n];
            store(states + (n * Q + q) * W, h[n][q]);
        });
    }
    Vec<T> carried[NB][Q];
    each([&](int n, int q) INLINED { carried[n][q] = load(g.h + (n0 + n) * D + j + q * W); });
    int64_t kept = g.kept - 1;
    for (int t = steps - 1; t >= 0; t--) {
        const T *B = c.B + t * c.ldb + b, *C = c.C + t * c.ldb + b;
        const T* states = g.states + t * NB * Q * W;
        T *sumB = g.sumB + t * NB * W, *sumC = g.sumC + t * NB * W;
        if (kept >= 0 && g.at[kept] == t) {
            const T* into = g.into + (kept * c.s.N + n0) * D + j;
            each([&](int n, int q) INLINED { carried[n][q] += load(into + n * D + q * W); });
            kept--;
        }
        Vec<T> ofB[NB], ofC[NB];
        UNROLL for (int n = 0; n < NB; n++) {
            ofB[n] = first ? splat(T(0)) : load(sumB + n * W);
            ofC[n] = first ? splat(T(0)) : load(sumC + n * W);
        }
        UNROLL for (int q = 0; q < Q; q++) {
            const int64_t i = t * D + j + q * W;
            Vec<T> decay = load(c.decay + i), du = load(c.du + i), dy = load(g.y + i);
            Vec<T> from_drive = splat(T(0)), from_decay = splat(T(0));
            UNROLL for (int n = 0; n < NB; n++) {
                Vec<T> adjoint = carried[n][q] + dy * C[n];
                ofC[n] += dy * load(states + ((NB + n) * Q + q) * W);
                ofB[n] += adjoint * du;
                from_drive += adjoint * B[n];
                carried[n][q] = adjoint * decay;
                from_decay += carried[n][q] * load(states + (n * Q + q) * W);
            }
            // g.u holds the gradient of dt u until the end.
            T *u = g.u + t * c.ldu + j + q * W, *exponent = g.exponent + i;
            store(u, n0 ? load(u) + from_drive : from_drive);
            store(exponent, n0 ? load(exponent) + from_decay : from_decay);
        }
        UNROLL for (int n = 0; n < NB; n++) store(sumB + n * W, ofB[n]), store(sumC + n * W, ofC[n]);
    }
    each([&](int n, int q) INLINED { store(g.h + (n0 + n) * D + j + q * W, carried[n][q]); });
}

// Sums over channels of one group's block of states, to the rows of B or C.
template <class T> void add_block(const SsdChunk<T>& c, const T* lanes, T* sums, int steps, T* rows) {
    constexpr int NB = SsdGradient<T>::NB;
    add_lanes(lanes, steps * NB, sums);
    for (int t = 0; t < steps; t++) memcpy(rows + t * c.ldb, sums + t * NB, NB * sizeof(T));
}

template <class T> INLINE T dot(const T* a, const T* b, int64_t count) {
    constexpr int W = Lanes<T>::W;
    Vec<T> sum = splat(T(0));
    int64_t i = 0;
    for (; i + W <= count; i += W) sum += load(a + i) * load(b + i);
    T total = lane_sum<T>(sum);
    for (; i < count; i++) total += a[i] * b[i];
    return total;
}
template <class T> INLINE T sum_of(const T* a, int64_t count) {
    constexpr int W = Lanes<T>::W;
    Vec<T> sum = splat(T(0));
    int64_t i = 0;
    for (; i + W <= count; i += W) sum += load(a + i);
    T total = lane_sum<T>(sum);
    for (; i < count; i++) total += a[i];
    return total;
}

// c.h must hold the state before the chunk; c.y is not computed.
template <class T> void scan_backward(const SsdChunk<T>& c, const SsdGradient<T>& g, int steps) {
    constexpr int W = Lanes<T>::W, NB = SsdGradient<T>::NB, JB = SsdGradient<T>::JB;
    const SsdSizes& s = c.s;
    spread_steps(c, steps);
    for (int64_t group = 0; group < s.g; group++)
        for (int64_t n = 0; n < s.N; n += NB) {
            const int64_t start = group * s.E, end = start + s.E;
            int64_t j = start;
            for (; j + JB * W <= end; j += JB * W) ssd_adjoint<T, NB, JB>(c, g, steps, j, n, j == start);
            for (; j < end; j += W) ssd_adjoint<T, NB, 1>(c, g, steps, j, n, j == start);
            add_block(c, g.sumB, g.sums, steps, g.B + group * s.N + n);
            add_block(c, g.sumC, g.sums, steps, g.C + group * s.N + n);
        }
    constexpr double ln2 = 0.6931471805599453;
    for (int64_t i = 0; i < s.h; i++) {
        const T rate = T(c.A2[i] * ln2);
        const int64_t k = s.at(i * s.p);
        for (int t = 0; t < steps; t++) {
            const T dt = c.dt[t * s.H + i], exponent = sum_of(g.exponent + t * s.D + k, s.p);
            g.dt[t * s.H + i] = dot(g.u + t * c.ldu + k, c.u + t * c.ldu + k, s.p) + exponent * rate;
            g.A[i] += double(exponent) * dt;
        }
        for (int t = 0; t < steps; t++) {
            const T dt = c.dt[t * s.H + i];
            T* u = g.u + t * c.ldu + k;
            for (int64_t j = 0; j < s.p; j++) u[j] *= dt;
        }
    }
    if (!c.skip) return;
    for (int64_t j = 0; j < s.D; j += W) {
        Vec<T> skip = load(c.skip + j), sum = splat(T(0));
        for (int t = 0; t < steps; t++) {
            Vec<T> dy = load(g.y + t * s.D + j);
            T* u = g.u + t * c.ldu + j;
            sum += dy * load(c.u + t * c.ldu + j);
            store(u, load(u) + skip * dy);
        }
        store(g.skip + j, load(g.skip + j) + sum);
    }
}

}  // namespace WIDTH
