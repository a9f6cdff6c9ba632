// The gate behind the scan of Mamba-2, and the norm before or after it.
#pragma once
#include "norm.h"

namespace WIDTH {

// Rows of `groups` times `count` channels, each group padded to `width`; no norm for no groups.
template <class T> struct Gate {
    int64_t groups, count, width, D;
    bool norm_first;
    T epsilon;
    T* weight;  // [D]

    // y, z to out; value[steps][D] is what stands between gate and norm, inverse[groups][CHUNK].
    void forward(const T* y, const T* z, int steps, T* value, T* inverse, T* out) const {
        if (groups && norm_first) norm(y, steps, inverse, value);
        const T* from = groups && norm_first ? value : y;
        T* to = groups && !norm_first ? value : out;
        for (int64_t i = 0; i < steps * D; i += Lanes<T>::W) {
            Vec<T> gate = load(z + i);
            store(to + i, load(from + i) * (gate * sigmoid<T>(gate)));
        }
        if (groups && !norm_first) norm(value, steps, inverse, out);
    }
    // After forward; grad in: of out, out: of y.
    void backward(const T* y, const T* z, int steps, const T* value, const T* inverse, T* grad, T* grad_z,
                  T* grad_weight) const {
        if (groups && !norm_first) norm_back(value, inverse, steps, grad, grad_weight);
        const T* gated = groups && norm_first ? value : y;
        for (int64_t i = 0; i < steps * D; i += Lanes<T>::W) {
            Vec<T> x = load(z + i), s = sigmoid<T>(x), d = load(grad + i);
            store(grad_z + i, d * load(gated + i) * (s * (T(1) + x * (T(1) - s))));
            store(grad + i, d * (x * s));
        }
        if (groups && norm_first) norm_back(y, inverse, steps, grad, grad_weight);
    }

  private:
    void norm(const T* rows, int steps, T* inverse, T* out) const {
        for (int64_t g = 0; g < groups; g++)
            normalise(rows + g * width, weight + g * width, count, width, D, steps, epsilon,
                      out + g * width, inverse + g * CHUNK);
    }
    void norm_back(const T* rows, const T* inverse, int steps, T* grad, T* grad_weight) const {
        for (int64_t g = 0; g < groups; g++)
            normalise_backward(rows + g * width, weight + g * width, inverse + g * CHUNK, count, width, D,
                               steps, grad + g * width, grad_weight + g * width);
    }
};

}  // namespace WIDTH
