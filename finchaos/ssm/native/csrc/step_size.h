// Step sizes from what a projection gives: a bias, softplus where asked, cut to a range.
#pragma once
#include "vec.h"

namespace WIDTH {

template <class T> struct StepSize {
    bool positive;
    T low, high;

    // raw[steps][D] in: without the bias, out: with it.
    void of(T* raw, const T* bias, int64_t D, int steps, T* dt) const {
        for (int t = 0; t < steps; t++)
            for (int64_t j = 0; j < D; j += Lanes<T>::W) {
                Vec<T> x = load(raw + t * D + j) + load(bias + j);
                store(raw + t * D + j, x);
            }
        again(raw, D, steps, dt);
    }
    // The step sizes from raw ones with their bias.
    void again(const T* raw, int64_t D, int steps, T* dt) const {
        for (int64_t i = 0; i < steps * D; i += Lanes<T>::W) {
            Vec<T> x = load(raw + i);
            if (positive) x = softplus<T>(x);
            store(dt + i, least<T>(most<T>(x, splat(low)), splat(high)));
        }
    }
    // From the gradient of the step size to that of what it came from, in place, and of its bias.
    void back(T* grad, const T* raw, int64_t D, int steps, T* grad_bias) const {
        for (int64_t j = 0; j < D; j += Lanes<T>::W) {
            Vec<T> sum = splat(T(0));
            for (int64_t i = j; i < steps * D; i += D) {
                Vec<T> d = load(grad + i), x = load(raw + i), dt = positive ? softplus<T>(x) : x;
                if (positive) d *= sigmoid<T>(x);
                d = dt < splat(low) ? splat(T(0)) : dt > splat(high) ? splat(T(0)) : d;
                store(grad + i, d);
                sum += d;
            }
            store(grad_bias + j, load(grad_bias + j) + sum);
        }
    }
};

}  // namespace WIDTH
