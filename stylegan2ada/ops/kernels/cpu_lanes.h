// What bodies.h leaves to the CPU: vectors of the compiler's own, and the 16-bit types as bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "bodies.h"

namespace spinegan {

struct BFloat16 {
    uint16_t bits;
};
struct Float16 {
    uint16_t bits;
};

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

#if defined(__GNUC__)  // and clang

template <class A, int N>
struct NativeVector {
    typedef A type __attribute__((vector_size(sizeof(A) * N)));
};

template <class A>
using Wide = typename NativeVector<A, vector_bytes / sizeof(A)>::type;

template <class A>
struct NativeLanes {
    using Number = A;
    using V = Wide<A>;
    static constexpr int count = vector_bytes / sizeof(A);
    static SPINEGAN_HD V splat(A number) { return number - V{}; }  // -0 stays
    static SPINEGAN_HD A get(V v, int i) { return v[i]; }
};
template <>
struct Lanes<Wide<float>> : NativeLanes<float> {};
template <>
struct Lanes<Wide<double>> : NativeLanes<double> {};

template <class To, class From>
SPINEGAN_HD To convert(From v) {
    return __builtin_convertvector(v, To);
}

using WideFloat = Wide<float>;
using WideWord = Wide<uint32_t>;
using WideHalf = NativeVector<uint16_t, vector_bytes / 4>::type;

#else  // lane by lane; the compiler may find the vectors

template <class A>
using Wide = Pack<A, vector_bytes / int(sizeof(A))>;

#endif

/// A hint; never faults.
template <bool TO_WRITE>
SPINEGAN_HD void prefetch(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, TO_WRITE);
#else
    (void)p;
#endif
}

template <class To, class From>
SPINEGAN_HD To same_bits(From from) {
    To to;
    static_assert(sizeof(to) == sizeof(from), "the same bits");
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

/// 16-bit patterns (in the low half of words W) <-> float patterns; W: uint32_t or a vector of them, V: the floats.
template <class T>
struct Format;

template <>
struct Format<BFloat16> {
    template <class V, class W>
    static SPINEGAN_HD W widen(W half) {
        return half << 16;
    }
    template <class V, class W>
    static SPINEGAN_HD W narrow(W word) {
        const W rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;  // to nearest, ties to even
        const W not_a_number = (word & 0) + 0x7fc0;
        return choose((word & 0x7fffffff) > 0x7f800000, not_a_number, rounded);
    }
};

template <>
struct Format<Float16> {
    template <class V, class W>
    static SPINEGAN_HD W widen(W half) {
        const W magnitude = half & 0x7fff, sign = (half & 0x8000) << 16;
        const W normal = (magnitude << 13) + (112u << 23);  // exponent bias 15 -> 127
        // A subnormal counts steps of 2^-24: put them into the mantissa of 2^-14 and take 2^-14 away again.
        const V steps = same_bits<V>((magnitude << 13) + (113u << 23));
        const W subnormal = same_bits<W>(steps - Lanes<V>::splat(6.103515625e-5f));
        const W special = normal + (112u << 23);  // Inf, NaN
        return sign | choose(magnitude < 0x400, subnormal, choose(magnitude >= 0x7c00, special, normal));
    }
    template <class V, class W>
    static SPINEGAN_HD W narrow(W word) {
        const W sign = word & 0x80000000u, magnitude = word ^ sign;
        const W normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;  // ties to even
        // Adding 0.5 leaves steps of 2^-24 in the last bits, rounded to even by the addition.
        const V steps = same_bits<V>(magnitude) + Lanes<V>::splat(0.5f);
        const W subnormal = same_bits<W>(steps) - (126u << 23);
        const W zero = word & 0, infinite = zero + 0x7c00, not_a_number = zero + 0x7e00;
        const W special = choose(magnitude > 0x7f800000, not_a_number, infinite);  // NaN; 2^16 and more
        const W finite = choose(magnitude < (113u << 23), subnormal, normal);
        return (sign >> 16) | choose(magnitude >= 0x47800000, special, finite);
    }
};

template <class T>
struct ScalarMemory16 {
    static SPINEGAN_HD float load(const T* p) {
        return same_bits<float>(Format<T>::template widen<float>(uint32_t(p->bits)));
    }
    static SPINEGAN_HD void store(T* p, float v) {
        p->bits = uint16_t(Format<T>::template narrow<float>(same_bits<uint32_t>(v)));
    }
};
template <>
struct Memory<float, BFloat16> : ScalarMemory16<BFloat16> {};
template <>
struct Memory<float, Float16> : ScalarMemory16<Float16> {};

#if defined(__GNUC__)

template <class A>
struct WideMemory {
    static SPINEGAN_HD Wide<A> load(const A* p) {
        Wide<A> v;
        std::memcpy(&v, p, sizeof(v));
        return v;
    }
    static SPINEGAN_HD void store(A* p, Wide<A> v) { std::memcpy(p, &v, sizeof(v)); }
};
template <>
struct Memory<Wide<float>, float> : WideMemory<float> {};
template <>
struct Memory<Wide<double>, double> : WideMemory<double> {};

template <class T>
struct WideMemory16 {
    static SPINEGAN_HD WideFloat load(const T* p) {
        WideHalf half;
        std::memcpy(&half, p, sizeof(half));
        return same_bits<WideFloat>(Format<T>::template widen<WideFloat>(convert<WideWord>(half)));
    }
    static SPINEGAN_HD void store(T* p, WideFloat v) {
        const WideHalf half = convert<WideHalf>(Format<T>::template narrow<WideFloat>(same_bits<WideWord>(v)));
        std::memcpy(p, &half, sizeof(half));
    }
};
template <>
struct Memory<WideFloat, BFloat16> : WideMemory16<BFloat16> {};
template <>
struct Memory<WideFloat, Float16> : WideMemory16<Float16> {};

#endif

}  // namespace spinegan
