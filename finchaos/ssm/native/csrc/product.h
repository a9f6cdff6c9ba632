// Products of a few rows with a matrix that was packed beforehand. Every output is one chain of
// fused multiply-adds over k in order, and what it is added to at the end, whatever the number of
// rows: a row's bits never depend on the rows beside it, so a stream gives the bits of the sequence.
#pragma once
#include "vec.h"

namespace WIDTH {

#if LANES == 16
constexpr int ROWS = 8;
#else
constexpr int ROWS = 4;
#endif

// Columns stand in panels two vectors wide (the last may be one), k rows each.
template <class T> int64_t packed_size(int64_t k, int64_t n) { return k * round_up(n, Lanes<T>::W); }

// source[i][j] (row stride by) becomes packed[k = j][n = i], or its transpose. Columns from n on are
// zero up to the next whole vector; at `column` in a packed matrix `width` columns wide.
template <class T, class Get>
void pack(T* packed, int64_t k, int64_t n, int64_t width, Get get) {
    constexpr int W = Lanes<T>::W;
    for (int64_t start = 0; start < width; start += 2 * W) {
        int64_t panel = width - start < 2 * W ? W : 2 * W;
        for (int64_t row = 0; row < k; row++)
            for (int64_t i = 0; i < panel; i++)
                *packed++ = start + i < n ? get(row, start + i) : T(0);
    }
}

template <class T, int R, int P>
INLINE void tile(const T* a, int64_t lda, const T* panel, int64_t k, T* c, int64_t ldc, bool add) {
    constexpr int W = Lanes<T>::W;
    Vec<T> sum[R][P];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) sum[r][p] = splat(T(0));
    for (int64_t i = 0; i < k; i++) {
        Vec<T> b[P];
        UNROLL for (int p = 0; p < P; p++) b[p] = load(panel + (i * P + p) * W);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int p = 0; p < P; p++) sum[r][p] += a[r * lda + i] * b[p];
    }
    // What is added to comes last: it may be large, and would round away every term.
    if (add)
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int p = 0; p < P; p++) sum[r][p] += load(c + r * ldc + p * W);
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) store(c + r * ldc + p * W, sum[r][p]);
}

// One row: Q panels at once, and a narrow one after them, so that one sum need not wait for another.
template <class T, int Q, int NARROW>
INLINE void row_tile(const T* a, const T* panel, int64_t k, T* c, bool add) {
    constexpr int W = Lanes<T>::W, P = 2 * Q + NARROW;
    Vec<T> sum[P];
    UNROLL for (int p = 0; p < P; p++) sum[p] = splat(T(0));
    for (int64_t i = 0; i < k; i++) {
        UNROLL for (int p = 0; p < 2 * Q; p++)
            sum[p] += a[i] * load(panel + (p / 2 * k + i) * 2 * W + p % 2 * W);
        if (NARROW) sum[P - 1] += a[i] * load(panel + (2 * Q * k + i) * W);
    }
    if (add)
        UNROLL for (int p = 0; p < P; p++) sum[p] += load(c + p * W);
    UNROLL for (int p = 0; p < P; p++) store(c + p * W, sum[p]);
}

template <class T, int Q>
INLINE void last_of_row(const T* a, const T* panel, int64_t k, int64_t width, T* c, bool add) {
    constexpr int W = Lanes<T>::W;
    if constexpr (Q > 0) {
        if (width / (2 * W) < Q) return last_of_row<T, Q - 1>(a, panel, k, width, c, add);
    }
    if (width % (2 * W)) row_tile<T, Q, 1>(a, panel, k, c, add);
    else row_tile<T, Q, 0>(a, panel, k, c, add);
}

template <class T>
void row_product(const T* a, const T* packed, int64_t k, int64_t width, T* c, bool add) {
    constexpr int W = Lanes<T>::W;
    int64_t j = 0;
    for (; width - j > 9 * W; j += 8 * W) row_tile<T, 4, 0>(a, packed + j * k, k, c + j, add);
    last_of_row<T, 4>(a, packed + j * k, k, width - j, c + j, add);
}

template <class T, int P>
INLINE void panel_product(const T* a, int64_t lda, int rows, const T* panel, int64_t k, T* c,
                          int64_t ldc, bool add) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS) tile<T, ROWS, P>(a + r * lda, lda, panel, k, c + r * ldc, ldc, add);
    if (rows - r >= 4 && ROWS > 4) tile<T, 4, P>(a + r * lda, lda, panel, k, c + r * ldc, ldc, add), r += 4;
    if (rows - r >= 2) tile<T, 2, P>(a + r * lda, lda, panel, k, c + r * ldc, ldc, add), r += 2;
    if (rows - r >= 1) tile<T, 1, P>(a + r * lda, lda, panel, k, c + r * ldc, ldc, add);
}

// c[rows][width] (+)= a[rows][k] packed[k][width]; width a multiple of the lanes.
template <class T>
void product(const T* a, int64_t lda, int rows, const T* packed, int64_t k, int64_t width, T* c,
             int64_t ldc, bool add = false) {
    constexpr int W = Lanes<T>::W;
    if (rows == 1) return row_product<T>(a, packed, k, width, c, add);
    int64_t j = 0;
    for (; j + 2 * W <= width; j += 2 * W)
        panel_product<T, 2>(a, lda, rows, packed + j * k, k, c + j, ldc, add);
    if (j < width) panel_product<T, 1>(a, lda, rows, packed + j * k, k, c + j, ldc, add);
}

template <class T, int R, int P>
INLINE void outer_tile(const T* a, int64_t lda, const T* b, int64_t ldb, int rows, T* c, int64_t ldc) {
    constexpr int W = Lanes<T>::W;
    Vec<T> sum[R][P];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) sum[r][p] = splat(T(0));
    for (int t = 0; t < rows; t++) {
        Vec<T> v[P];
        UNROLL for (int p = 0; p < P; p++) v[p] = load(b + t * ldb + p * W);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int p = 0; p < P; p++) sum[r][p] += a[t * lda + r] * v[p];
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) store(c + r * ldc + p * W, load(c + r * ldc + p * W) + sum[r][p]);
}

// c[m][width] += a[rows][m]^T b[rows][width]: the gradient of a weight.
template <class T>
void outer_product(const T* a, int64_t lda, int64_t m, const T* b, int64_t ldb, int64_t width,
                   int rows, T* c, int64_t ldc) {
    constexpr int W = Lanes<T>::W;
    for (int64_t j = 0; j < width; j += 2 * W) {
        bool two = j + 2 * W <= width;
        int64_t i = 0;
        for (; i + ROWS <= m; i += ROWS)
            two ? outer_tile<T, ROWS, 2>(a + i, lda, b + j, ldb, rows, c + i * ldc + j, ldc)
                : outer_tile<T, ROWS, 1>(a + i, lda, b + j, ldb, rows, c + i * ldc + j, ldc);
        for (; i < m; i++)
            two ? outer_tile<T, 1, 2>(a + i, lda, b + j, ldb, rows, c + i * ldc + j, ldc)
                : outer_tile<T, 1, 1>(a + i, lda, b + j, ldb, rows, c + i * ldc + j, ldc);
    }
}

}  // namespace WIDTH
