// Division by the root mean square over a row, and a scale.
#pragma once
#include "rows.h"

namespace WIDTH {

// rows[steps][ld] of m numbers, M as padded; out may not be rows. inverse[steps] is 1 / root mean
// square.
template <class T>
void normalise(const T* rows, const T* weight, int64_t m, int64_t M, int64_t ld, int steps, T epsilon,
               T* out, T* inverse) {
    for (int t = 0; t < steps; t++) {
        const T* x = rows + t * ld;
        Vec<T> sum = splat(T(0));
        for (int64_t j = 0; j < M; j += Lanes<T>::W) sum += load(x + j) * load(x + j);
        T scale = T(1) / std::sqrt(lane_sum<T>(sum) / T(m) + epsilon);
        inverse[t] = scale;
        for (int64_t j = 0; j < M; j += Lanes<T>::W)
            store(out + t * ld + j, load(x + j) * scale * load(weight + j));
    }
}

// grad[steps][ld] in: of the output, out: of the input.
template <class T>
void normalise_backward(const T* rows, const T* weight, const T* inverse, int64_t m, int64_t M,
                        int64_t ld, int steps, T* grad, T* grad_weight) {
    for (int t = 0; t < steps; t++) {
        const T* x = rows + t * ld;
        T* g = grad + t * ld;
        T scale = inverse[t];
        Vec<T> along = splat(T(0));
        for (int64_t j = 0; j < M; j += Lanes<T>::W)
            along += load(g + j) * load(weight + j) * load(x + j);
        T back = lane_sum<T>(along) * scale * scale / T(m);
        for (int64_t j = 0; j < M; j += Lanes<T>::W) {
            Vec<T> d = load(g + j), v = load(x + j);
            store(grad_weight + j, load(grad_weight + j) + d * v * scale);
            store(g + j, (d * load(weight + j) - v * back) * scale);
        }
    }
}

}  // namespace WIDTH
