// How CUDA reads and writes: numbers, and sixteen aligned bytes at a time. T: what is stored.
#pragma once

#include "cuda_numbers.h"

namespace spinegan {

constexpr int THREADS = 256;  // of the largest block

template <class T>
struct Wide {  // what numbers stored as T are computed in
    using type = float;
};
template <>
struct Wide<double> {
    using type = double;
};

template <class A, int N>
struct Several {
    using type = Pack<A, N>;
};
template <class A>
struct Several<A, 1> {
    using type = A;
};

template <class T>
struct HalfMemory {
    static SPINEGAN_HD float load(const T* p) {
        float low, high;
        unpack(p->bits, low, high, T());
        return low;
    }
    static SPINEGAN_HD void store(T* p, float v) { p->bits = static_cast<unsigned short>(pack(v, 0.0f, T())); }
};

template <class T>
struct EightHalves {
    static SPINEGAN_HD Pack<float, 8> load(const T* p) {
        const Words words = load_words(p);
        Pack<float, 8> v;
        SPINEGAN_UNROLL for (int i = 0; i < 4; ++i) unpack(words.word[i], v.lane[2 * i], v.lane[2 * i + 1], T());
        return v;
    }
    static SPINEGAN_HD void store(T* p, const Pack<float, 8>& v) {
        Words words;
        SPINEGAN_UNROLL for (int i = 0; i < 4; ++i) words.word[i] = pack(v.lane[2 * i], v.lane[2 * i + 1], T());
        store_words(p, words);
    }
};

template <>
struct Memory<float, bf16> : HalfMemory<bf16> {};
template <>
struct Memory<float, fp16> : HalfMemory<fp16> {};
template <>
struct Memory<Pack<float, 8>, bf16> : EightHalves<bf16> {};
template <>
struct Memory<Pack<float, 8>, fp16> : EightHalves<fp16> {};

template <>
struct Memory<Pack<float, 4>, float> {
    static SPINEGAN_HD Pack<float, 4> load(const float* p) {
        const Words w = load_words(p);
        return {{as_float(w.word[0]), as_float(w.word[1]), as_float(w.word[2]), as_float(w.word[3])}};
    }
    static SPINEGAN_HD void store(float* p, const Pack<float, 4>& v) {
        store_words(p, {{as_bits(v.lane[0]), as_bits(v.lane[1]), as_bits(v.lane[2]), as_bits(v.lane[3])}});
    }
};

template <>
struct Memory<Pack<float, 8>, float> {  // noise beside eight 16-bit pixels
    static SPINEGAN_HD Pack<float, 8> load(const float* p) {
        const Words a = load_words(p), b = load_words(p + 4);
        Pack<float, 8> v;
        SPINEGAN_UNROLL for (int i = 0; i < 4; ++i) {
            v.lane[i] = as_float(a.word[i]);
            v.lane[i + 4] = as_float(b.word[i]);
        }
        return v;
    }
};

template <>
struct Memory<Pack<double, 2>, double> {
    static SPINEGAN_HD Pack<double, 2> load(const double* p) {
        const Words w = load_words(p);
        return {{as_double(w.word[0], w.word[1]), as_double(w.word[2], w.word[3])}};
    }
    static SPINEGAN_HD void store(double* p, const Pack<double, 2>& v) {
        p[0] = v.lane[0];
        p[1] = v.lane[1];
    }
};

template <class V>
SPINEGAN_HD typename Lanes<V>::Number sum_of_lanes(const V& v) {
    auto sum = Lanes<V>::get(v, 0);
    SPINEGAN_UNROLL for (int i = 1; i < Lanes<V>::count; ++i) sum = sum + Lanes<V>::get(v, i);
    return sum;
}

/// The sum over `width` (a power of two) neighbouring threads of a warp; all threads of the warp take part.
template <class A>
SPINEGAN_HD A sum_of_threads(A v, int width) {
    for (int distance = width / 2; distance > 0; distance /= 2) v = v + __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

SPINEGAN_HD int smaller(int a, int b) { return a < b ? a : b; }
SPINEGAN_HD int thread_of_block() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }

}  // namespace spinegan
