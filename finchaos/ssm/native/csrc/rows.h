// Moving rows between a caller's tensors and the padded rows of a chunk, and sharing out a batch.
#pragma once
#include <cstdlib>
#include "vec.h"

namespace WIDTH {

// A batch is worked on in at most this many parts, each in order by one thread, and gradients of
// weights are added up part by part: the bits do not depend on the number of threads.
constexpr int PARTS = 16;

struct Part {
    int64_t first, end;
    static int64_t count(int64_t batch) { return batch < PARTS ? batch : PARTS; }
    static Part of(int64_t i, int64_t batch) {
        int64_t parts = count(batch);
        return {i * batch / parts, (i + 1) * batch / parts};
    }
};

constexpr int CHUNK = 32;  // steps worked on at once, and between kept states

// Bump allocation from one block that the caller owns.
struct Arena {
    char* at;
    template <class T> T* take(int64_t count) {
        T* p = (T*)(((uintptr_t)at + 63) / 64 * 64);
        at = (char*)(p + count);
        return p;
    }
};

// Work on the parts of a batch, each with its own working memory. 1 if memory could not be had.
template <class Work> int in_parts(int64_t batch, int64_t threads, int64_t room, Work work) {
    int failed = 0;
    const int64_t parts = Part::count(batch);
#pragma omp parallel for schedule(static, 1) num_threads(threads) reduction(| : failed)
    for (int64_t i = 0; i < parts; i++) {
        FlushToZero mode;
        void* block = malloc(room + 64);
        if (block) work(Arena{(char*)block}, i, Part::of(i, batch));
        else failed |= 1;
        free(block);
    }
    return failed;
}

// Gradients of weights: one row of numbers a part, added up in order at the end. Those of a weight
// that very many terms go into, of either sign, may be kept in double: `exact` of them.
template <class T> struct Sums {
    int64_t parts, size, exact;
    T* data;
    double* exact_data;
    Sums(int64_t parts, int64_t size, int64_t exact = 0)
        : parts(parts), size(size), exact(exact), data((T*)calloc(parts * size + 16, sizeof(T))),
          exact_data((double*)calloc(parts * exact + 1, sizeof(double))) {}
    ~Sums() { free(data), free(exact_data); }
    Sums(const Sums&) = delete;
    bool failed() const { return !data || !exact_data; }
    T* part(int64_t i) const { return data + i * size; }
    double* exact_part(int64_t i) const { return exact_data + i * exact; }
    // Into the first part.
    void add() const {
        for (int64_t k = 0; k < size; k++) {
            double sum = 0;
            for (int64_t i = 0; i < parts; i++) sum += data[i * size + k];
            data[k] = T(sum);
        }
        for (int64_t i = 1; i < parts; i++)
            for (int64_t k = 0; k < exact; k++) exact_data[k] += exact_data[i * exact + k];
    }
};

// A tensor whose last axis is dense; strides in numbers.
template <class T> struct Moving {
    T* p;
    int64_t batch, time;
    T* at(int64_t b, int64_t t) const { return p + b * batch + t * time; }
};

// rows[steps][padded] from a tensor with n numbers a step; the rest zero.
template <class T>
void gather(Moving<T> from, int64_t b, int64_t t0, int steps, int64_t n, T* rows, int64_t padded) {
    for (int t = 0; t < steps; t++) {
        memcpy(rows + t * padded, from.at(b, t0 + t), n * sizeof(T));
        if (padded > n) memset(rows + t * padded + n, 0, (padded - n) * sizeof(T));
    }
}
template <class T>
void scatter(const T* rows, int64_t padded, Moving<T> to, int64_t b, int64_t t0, int steps, int64_t n) {
    for (int t = 0; t < steps; t++) memcpy(to.at(b, t0 + t), rows + t * padded, n * sizeof(T));
}
template <class T> void clear(Moving<T> to, int64_t b, int64_t t0, int64_t t1, int64_t n) {
    for (int64_t t = t0; t < t1; t++) memset(to.at(b, t), 0, n * sizeof(T));
}

// [d][n] to [n][d], both padded with zeros, and back; times a factor.
template <class T>
void turn(const T* from, int64_t d, int64_t n, T* to, int64_t D, int64_t N, T factor = 1) {
    memset(to, 0, N * D * sizeof(T));
    if (from)
        for (int64_t i = 0; i < d; i++)
            for (int64_t k = 0; k < n; k++) to[k * D + i] = from[i * n + k] * factor;
}
template <class T> void turn_back(const T* from, int64_t D, T* to, int64_t d, int64_t n) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t k = 0; k < n; k++) to[i * n + k] = from[k * D + i];
}
template <class T> void pad(const T* from, int64_t n, T* to, int64_t padded) {
    memset(to, 0, padded * sizeof(T));
    if (from) memcpy(to, from, n * sizeof(T));
}

}  // namespace WIDTH
