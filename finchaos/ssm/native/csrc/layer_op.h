// A whole layer as an operation on tensors: walks the chunks of a batch, whatever the layer is.
#pragma once
#include "rows.h"

// What the calls of all layers have in common.
struct LayerCall {
    int64_t batch, time, threads;
    void* x;                     // (b t m)
    const int64_t* lengths;      // (b) or null
    void *conv_before, *before;  // inputs of the convolution (b w-1 c), state; or null
    void *y, *conv_last, *last;
    void *saved, *checkpoints;  // (b t kept), (b chunks state), padded; null without gradient
    void *grad_y, *grad_conv_last, *grad_last;
    void *grad_x, *grad_conv_before, *grad_before;
    int64_t kept, state;  // out of layer_sizes: numbers that a step and a state take
};

namespace WIDTH {

// Chunk: rows x [CHUNK][M]; the convolution's inputs, padded to `row`, with those of w - 1 steps before
// them in `extended`; h() the state. keep and recall: what a step leaves for its gradient beside the
// convolution's inputs, `kept` numbers. Adjoint: gradients y, x [CHUNK][M], carried [w - 1][row], grad_h().
template <class T, class Chunk> struct LayerRun {
    const LayerCall& call;
    Chunk f;
    int64_t m, M, before, row, c, kept, size, numbers, chunks;

    LayerRun(const LayerCall& call, const typename Chunk::Weights& q, Arena& arena)
        : call(call), f(q, arena), m(q.m), M(q.M), before(q.w - 1), row(Chunk::conv_row(q)), c(f.conv_channels()),
          kept(row + Chunk::kept(q)), size(Chunk::size(q)), numbers(f.numbers()),
          chunks((call.time + CHUNK - 1) / CHUNK) {}
    Moving<T> rows(void* p) const { return {(T*)p, call.time * m, m}; }
    T* state(void* p, int64_t b) const { return p ? (T*)p + b * numbers : nullptr; }
    int64_t length(int64_t b) const { return call.lengths ? call.lengths[b] : call.time; }
    T* saved(int64_t b, int64_t t) const { return (T*)call.saved + (b * call.time + t) * kept; }
    T* checkpoint(int64_t b, int64_t t0) const { return (T*)call.checkpoints + (b * chunks + t0 / CHUNK) * size; }

    // Inputs of the convolution before the first step, between torch's rows and padded ones.
    void enter_window(void* from, int64_t b, T* to) const {
        memset(to, 0, before * row * sizeof(T));
        for (int64_t i = 0; from && i < before; i++)
            f.enter_row((T*)from + (b * before + i) * c, to + i * row);
    }
    void leave_window(const T* from, void* to, int64_t b) const {
        for (int64_t i = 0; i < before; i++) f.leave_row(from + i * row, (T*)to + (b * before + i) * c);
    }

    void forward(int64_t b, T* y) {
        const int64_t end = length(b);
        enter_window(call.conv_before, b, f.extended);
        f.enter(state(call.before, b), f.h());
        for (int64_t t0 = 0; t0 < end; t0 += CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            gather(rows(call.x), b, t0, steps, m, f.x, M);
            if (call.saved) memcpy(checkpoint(b, t0), f.h(), size * sizeof(T));
            f.forward(steps, y);
            for (int t = 0; call.saved && t < steps; t++) {
                memcpy(saved(b, t0 + t), f.inputs() + t * row, row * sizeof(T));
                f.keep(t, saved(b, t0 + t) + row);
            }
            scatter(y, M, rows(call.y), b, t0, steps, m);
            f.remember(steps);
        }
        clear(rows(call.y), b, end, call.time, m);
        leave_window(f.extended, call.conv_last, b);
        f.leave(f.h(), state(call.last, b));
    }

    // Steps t0 - (w - 1) .. t0 + steps of the convolution's inputs, and what else was kept.
    void recall(int64_t b, int64_t t0, int steps) {
        if (t0 < before) enter_window(call.conv_before, b, f.extended);
        for (int64_t i = 0; i < steps + before; i++) {
            int64_t t = t0 + i - before;
            if (t >= 0) memcpy(f.extended + i * row, saved(b, t), row * sizeof(T));
            // Before the sequence: row w - 1 + t of the window.
            else if (t0 > 0) memcpy(f.extended + i * row, f.extended + (before + t) * row, row * sizeof(T));
        }
        for (int t = 0; t < steps; t++) f.recall(t, saved(b, t0 + t) + row);
    }

    template <class Adjoint, class Sums> void backward(int64_t b, Adjoint& a, const Sums& sums) {
        const int64_t end = length(b);
        enter_window(call.grad_conv_last, b, a.carried);
        f.enter(state(call.grad_last, b), a.grad_h());
        for (int64_t t0 = (end - 1) / CHUNK * CHUNK; end > 0 && t0 >= 0; t0 -= CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            gather(rows(call.x), b, t0, steps, m, f.x, M);
            gather(rows(call.grad_y), b, t0, steps, m, a.y, M);
            recall(b, t0, steps);
            memcpy(f.h(), checkpoint(b, t0), size * sizeof(T));
            a.backward(f, sums, steps);
            scatter(a.x, M, rows(call.grad_x), b, t0, steps, m);
        }
        clear(rows(call.grad_x), b, end, call.time, m);
        leave_window(a.carried, call.grad_conv_before, b);
        f.leave(a.grad_h(), state(call.grad_before, b));
    }
};

template <class T, class Chunk, class Parts> int layer_sizes(LayerCall& call, const Parts& parts) {
    auto q = Chunk::Weights::sizes(parts);
    call.kept = Chunk::conv_row(q) + Chunk::kept(q), call.state = Chunk::size(q);
    return 0;
}

template <class T, class Chunk, class Parts> int layer_forward(const LayerCall& call, const Parts& parts) {
    auto q = Chunk::Weights::sizes(parts);
    void* block = malloc(q.room(false) + 64);
    if (!block) return 1;
    Arena arena{(char*)block};
    q = Chunk::Weights::read(parts, arena, false);
    int64_t room = Chunk::room(q) + (CHUNK * q.M + 16) * sizeof(T);
    int failed = in_parts(call.batch, call.threads, room, [&](Arena arena, int64_t, Part part) {
        LayerRun<T, Chunk> run(call, q, arena);
        T* y = arena.take<T>(CHUNK * q.M);
        for (int64_t b = part.first; b < part.end; b++) run.forward(b, y);
    });
    free(block);
    return failed;
}

// leave(sums, weights): the gradients of the weights, added up, to the caller's tensors.
template <class T, class Chunk, class Adjoint, class Parts, class Leave>
int layer_backward(const LayerCall& call, const Parts& parts, Leave leave) {
    typedef typename Adjoint::Sums Sums_;
    auto q = Chunk::Weights::sizes(parts);
    void* block = malloc(q.room(true) + 64);
    Sums<T> all(Part::count(call.batch), Sums_::size(q), Sums_::exact(q));
    if (!block || all.failed()) return free(block), 1;
    Arena arena{(char*)block};
    q = Chunk::Weights::read(parts, arena, true);
    int64_t room = Chunk::room(q) + Adjoint::room(q);
    int failed = in_parts(call.batch, call.threads, room, [&](Arena arena, int64_t i, Part part) {
        LayerRun<T, Chunk> run(call, q, arena);
        Sums_ sums(all.part(i), all.exact_part(i), q);
        Adjoint adjoint(run.f, sums, arena);
        for (int64_t b = part.first; b < part.end; b++) run.backward(b, adjoint, sums);
    });
    all.add();
    leave(Sums_(all.part(0), all.exact_part(0), q), q);
    free(block);
    return failed;
}

template <class T> void narrow(const T* from, int64_t rows, int64_t padded, void* to, int64_t n) {
    for (int64_t i = 0; i < rows; i++) memcpy((T*)to + i * n, from + i * padded, n * sizeof(T));
}

}  // namespace WIDTH
