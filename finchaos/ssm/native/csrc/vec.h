// Vectors of LANES numbers and the functions of the scans on them. The file is compiled once for each
// width; everything lives in a namespace of that width.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if LANES == 16
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // the undefined operands of GCC's own headers
#endif
#include <immintrin.h>
#elif defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define WIDTH JOIN(lanes, LANES)
#define UNROLL _Pragma("GCC unroll 16")
#define INLINED __attribute__((always_inline))
#define INLINE inline INLINED

namespace WIDTH {

template <class T> struct Lanes;
template <> struct Lanes<float> {
    static constexpr int W = LANES;
    typedef float V __attribute__((vector_size(LANES * 4)));
    typedef float U __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
    typedef int32_t I __attribute__((vector_size(LANES * 4)));
};
template <> struct Lanes<double> {
    static constexpr int W = LANES / 2;
    typedef double V __attribute__((vector_size(LANES * 4)));
    typedef double U __attribute__((vector_size(LANES * 4), aligned(8), may_alias));
    typedef int64_t I __attribute__((vector_size(LANES * 4)));
};
template <class T> using Vec = typename Lanes<T>::V;

template <class T> INLINE Vec<T> load(const T* p) { return *(const typename Lanes<T>::U*)p; }
template <class T> INLINE void store(T* p, Vec<T> v) { *(typename Lanes<T>::U*)p = v; }
template <class T> INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }
// What is not a number in a stays so: a broken weight must not become a bound.
template <class T> INLINE Vec<T> least(Vec<T> a, Vec<T> b) { return b < a ? b : a; }
template <class T> INLINE Vec<T> most(Vec<T> a, Vec<T> b) { return b > a ? b : a; }
template <class T> INLINE Vec<T> magnitude(Vec<T> a) { return a < 0 ? -a : a; }

// The lanes of W vectors added up, one sum a lane, in one fixed order.
#define EACH4(f) f(0), f(1), f(2), f(3)
#define EACH8(f) EACH4(f), f(4), f(5), f(6), f(7)
#define EACH16(f) EACH8(f), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
#define LOW(l) (((l) & ~(2 * S - 1)) | ((l) & (S - 1))) + ((l) & S ? W : 0)
#define HIGH(l) ((((l) & ~(2 * S - 1)) | ((l) & (S - 1))) | S) + ((l) & S ? W : 0)
#ifdef __clang__
#define SHUFFLE(a, b, I, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, I, ...) __builtin_shuffle(a, b, I{__VA_ARGS__})
#endif
template <class T, int W, int S> struct Fold;
#define FOLD(count, each)                                                        \
    template <class T, int S> struct Fold<T, count, S> {                         \
        static constexpr int W = count;                                          \
        static INLINE Vec<T> of(Vec<T> a, Vec<T> b) {                            \
            typedef typename Lanes<T>::I I;                                      \
            return SHUFFLE(a, b, I, each(LOW)) + SHUFFLE(a, b, I, each(HIGH));   \
        }                                                                        \
    };
FOLD(16, EACH16)
FOLD(8, EACH8)
FOLD(4, EACH4)
#define EACH2(f) f(0), f(1)
FOLD(2, EACH2)
template <class T, int S> INLINE void fold(Vec<T>* v) {
    if constexpr (S > 0) {
        UNROLL for (int i = 0; i < S; i++) v[i] = Fold<T, Lanes<T>::W, S>::of(v[i], v[i + S]);
        fold<T, S / 2>(v);
    }
}
template <class T> INLINE Vec<T> totals(const T* vectors) {
    constexpr int W = Lanes<T>::W;
    Vec<T> v[W];
    UNROLL for (int i = 0; i < W; i++) v[i] = load(vectors + i * W);
    fold<T, W / 2>(v);
    return v[0];
}
// sums[i] = the lanes of vector i added up; room for a whole number of vectors of sums.
template <class T> void add_lanes(const T* vectors, int64_t count, T* sums) {
    constexpr int W = Lanes<T>::W;
    int64_t i = 0;
    for (; i + W <= count; i += W) store(sums + i, totals<T>(vectors + i * W));
    if (i < count) {
        T rest[W * W], out[W];
        memset(rest, 0, sizeof rest);
        memcpy(rest, vectors + i * W, (count - i) * W * sizeof(T));
        store(out, totals<T>(rest));
        memcpy(sums + i, out, (count - i) * sizeof(T));
    }
}

// The lanes of one vector added up.
template <class T> INLINE T lane_sum(Vec<T> v) {
    T x[Lanes<T>::W];
    store(x, v);
    for (int half = Lanes<T>::W / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

// 2^x for x <= 0 or moderate; below -126 (-1022) it is about zero. The polynomial is 1 exactly at
// zero: what is lost there is lost at every step of a slow state.
INLINE Vec<float> power_of_two(Vec<float> f) {
    Vec<float> p = splat(1.535336196e-4f);
    p = p * f + 1.339887502e-3f;
    p = p * f + 9.618436918e-3f;
    p = p * f + 5.550332367e-2f;
    p = p * f + 2.402264774e-1f;
    p = p * f + 6.931471825e-1f;
    return p * f + 1.0f;
}
INLINE Vec<double> power_of_two(Vec<double> f) {
    constexpr double taylor[] = {
        1.3691488853904129e-12, 2.5678435993488206e-11, 4.4455382718708116e-10,
        7.0549116208011233e-9, 1.0178086009239699e-7, 1.3215486790144309e-6,
        1.5252733804059841e-5, 1.5403530393381609e-4, 1.3333558146428443e-3,
        9.6181291076284771e-3, 5.5504108664821580e-2, 2.4022650695910072e-1,
        6.9314718055994531e-1};
    Vec<double> p = splat(taylor[0]);
    for (int i = 1; i < 13; i++) p = p * f + taylor[i];
    return p * f + 1.0;
}
#if LANES == 16
INLINE Vec<float> whole(Vec<float> x) { return _mm512_roundscale_ps(x, 8); }
INLINE Vec<double> whole(Vec<double> x) { return _mm512_roundscale_pd(x, 8); }
INLINE Vec<float> scaled(Vec<float> p, Vec<float> k) { return _mm512_scalef_ps(p, k); }
INLINE Vec<double> scaled(Vec<double> p, Vec<double> k) { return _mm512_scalef_pd(p, k); }
template <class T> INLINE Vec<T> within_exponents(Vec<T> x) { return x; }
#else
template <class T> constexpr T MAGIC = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);  // 1.5 * 2^23, 2^52
// Adding the magic number leaves a whole number in the low bits.
template <class T> INLINE Vec<T> whole_(Vec<T> x) { return (x + MAGIC<T>) - MAGIC<T>; }
INLINE Vec<float> whole(Vec<float> x) { return whole_<float>(x); }
INLINE Vec<double> whole(Vec<double> x) { return whole_<double>(x); }
template <class T> INLINE Vec<T> scaled_(Vec<T> p, Vec<T> k) {
    typedef typename Lanes<T>::I I;
    return (Vec<T>)((I)p + ((I)(k + MAGIC<T>) << (sizeof(T) == 4 ? 23 : 52)));
}
INLINE Vec<float> scaled(Vec<float> p, Vec<float> k) { return scaled_<float>(p, k); }
INLINE Vec<double> scaled(Vec<double> p, Vec<double> k) { return scaled_<double>(p, k); }
template <class T> INLINE Vec<T> within_exponents(Vec<T> x) {
    constexpr T top = sizeof(T) == 4 ? 126 : 1022;
    return least<T>(most<T>(x, splat(-top)), splat(top));
}
#endif
template <class T> INLINE Vec<T> exp2_of(Vec<T> x) {
    x = within_exponents<T>(x);
    Vec<T> k = whole(x);
    return scaled(power_of_two(x - k), k);
}
INLINE Vec<float> exp2v(Vec<float> x) { return exp2_of<float>(x); }
INLINE Vec<double> exp2v(Vec<double> x) { return exp2_of<double>(x); }
constexpr double LOG2E = 1.4426950408889634;

// exp(x) for x up to 87 (708), and below -87 (-708) what it is there, about zero. Not 2^(x log2 e), which would carry the rounding of that product, |x|
// times that of a number: x - k ln 2 is exact but for the last part of ln 2, k having few digits.
template <class T> INLINE Vec<T> expv(Vec<T> x) {
    constexpr T far = sizeof(T) == 4 ? 87 : 708;
    constexpr T high = sizeof(T) == 4 ? T(0.693359375) : T(0.693145751953125);
    constexpr T low = sizeof(T) == 4 ? T(-2.12194440054690583e-4) : T(1.42860682030941723e-6);
    x = most<T>(x, splat(-far));
    Vec<T> k = whole(x * T(LOG2E));
    Vec<T> rest = (x - k * high) - k * low;
    return scaled(power_of_two(rest * T(LOG2E)), k);
}
template <class T> INLINE Vec<T> sigmoid(Vec<T> x) {
    constexpr T far = sizeof(T) == 4 ? 87 : 700;
    Vec<T> s = T(1) / (T(1) + expv<T>(most<T>(least<T>(-x, splat(far)), splat(-far))));
    return x < -far ? splat(T(0)) : s;  // zero itself: a gate as low as -1e38 multiplies it
}
// log(1 + y) for 0 <= y <= 1 as 2 atanh(y / (2 + y)).
template <class T> INLINE Vec<T> log1p_unit(Vec<T> y) {
    Vec<T> s = y / (T(2) + y), q = s * s, p = splat(T(0));
    constexpr int terms = sizeof(T) == 4 ? 8 : 17;
    for (int k = terms; k > 0; k--) p = (p + T(1) / T(2 * k + 1)) * q;
    return T(2) * (s + s * p);
}
template <class T> INLINE Vec<T> softplus(Vec<T> x) {
    return most<T>(x, splat(T(0))) + log1p_unit<T>(expv<T>(-magnitude<T>(x)));
}

// Numbers below the normal range are taken as zero while a kernel runs: decayed states would reach
// it and be slow. The caller's mode comes back at the end.
struct FlushToZero {
#if LANES == 16 || defined(__SSE2__)
    unsigned before = _mm_getcsr();
    FlushToZero() { _mm_setcsr(before | 0x8040); }
    ~FlushToZero() { _mm_setcsr(before); }
#endif
};

INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace WIDTH
