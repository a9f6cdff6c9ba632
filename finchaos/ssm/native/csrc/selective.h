// The selective scan of Mamba-1 over one chunk of steps, forwards and backwards.
//
//     h[n] = exp(dt A[n]) h[n] + dt u B[n],   y = sum_n h[n] C[n] + D u,   out = y silu(z)
//
// Lanes run over channels. States stand as [n][channel]; the exponent uses A log2(e).
#pragma once
#include "rows.h"

namespace WIDTH {

template <class T> struct SelectiveChunk {
    int64_t D, N;    // as padded: D to lanes, N to four
    int64_t ldb;     // row length of B and C
    T *u, *dt, *du;  // [CHUNK][D]: input, step size, their product
    T *z, *y, *out;  // gate (may be null); sum over states plus skip; gated
    T *B, *C;        // [CHUNK][N]
    T *A2, *skip;    // [N][D] times log2(e), [D] (may be null)
    T *h;            // [N][D], carried

    static SelectiveChunk make(Arena& arena, int64_t D, int64_t N) {
        SelectiveChunk c{};
        c.D = round_up(D, Lanes<T>::W), c.N = round_up(N, 4), c.ldb = c.N;
        T** rows[] = {&c.u, &c.dt, &c.du, &c.z, &c.y, &c.out};
        for (T** row : rows) *row = arena.take<T>(CHUNK * c.D);
        c.B = arena.take<T>(CHUNK * c.N), c.C = arena.take<T>(CHUNK * c.N);
        c.h = arena.take<T>(c.N * c.D);
        return c;
    }
};

// States n0 .. n0 + NB of W channels from j. Sums in groups of at most eight states, so that the
// bits of y are the same whichever NB computes them. KEEP: decays and states of each step are kept.
template <class T, int NB, bool KEEP>
INLINE void scan_states(const SelectiveChunk<T>& c, int steps, int64_t j, int64_t n0, T* decays,
                        T* states) {
    constexpr int W = Lanes<T>::W, G = NB < 8 ? NB : 8;
    Vec<T> h[NB], A2[NB];
    UNROLL for (int n = 0; n < NB; n++) {
        h[n] = load(c.h + (n0 + n) * c.D + j);
        A2[n] = load(c.A2 + (n0 + n) * c.D + j);
        if (KEEP) store(states + n * W, h[n]);
    }
    for (int t = 0; t < steps; t++) {
        Vec<T> dt = load(c.dt + t * c.D + j), du = load(c.du + t * c.D + j);
        const T *B = c.B + t * c.ldb + n0, *C = c.C + t * c.ldb + n0;
        Vec<T> y = n0 ? load(c.y + t * c.D + j) : splat(T(0));
        UNROLL for (int g = 0; g < NB; g += G) {
            Vec<T> other = splat(T(0));
            UNROLL for (int n = g; n < g + G; n++) {
                Vec<T> decay = exp2v(dt * A2[n]);
                h[n] = decay * h[n] + du * B[n];
                if (n & 1) other += h[n] * C[n];
                else y += h[n] * C[n];
                if (KEEP) {
                    store(decays + (t * NB + n) * W, decay);
                    store(states + ((t + 1) * NB + n) * W, h[n]);
                }
            }
            y += other;
        }
        store(c.y + t * c.D + j, y);
    }
    UNROLL for (int n = 0; n < NB; n++) store(c.h + (n0 + n) * c.D + j, h[n]);
}

template <class T> void drive(const SelectiveChunk<T>& c, int steps) {
    for (int64_t i = 0; i < steps * c.D; i += Lanes<T>::W)
        store(c.du + i, load(c.u + i) * load(c.dt + i));
}

// Skip and gate. y becomes the sum with the skip, out the gated output.
template <class T> void finish(const SelectiveChunk<T>& c, int steps) {
    for (int t = 0; t < steps; t++)
        for (int64_t j = 0; j < c.D; j += Lanes<T>::W) {
            int64_t i = t * c.D + j;
            Vec<T> y = load(c.y + i);
            if (c.skip) y += load(c.skip + j) * load(c.u + i);
            store(c.y + i, y);
            if (c.z) {
                Vec<T> z = load(c.z + i);
                y *= z * sigmoid<T>(z);
            }
            store(c.out + i, y);
        }
}

template <class T> void scan_forward(const SelectiveChunk<T>& c, int steps) {
    constexpr int W = Lanes<T>::W;
    drive(c, steps);
    int64_t n = 0;
#if LANES == 16
    for (; n + 16 <= c.N; n += 16)
        for (int64_t j = 0; j < c.D; j += W)
            scan_states<T, 16, false>(c, steps, j, n, nullptr, nullptr);
#endif
    for (; n + 8 <= c.N; n += 8)
        for (int64_t j = 0; j < c.D; j += W)
            scan_states<T, 8, false>(c, steps, j, n, nullptr, nullptr);
    for (; n < c.N; n += 4)
        for (int64_t j = 0; j < c.D; j += W)
            scan_states<T, 4, false>(c, steps, j, n, nullptr, nullptr);
    finish(c, steps);
}

template <class T> struct SelectiveGradient {
    T *out;                 // [CHUNK][D] in: gradient of the gated output
    T *y;                   // [CHUNK][D] gradient of the sum over states
    T *u, *dt, *z;          // [CHUNK][D] out: gradients; dt that of the step size
    T *B, *C;               // [CHUNK][N] out
    T *h;                   // [N][D] gradient of the state, carried backwards
    T *A2, *skip;           // accumulated: gradient of A (not of A log2 e) and of D
    T *sumB, *sumC;         // [CHUNK][N][W] lanes not yet added up
    T *decays, *states;     // kept by one block of states
    const T* into;          // [steps kept][N][D] gradients of kept states, see steps
    const int64_t* at;      // step of this chunk or -1 .. , one entry a kept state
    int64_t kept;

    static SelectiveGradient make(Arena& arena, const SelectiveChunk<T>& c) {
        constexpr int W = Lanes<T>::W;
        SelectiveGradient g{};
        T** rows[] = {&g.out, &g.y, &g.u, &g.dt, &g.z};
        for (T** row : rows) *row = arena.take<T>(CHUNK * c.D);
        g.B = arena.take<T>(CHUNK * c.N), g.C = arena.take<T>(CHUNK * c.N);
        g.h = arena.take<T>(c.N * c.D);
        g.sumB = arena.take<T>(CHUNK * c.N * W), g.sumC = arena.take<T>(CHUNK * c.N * W);
        g.decays = arena.take<T>(CHUNK * 8 * W), g.states = arena.take<T>((CHUNK + 1) * 8 * W);
        return g;
    }
};

template <class T, int NB>
INLINE void adjoint_states(const SelectiveChunk<T>& c, const SelectiveGradient<T>& g, int steps,
                           int64_t j, int64_t n0) {
    constexpr int W = Lanes<T>::W;
    scan_states<T, NB, true>(c, steps, j, n0, g.decays, g.states);
    Vec<T> carried[NB], dA[NB];
    UNROLL for (int n = 0; n < NB; n++) {
        carried[n] = load(g.h + (n0 + n) * c.D + j);
        dA[n] = splat(T(0));  // summed by chunk: fewer roundings than one long sum
    }
    constexpr T ln2 = T(0.6931471805599453);
    int64_t kept = g.kept - 1;
    for (int t = steps - 1; t >= 0; t--) {
        Vec<T> dt = load(c.dt + t * c.D + j), du = load(c.du + t * c.D + j);
        Vec<T> dy = load(g.y + t * c.D + j);
        const T *B = c.B + t * c.ldb + n0, *C = c.C + t * c.ldb + n0;
        T *sumB = g.sumB + (t * c.N + n0) * W, *sumC = g.sumC + (t * c.N + n0) * W;
        const T *decays = g.decays + t * NB * W, *states = g.states + t * NB * W;
        if (kept >= 0 && g.at[kept] == t) {
            UNROLL for (int n = 0; n < NB; n++)
                carried[n] += load(g.into + (kept * c.N + n0 + n) * c.D + j);
            kept--;
        }
        Vec<T> from_drive = splat(T(0)), from_decay = splat(T(0));
        UNROLL for (int n = 0; n < NB; n++) {
            Vec<T> before = load(states + n * W), after = load(states + (NB + n) * W);
            Vec<T> adjoint = carried[n] + dy * C[n];
            store(sumC + n * W, (j ? load(sumC + n * W) : splat(T(0))) + dy * after);
            store(sumB + n * W, (j ? load(sumB + n * W) : splat(T(0))) + adjoint * du);
            from_drive += adjoint * B[n];
            carried[n] = adjoint * load(decays + n * W);
            Vec<T> exponent = carried[n] * before;
            from_decay += exponent * load(c.A2 + (n0 + n) * c.D + j);
            dA[n] += exponent * dt;
        }
        // g.u holds the gradient of dt u until the end, g.dt that through the decay.
        T *u = g.u + t * c.D + j, *d = g.dt + t * c.D + j;
        store(u, n0 ? load(u) + from_drive : from_drive);
        store(d, n0 ? load(d) + from_decay * ln2 : from_decay * ln2);
    }
    UNROLL for (int n = 0; n < NB; n++) {
        store(g.h + (n0 + n) * c.D + j, carried[n]);
        store(g.A2 + (n0 + n) * c.D + j, load(g.A2 + (n0 + n) * c.D + j) + dA[n]);
    }
}

// From the gradient of the step size to that of what it came from, in place, and of its bias.
template <class T>
void through_step_size(T* grad, const T* raw, int64_t D, int steps, bool positive, T* grad_bias) {
    for (int64_t j = 0; j < D; j += Lanes<T>::W) {
        Vec<T> sum = splat(T(0));
        for (int64_t i = j; i < steps * D; i += D) {
            Vec<T> d = load(grad + i);
            if (positive) d *= sigmoid<T>(load(raw + i));
            store(grad + i, d);
            sum += d;
        }
        store(grad_bias + j, load(grad_bias + j) + sum);
    }
}

// c.h must hold the state before the chunk. Leaves c.y, c.out as forwards.
template <class T>
void scan_backward(const SelectiveChunk<T>& c, const SelectiveGradient<T>& g, int steps) {
    constexpr int W = Lanes<T>::W;
    drive(c, steps);
    for (int64_t i = 0; i < steps * c.D; i += W) {
        Vec<T> dy = load(g.out + i);
        if (c.z) {
            Vec<T> z = load(c.z + i);
            dy *= z * sigmoid<T>(z);
        }
        store(g.y + i, dy);
    }
    int64_t n = 0;
    for (; n + 8 <= c.N; n += 8)
        for (int64_t j = 0; j < c.D; j += W) adjoint_states<T, 8>(c, g, steps, j, n);
    for (; n < c.N; n += 4)
        for (int64_t j = 0; j < c.D; j += W) adjoint_states<T, 4>(c, g, steps, j, n);
    finish(c, steps);
    for (int64_t j = 0; j < c.D; j += W) {
        Vec<T> skip = c.skip ? load(c.skip + j) : splat(T(0)), dskip = splat(T(0));
        for (int64_t i = j; i < steps * c.D; i += c.D) {
            Vec<T> u = load(c.u + i), dt = load(c.dt + i), dy = load(g.y + i), d = load(g.u + i);
            store(g.dt + i, load(g.dt + i) + d * u);
            store(g.u + i, d * dt + skip * dy);
            dskip += dy * u;
            if (c.z) {
                Vec<T> z = load(c.z + i), s = sigmoid<T>(z);
                store(g.z + i, load(g.out + i) * load(c.y + i) * s * (T(1) + z * (T(1) - s)));
            }
        }
        if (c.skip) store(g.skip + j, load(g.skip + j) + dskip);
    }
    add_lanes(g.sumB, steps * c.N, g.B);
    add_lanes(g.sumC, steps * c.N, g.C);
}

}  // namespace WIDTH
