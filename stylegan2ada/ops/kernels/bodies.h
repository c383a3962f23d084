// The arithmetic of the fused kernels, written once for the CPU (cpu.cpp) and for CUDA (cuda_*.cu, compiled by NVRTC).
//
// Every body computes a value of type V: one number (float, double) or several neighbours side by side. Neighbours are
// channels of one pixel in channels-last memory and pixels of one row in NCHW memory, so that they are neighbours in
// memory too. A platform chooses V: `Pack` below works anywhere; cpu_lanes.h has the compiler's own vectors.
//
//     window                the taps and pixels of one output of the FIR filter along one axis
//     fir_window            one output of a FIR filter: any filter, any up, any down
//     fir_tile, fir_block   neighbouring outputs of a row, of several rows; taps, up and down known to the compiler
//     Activation::forward   scaled, noisy, biased x -> result          (the epilogue)
//     Activation::backward  gradient of the result -> gradient of what the activation was applied to
//
// Numbers are computed in A (Lanes<V>::Number): float, or double for stored doubles. Memory<V, T> converts from and to
// what is stored, T: float, double, or a 16-bit type that the platform brings with its own Memory<float, T>.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SPINEGAN_HD __device__ __forceinline__
#define SPINEGAN_UNROLL _Pragma("unroll")
#elif defined(__clang__)
#define SPINEGAN_HD inline __attribute__((always_inline))
#define SPINEGAN_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SPINEGAN_HD inline __attribute__((always_inline))
#define SPINEGAN_UNROLL _Pragma("GCC unroll 64")
#else
#define SPINEGAN_HD inline
#define SPINEGAN_UNROLL
#endif

namespace spinegan {

using Index = long long;  // offsets in elements; `long` has 32 bits on Windows

// ---- V: one number or N of them -------------------------------------------------------------------------------------

template <class A, int N>
struct Pack {
    A lane[N];
};

#define SPINEGAN_OPERATOR(op, Result)                                                            \
    template <class A, int N>                                                                    \
    SPINEGAN_HD Pack<Result, N> operator op(const Pack<A, N>& a, const Pack<A, N>& b) {          \
        Pack<Result, N> r;                                                                       \
        SPINEGAN_UNROLL for (int i = 0; i < N; ++i) r.lane[i] = a.lane[i] op b.lane[i];          \
        return r;                                                                                \
    }
SPINEGAN_OPERATOR(+, A)
SPINEGAN_OPERATOR(-, A)
SPINEGAN_OPERATOR(*, A)
SPINEGAN_OPERATOR(>, bool)
SPINEGAN_OPERATOR(<, bool)
SPINEGAN_OPERATOR(>=, bool)
SPINEGAN_OPERATOR(<=, bool)
SPINEGAN_OPERATOR(!=, bool)
#undef SPINEGAN_OPERATOR

/// mask ? a : b, lane by lane. Both are computed, one is taken.
template <class M, class V>
SPINEGAN_HD V choose(M mask, V a, V b) {
    return mask ? a : b;
}

template <class A, int N>
SPINEGAN_HD Pack<A, N> choose(Pack<bool, N> mask, Pack<A, N> a, Pack<A, N> b) {
    Pack<A, N> r;
    SPINEGAN_UNROLL for (int i = 0; i < N; ++i) r.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return r;
}

/// What V is made of.
template <class V>
struct Lanes {  // float, double
    using Number = V;
    static constexpr int count = 1;
    static SPINEGAN_HD V splat(V number) { return number; }
    static SPINEGAN_HD V get(V v, int) { return v; }
};

template <class A, int N>
struct Lanes<Pack<A, N>> {
    using Number = A;
    static constexpr int count = N;
    static SPINEGAN_HD Pack<A, N> splat(A number) {
        Pack<A, N> r;
        SPINEGAN_UNROLL for (int i = 0; i < N; ++i) r.lane[i] = number;
        return r;
    }
    static SPINEGAN_HD A get(const Pack<A, N>& v, int i) { return v.lane[i]; }
};

// ---- memory ---------------------------------------------------------------------------------------------------------

/// Loads and stores Lanes<V>::count neighbours, rounding to nearest even. Not aligned beyond T's own alignment.
template <class V, class T>
struct Memory;

template <class A>
struct Memory<A, A> {
    static SPINEGAN_HD A load(const A* p) { return *p; }
    static SPINEGAN_HD void store(A* p, A v) { *p = v; }
};

template <class A, int N, class T>
struct Memory<Pack<A, N>, T> {
    static SPINEGAN_HD Pack<A, N> load(const T* p) {
        Pack<A, N> r;
        SPINEGAN_UNROLL for (int i = 0; i < N; ++i) r.lane[i] = Memory<A, T>::load(p + i);
        return r;
    }
    static SPINEGAN_HD void store(T* p, const Pack<A, N>& v) {
        SPINEGAN_UNROLL for (int i = 0; i < N; ++i) Memory<A, T>::store(p + i, v.lane[i]);
    }
};

/// The number that is read back after `number` has been stored as T.
template <class T, class A>
SPINEGAN_HD A as_stored(A number) {
    T t;
    Memory<A, T>::store(&t, number);
    return Memory<A, T>::load(&t);
}

// ---- FIR filter -----------------------------------------------------------------------------------------------------
// Along one axis, with u = the image with up-1 zeros after each pixel:  y[o] = sum_t f[t] u[o*down - pad + t].
// The filter is a correlation: who calls has flipped it and multiplied it by the gain.

/// The part of the sum that is not zero: taps tap, tap+up, ... meet pixels pixel, pixel+1, ..., `count` of them; all 0
/// where no tap meets a pixel.
struct Window {
    int tap, pixel, count;
};

SPINEGAN_HD Window window(int output, int up, int down, int pad, int taps, int pixels) {
    const int start = output * down - pad;                            // of the filter, in u
    int pixel = start > 0 ? (start + up - 1) / up : 0;                // the first one at or after it
    const int tap = pixel * up - start;
    int count = tap < taps ? (taps - 1 - tap) / up + 1 : 0;
    if (count > pixels - pixel) count = pixels - pixel;
    return count > 0 ? Window{tap, pixel, count} : Window{0, 0, 0};
}

/// One output (of V neighbours). x: the pixel (rows.pixel, columns.pixel); row, column: offsets between pixels;
/// f (height, width): the whole filter.
template <class V, class T, class A>
SPINEGAN_HD V fir_window(const T* x, Index row, Index column, Window rows, Window columns, const A* f, int width,
                         int up_x, int up_y) {
    V sum = Lanes<V>::splat(A(0));
    f += rows.tap * width + columns.tap;
    for (int i = 0; i < rows.count; ++i, x += row, f += up_y * width)
        for (int j = 0; j < columns.count; ++j)
            sum = sum + Lanes<V>::splat(f[j * up_x]) * Memory<V, T>::load(x + j * column);
    return sum;
}

/// Adds what one row of taps makes of one row of pixels to TILE neighbouring outputs of a row, none of which reaches
/// beyond the image's left or right side. FIRST: the `tap` of the first output's window along x; x: that window's first
/// pixel; f (TAPS): the row of taps. Pixels are loaded once for all outputs of the tile.
template <int TAPS, int UP, int DOWN, int FIRST, int TILE, class V, class T, class A>
SPINEGAN_HD void fir_add_row(const T* x, Index column, const A* f, V (&sum)[TILE]) {
    constexpr int pixels = (TAPS - 1 - FIRST + (TILE - 1) * DOWN) / UP + 1;
    SPINEGAN_UNROLL for (int j = 0; j < pixels; ++j) {
        const V pixel = Memory<V, T>::load(x + j * column);
        SPINEGAN_UNROLL for (int o = 0; o < TILE; ++o) {
            const int tap = FIRST + j * UP - o * DOWN;
            if (tap >= 0 && tap < TAPS) sum[o] = sum[o] + Lanes<V>::splat(f[tap]) * pixel;
        }
    }
}

/// TILE neighbouring outputs of a row. `rows` as for fir_window; x: the first pixel in the first row of `rows`;
/// f (height, TAPS).
template <int TAPS, int UP, int DOWN, int FIRST, int TILE, class V, class T, class A>
SPINEGAN_HD void fir_tile(const T* x, Index row, Index column, Window rows, const A* f, int up_y, V (&sum)[TILE]) {
    SPINEGAN_UNROLL for (int o = 0; o < TILE; ++o) sum[o] = Lanes<V>::splat(A(0));
    f += rows.tap * TAPS;
    for (int i = 0; i < rows.count; ++i, x += row, f += up_y * TAPS)
        fir_add_row<TAPS, UP, DOWN, FIRST>(x, column, f, sum);
}

/// TILE_Y rows of TILE neighbouring outputs, inside the image on all sides; f (TAPS, TAPS), all windows from tap 0 on.
template <int TAPS, int UP, int DOWN, int TILE_Y, int TILE, class V, class T, class A>
SPINEGAN_HD void fir_block(const T* x, Index row, Index column, const A* f, V (&sum)[TILE_Y][TILE]) {
    constexpr int pixels = (TAPS - 1 + (TILE_Y - 1) * DOWN) / UP + 1;
    SPINEGAN_UNROLL for (int o = 0; o < TILE_Y * TILE; ++o) sum[o / TILE][o % TILE] = Lanes<V>::splat(A(0));
    SPINEGAN_UNROLL for (int i = 0; i < pixels; ++i)
        SPINEGAN_UNROLL for (int o = 0; o < TILE_Y; ++o) {
            const int tap = i * UP - o * DOWN;
            if (tap >= 0 && tap < TAPS)
                fir_add_row<TAPS, UP, DOWN, 0>(x + i * row, column, f + tap * TAPS, sum[o]);
        }
}

// ---- epilogue -------------------------------------------------------------------------------------------------------

/// y = limit(leaky_relu(v, slope) * gain, clamp). slope 1: linear, 0: ReLU. gain > 0.
/// clamp: rounded as y is stored (as_stored), so that `backward` recognises it in y; NaN: no limit, since no comparison
/// with a NaN holds. A NaN in v stays one.
template <class A>
struct Activation {
    A slope, gain, clamp;

    /// v = x*scale + noise + bias; what is missing is 1 or 0.
    template <class V>
    SPINEGAN_HD V forward(V v) const {
        const V zero = Lanes<V>::splat(A(0)), limit = Lanes<V>::splat(clamp), floor = Lanes<V>::splat(-clamp);
        if (slope == A(0))  // of -Inf: 0, not Inf * 0
            v = choose(v < zero, zero, v * Lanes<V>::splat(gain));
        else
            v = v * choose(v > zero, Lanes<V>::splat(gain), Lanes<V>::splat(gain * slope));
        return choose(v > limit, limit, choose(v < floor, floor, v));
    }

    /// dy and y -> dv. On the limit the derivative is 0; a NaN in y lets dy through.
    template <class V>
    SPINEGAN_HD V backward(V dy, V y) const {
        const V zero = Lanes<V>::splat(A(0));
        const V factor = choose(y > zero, Lanes<V>::splat(gain), Lanes<V>::splat(gain * slope));
        const auto on_limit = y >= Lanes<V>::splat(clamp), on_floor = y <= Lanes<V>::splat(-clamp);
        return choose(on_limit, zero, choose(on_floor, zero, dy * factor));
    }

    /// dy -> dv where y is not needed: slope 1 and no clamp.
    template <class V>
    SPINEGAN_HD V backward(V dy) const {
        return dy * Lanes<V>::splat(gain);
    }
};

}  // namespace spinegan
