// Stands in for the kernels' cuda_numbers.h, whose conversions are PTX instructions.
#pragma once

#include "bodies.h"
#include "emulator.h"

namespace spinegan {

struct bf16 {
    unsigned short bits;
};

struct fp16 {
    unsigned short bits;
};

struct alignas(16) Words {
    unsigned int word[4];
};

template <class To, class From>
To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline bool misaligned = false;  // an access that a GPU would refuse

inline Words load_words(const void* p) {
    misaligned = misaligned || reinterpret_cast<std::uintptr_t>(p) % 16 != 0;
    Words words;
    std::memcpy(&words, p, sizeof words);
    return words;
}

inline void store_words(void* p, const Words& words) {
    misaligned = misaligned || reinterpret_cast<std::uintptr_t>(p) % 16 != 0;
    std::memcpy(p, &words, sizeof words);
}

inline float as_float(unsigned int bits) { return same_bits<float>(bits); }
inline unsigned int as_bits(float number) { return same_bits<unsigned int>(number); }
inline double as_double(unsigned int low, unsigned int high) {
    return same_bits<double>(static_cast<std::uint64_t>(high) << 32 | low);
}

template <class A>
A read(const A* p) {
    return *p;
}

inline unsigned int half_bits(float number, bf16) {
    const unsigned int bits = as_bits(number);
    return number != number ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
inline unsigned int half_bits(float number, fp16) { return same_bits<unsigned short>(static_cast<_Float16>(number)); }
inline float number_of(unsigned short bits, bf16) { return as_float(static_cast<unsigned int>(bits) << 16); }
inline float number_of(unsigned short bits, fp16) { return static_cast<float>(same_bits<_Float16>(bits)); }

template <class T>
void unpack(unsigned int word, float& low, float& high, T type) {
    low = number_of(static_cast<unsigned short>(word), type);
    high = number_of(static_cast<unsigned short>(word >> 16), type);
}

template <class T>
unsigned int pack(float low, float high, T type) {
    return half_bits(low, type) | half_bits(high, type) << 16;
}

}  // namespace spinegan
