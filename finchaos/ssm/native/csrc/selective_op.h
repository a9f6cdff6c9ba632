// The selective scan as an operation on tensors: shares out the batch, walks the chunks.
#pragma once
#include "selective.h"

struct SelectiveCall {
    int64_t batch, time, d, n, threads, softplus;
    void *u, *delta, *z, *B, *C;  // (b t d), B and C (b t n); strides of batch and time below
    int64_t strides[10];
    void *A, *skip, *bias;  // (d n), (d), (d)
    void *before;           // (b d n) or null
    const int64_t* lengths;  // (b) or null
    const int64_t* keep;
    int64_t kept;
    void *y, *last, *states;   // (b t d), (b d n), (b k d n)
    void* checkpoints;         // (b chunks N D) padded, or null
    void *grad_y, *grad_last, *grad_states;
    void *grad_u, *grad_delta, *grad_z, *grad_B, *grad_C;
    void *grad_A, *grad_skip, *grad_bias, *grad_before;
};

namespace WIDTH {

template <class T> struct SelectiveRun {
    const SelectiveCall& call;
    SelectiveChunk<T> c;
    T* raw;   // [CHUNK][D] step size before softplus
    T* bias;  // [D]
    int64_t chunks;

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
        chunks = (call.time + CHUNK - 1) / CHUNK;
    }
    static int64_t room(const SelectiveCall& call) {
        int64_t D = round_up(call.d, Lanes<T>::W), N = round_up(call.n, 4), W = Lanes<T>::W;
        int64_t numbers = CHUNK * (12 * D + 4 * N + 2 * N * W) + (17 * CHUNK + 8) * W + 4 * N * D + 3 * D;
        return numbers * sizeof(T) + 64 * 40;
    }
    Moving<T> moving(void* p, int i) const {
        return {(T*)p, call.strides[2 * i], call.strides[2 * i + 1]};
    }
    Moving<T> dense(void* p, int64_t n) const { return {(T*)p, call.time * n, n}; }
    int64_t length(int64_t b) const { return call.lengths ? call.lengths[b] : call.time; }
    T* checkpoint(int64_t b, int64_t chunk) const {
        return (T*)call.checkpoints + (b * chunks + chunk) * c.N * c.D;
    }

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

    void forward(int64_t b) {
        int64_t end = length(b), next = 0;
        const int64_t block = call.d * call.n;
        turn<T>(call.before ? (T*)call.before + b * block : nullptr, call.d, call.n, c.h, c.D, c.N);
        for (int64_t t0 = 0; t0 < end; t0 += CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            if (call.checkpoints) memcpy(checkpoint(b, t0 / CHUNK), c.h, c.N * c.D * sizeof(T));
            read(b, t0, steps);
            // A state to keep ends a piece: its state is that of the scan after the piece.
            int from = 0;
            for (; next < call.kept && call.keep[next] < t0 + steps; next++) {
                int to = int(call.keep[next] + 1 - t0);
                piece(from, to);
                turn_back(c.h, c.D, (T*)call.states + (b * call.kept + next) * block, call.d, call.n);
                from = to;
            }
            piece(from, steps);
            scatter(c.out, c.D, dense(call.y, call.d), b, t0, steps, call.d);
        }
        for (; next < call.kept; next++)
            turn_back(c.h, c.D, (T*)call.states + (b * call.kept + next) * block, call.d, call.n);
        turn_back(c.h, c.D, (T*)call.last + b * block, call.d, call.n);
        clear(dense(call.y, call.d), b, end, call.time, call.d);
    }
    void piece(int from, int to) {
        if (from == to) return;
        SelectiveChunk<T> p = c;
        T** rows[] = {&p.u, &p.dt, &p.du, &p.y, &p.out};
        for (T** row : rows) *row += from * c.D;
        if (p.z) p.z += from * c.D;
        p.B += from * c.N, p.C += from * c.N;
        scan_forward(p, to - from);
    }

    void backward(int64_t b, SelectiveGradient<T>& g, T* grad_bias, Arena arena) {
        int64_t end = length(b), later = call.kept;
        const int64_t block = call.d * call.n;
        T* into = arena.take<T>(call.kept * c.N * c.D);
        int64_t* at = arena.take<int64_t>(call.kept);
        turn<T>((T*)call.grad_last + b * block, call.d, call.n, g.h, c.D, c.N);
        for (int64_t k = 0; k < call.kept; k++) {
            turn<T>((T*)call.grad_states + (b * call.kept + k) * block, call.d, call.n,
                    into + k * c.N * c.D, c.D, c.N);
            // A state kept in the padding is the last one.
            at[k] = call.keep[k] < end ? call.keep[k] : end - 1;
        }
        // Two kept states of one step are added into one.
        for (int64_t k = call.kept - 1; k > 0; k--)
            if (at[k] == at[k - 1])
                for (int64_t i = 0; i < c.N * c.D; i++) {
                    into[(k - 1) * c.N * c.D + i] += into[k * c.N * c.D + i];
                    into[k * c.N * c.D + i] = 0;
                }
        for (int64_t t0 = (end - 1) / CHUNK * CHUNK; end > 0 && t0 >= 0; t0 -= CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            read(b, t0, steps);
            memcpy(c.h, checkpoint(b, t0 / CHUNK), c.N * c.D * sizeof(T));
            gather(dense(call.grad_y, call.d), b, t0, steps, call.d, g.out, c.D);
            int64_t first = later;
            while (first > 0 && at[first - 1] >= t0) first--;
            // Steps within the chunk; doubles in the padding count once.
            int64_t local[CHUNK], count = 0;
            for (int64_t k = first; k < later; k++)
                if (k == first || at[k] != at[k - 1]) local[count++] = at[k] - t0;
            g.into = into + first * c.N * c.D, g.at = local, g.kept = count;
            later = first;
            scan_backward(c, g, steps);
            through_step_size(g.dt, raw, c.D, steps, call.softplus, grad_bias);
            scatter(g.u, c.D, dense(call.grad_u, call.d), b, t0, steps, call.d);
            scatter(g.dt, c.D, dense(call.grad_delta, call.d), b, t0, steps, call.d);
            if (c.z) scatter(g.z, c.D, dense(call.grad_z, call.d), b, t0, steps, call.d);
            scatter(g.B, c.N, dense(call.grad_B, call.n), b, t0, steps, call.n);
            scatter(g.C, c.N, dense(call.grad_C, call.n), b, t0, steps, call.n);
        }
        for (int64_t k = 0; end == 0 && k < call.kept; k++)
            for (int64_t i = 0; i < c.N * c.D; i++) g.h[i] += into[k * c.N * c.D + i];
        turn_back(g.h, c.D, (T*)call.grad_before + b * block, call.d, call.n);
        void* rows[] = {call.grad_u, call.grad_delta, c.z ? call.grad_z : nullptr};
        for (void* p : rows)
            if (p) clear(dense(p, call.d), b, end, call.time, call.d);
        clear(dense(call.grad_B, call.n), b, end, call.time, call.n);
        clear(dense(call.grad_C, call.n), b, end, call.time, call.n);
    }
};

template <class T> int selective_forward(const SelectiveCall& call) {
    return in_parts(call.batch, call.threads, SelectiveRun<T>::room(call),
                    [&](Arena arena, int64_t, Part part) {
                        SelectiveRun<T> run(call, arena);
                        for (int64_t b = part.first; b < part.end; b++) run.forward(b);
                    });
}

template <class T> int selective_backward(const SelectiveCall& call) {
    const int64_t D = round_up(call.d, Lanes<T>::W), N = round_up(call.n, 4);
    Sums<T> all(Part::count(call.batch), (N + 2) * D);  // A, skip, bias
    if (!all.data) return 1;
    int64_t kept = call.kept * (N * D * int64_t(sizeof(T)) + 8) + 256;
    int failed = in_parts(call.batch, call.threads, SelectiveRun<T>::room(call) + kept,
                          [&](Arena arena, int64_t i, Part part) {
                              SelectiveRun<T> run(call, arena);
                              auto g = SelectiveGradient<T>::make(arena, run.c);
                              g.A2 = all.part(i), g.skip = g.A2 + N * D;
                              for (int64_t b = part.first; b < part.end; b++)
                                  run.backward(b, g, g.skip + D, arena);
                          });
    T* sum = all.added();
    turn_back(sum, D, (T*)call.grad_A, call.d, call.n);
    if (call.grad_skip) memcpy(call.grad_skip, sum + N * D, call.d * sizeof(T));
    if (call.grad_bias) memcpy(call.grad_bias, sum + N * D + D, call.d * sizeof(T));
    return failed;
}

}  // namespace WIDTH
