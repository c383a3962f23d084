// What CUDA stores: 16-bit numbers, and sixteen aligned bytes at a time. The conversions are single PTX instructions,
// so neither cuda_fp16.h nor cuda_bf16.h is needed, and with them no CUDA toolkit: NVRTC alone compiles everything.
#pragma once

#include "bodies.h"

namespace spinegan {

struct bf16 {
    unsigned short bits;
};

struct fp16 {
    unsigned short bits;
};

struct alignas(16) Words {  // what one thread loads at once
    unsigned int word[4];
};

/// Read-only for as long as the kernel runs: such loads may overtake stores.
SPINEGAN_HD Words load_words(const void* p) {
    const uint4 v = __ldg(static_cast<const uint4*>(p));
    return {{v.x, v.y, v.z, v.w}};
}

SPINEGAN_HD void store_words(void* p, const Words& v) {
    *static_cast<uint4*>(p) = make_uint4(v.word[0], v.word[1], v.word[2], v.word[3]);
}

SPINEGAN_HD float as_float(unsigned int bits) { return __uint_as_float(bits); }
SPINEGAN_HD unsigned int as_bits(float number) { return __float_as_uint(number); }

SPINEGAN_HD double as_double(unsigned int low, unsigned int high) {
    return __hiloint2double(static_cast<int>(high), static_cast<int>(low));
}

/// One number that no kernel running now writes.
template <class A>
SPINEGAN_HD A read(const A* p) {
    return __ldg(p);
}

// Two neighbours in one word, the first in its lower half.

SPINEGAN_HD void unpack(unsigned int word, float& low, float& high, bf16) {
    low = as_float(word << 16);
    high = as_float(word & 0xffff0000u);
}

SPINEGAN_HD void unpack(unsigned int word, float& low, float& high, fp16) {
    asm("{.reg .b16 a, b;\n\tmov.b32 {a, b}, %2;\n\tcvt.f32.f16 %0, a;\n\tcvt.f32.f16 %1, b;}"
        : "=f"(low), "=f"(high)
        : "r"(word));
}

SPINEGAN_HD unsigned int pack(float low, float high, bf16) {
    unsigned int word;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
    const auto round = [](unsigned int bits) {  // to nearest even; a NaN stays one
        return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    };
    word = round(as_bits(low)) | (round(as_bits(high)) << 16);
#endif
    return word;
}

SPINEGAN_HD unsigned int pack(float low, float high, fp16) {
    unsigned int word;
    asm("{.reg .b16 a, b;\n\tcvt.rn.f16.f32 a, %1;\n\tcvt.rn.f16.f32 b, %2;\n\tmov.b32 %0, {a, b};}"
        : "=r"(word)
        : "f"(low), "f"(high));
    return word;
}

}  // namespace spinegan
