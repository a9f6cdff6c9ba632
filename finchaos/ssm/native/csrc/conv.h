// The short causal convolution of every channel over one chunk of steps, with silu.
//
// Rows stand with the w - 1 rows before them: extended[i] is step i - (w - 1) of the chunk.
#pragma once
#include "rows.h"

namespace WIDTH {

// before[steps][D] = bias + sum_k weight[k] extended[t + k]; after = silu of it.
template <class T>
void convolve(const T* extended, const T* weight, const T* bias, int64_t w, int64_t D, int steps,
              bool silu, T* before, T* after) {
    for (int64_t j = 0; j < D; j += Lanes<T>::W)
        for (int t = 0; t < steps; t++) {
            Vec<T> sum = load(bias + j);
            for (int64_t k = 0; k < w; k++)
                sum += load(weight + k * D + j) * load(extended + (t + k) * D + j);
            store(before + t * D + j, sum);
            store(after + t * D + j, silu ? sum * sigmoid<T>(sum) : sum);
        }
}

// grad[steps][D] in: of the output, out: before silu. into[steps + w - 1][D] out: of the extended
// rows, where `carried` [w - 1][D] comes from the chunk after and leaves for the chunk before.
template <class T>
void convolve_backward(const T* extended, const T* before, const T* weight, int64_t w, int64_t D,
                       int steps, bool silu, T* grad, T* into, T* carried, T* grad_weight,
                       T* grad_bias) {
    memset(into, 0, steps * D * sizeof(T));
    memcpy(into + steps * D, carried, (w - 1) * D * sizeof(T));
    for (int64_t j = 0; j < D; j += Lanes<T>::W) {
        Vec<T> sum = splat(T(0));
        for (int64_t i = j; i < steps * D; i += D) {
            Vec<T> d = load(grad + i);
            if (silu) {
                Vec<T> x = load(before + i), s = sigmoid<T>(x);
                d *= s * (T(1) + x * (T(1) - s));
            }
            store(grad + i, d);
            sum += d;
        }
        store(grad_bias + j, load(grad_bias + j) + sum);
        for (int64_t k = 0; k < w; k++) {
            Vec<T> factor = load(weight + k * D + j), sum = splat(T(0));
            for (int t = 0; t < steps; t++) {
                Vec<T> d = load(grad + t * D + j);
                T* to = into + (t + k) * D + j;
                store(to, load(to) + factor * d);
                sum += d * load(extended + (t + k) * D + j);
            }
            store(grad_weight + k * D + j, load(grad_weight + k * D + j) + sum);
        }
    }
    memcpy(carried, into, (w - 1) * D * sizeof(T));
}

}  // namespace WIDTH

struct ConvCall {
    int64_t batch, time, d, w, threads, silu;
    void* x;
    int64_t strides[2];
    void *weight, *bias, *before;  // (d w), (d) or null, (b w-1 d) or null
    const int64_t* lengths;
    void *y, *last;  // (b t d), (b w-1 d)
    void *grad_y, *grad_last, *grad_x, *grad_weight, *grad_bias, *grad_before;
};

namespace WIDTH {

template <class T> struct ConvRun {
    const ConvCall& call;
    int64_t D, w;
    T *weight, *bias, *extended, *before, *after, *into, *carried;

    ConvRun(const ConvCall& call, Arena& arena)
        : call(call), D(round_up(call.d, Lanes<T>::W)), w(call.w) {
        weight = arena.take<T>(w * D), bias = arena.take<T>(D);
        extended = arena.take<T>((CHUNK + w - 1) * D), into = arena.take<T>((CHUNK + w - 1) * D);
        before = arena.take<T>(CHUNK * D), after = arena.take<T>(CHUNK * D);
        carried = arena.take<T>((w - 1) * D);
        turn<T>((T*)call.weight, call.d, w, weight, D, w);
        pad<T>((T*)call.bias, call.d, bias, D);
    }
    static int64_t room(const ConvCall& call) {
        int64_t D = round_up(call.d, Lanes<T>::W);
        return (4 * call.w + 4 * CHUNK + 4) * D * sizeof(T) + 64 * 10;
    }
    Moving<T> dense(void* p, int64_t steps) const { return {(T*)p, steps * call.d, call.d}; }
    int64_t length(int64_t b) const { return call.lengths ? call.lengths[b] : call.time; }
    // Rows first .. first + count of the input, those before the first from the state.
    void read(int64_t b, int64_t first, int count, T* rows) const {
        Moving<T> x{(T*)call.x, call.strides[0], call.strides[1]};
        for (int i = 0; i < count; i++) {
            int64_t t = first + i;
            T* row = rows + i * D;
            if (t >= 0) gather(x, b, t, 1, call.d, row, D);
            else if (call.before) gather(dense(call.before, w - 1), b, w - 1 + t, 1, call.d, row, D);
            else memset(row, 0, D * sizeof(T));
        }
    }
    void forward(int64_t b) {
        int64_t end = length(b);
        for (int64_t t0 = 0; t0 < end; t0 += CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            read(b, t0 - (w - 1), steps + int(w) - 1, extended);
            convolve(extended, weight, bias, w, D, steps, call.silu, before, after);
            scatter(after, D, dense(call.y, call.time), b, t0, steps, call.d);
        }
        clear(dense(call.y, call.time), b, end, call.time, call.d);
        read(b, end - (w - 1), int(w) - 1, extended);
        scatter(extended, D, dense(call.last, w - 1), b, 0, int(w) - 1, call.d);
    }
    void backward(int64_t b, T* grad_weight, T* grad_bias) {
        int64_t end = length(b);
        gather(dense(call.grad_last, w - 1), b, 0, int(w) - 1, call.d, carried, D);
        for (int64_t t0 = (end - 1) / CHUNK * CHUNK; end > 0 && t0 >= 0; t0 -= CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            read(b, t0 - (w - 1), steps + int(w) - 1, extended);
            convolve(extended, weight, bias, w, D, steps, call.silu, before, after);
            gather(dense(call.grad_y, call.time), b, t0, steps, call.d, after, D);
            convolve_backward(extended, before, weight, w, D, steps, call.silu, after, into,
                              carried, grad_weight, grad_bias);
            scatter(into + (w - 1) * D, D, dense(call.grad_x, call.time), b, t0, steps, call.d);
        }
        scatter(carried, D, dense(call.grad_before, w - 1), b, 0, int(w) - 1, call.d);
        clear(dense(call.grad_x, call.time), b, end, call.time, call.d);
    }
};

template <class T> int conv_forward(const ConvCall& call) {
    return in_parts(call.batch, call.threads, ConvRun<T>::room(call), [&](Arena arena, int64_t, Part part) {
        ConvRun<T> run(call, arena);
        for (int64_t b = part.first; b < part.end; b++) run.forward(b);
    });
}

template <class T> int conv_backward(const ConvCall& call) {
    const int64_t D = round_up(call.d, Lanes<T>::W), sums = (call.w + 1) * D;
    Sums<T> all(Part::count(call.batch), sums);
    if (all.failed()) return 1;
    int failed = in_parts(call.batch, call.threads, ConvRun<T>::room(call), [&](Arena arena, int64_t i, Part part) {
        ConvRun<T> run(call, arena);
        T* mine = all.part(i);
        for (int64_t b = part.first; b < part.end; b++) run.backward(b, mine, mine + call.w * D);
    });
    all.add();
    T* sum = all.part(0);
    turn_back(sum, D, (T*)call.grad_weight, call.d, call.w);
    if (call.grad_bias) memcpy(call.grad_bias, sum + call.w * D, call.d * sizeof(T));
    return failed;
}

}  // namespace WIDTH
