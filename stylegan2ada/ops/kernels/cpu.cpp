// The fused kernels for the CPU: a library with a plain C interface, loaded by cpu.py.
//
// It checks nothing: cpu.py hands over only dense memory of the sizes stated. Layouts: channels_last (N,H,W,C), else
// (N,C,H,W). `type` of what is stored: 0 float, 1 double, 2 bfloat16, 3 float16.
#include <type_traits>

#include "cpu_epilogue.h"
#include "cpu_fir.h"

#if defined(_WIN32)
#define SPINEGAN_EXPORT extern "C" __declspec(dllexport)
#else
#define SPINEGAN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace spinegan {
namespace {

/// Calls body with a null pointer to the stored type and a number of the computing type.
template <class Body>
auto with_type(int type, const Body& body) {
    switch (type) {
        case 0: return body(static_cast<float*>(nullptr), float(0));
        case 1: return body(static_cast<double*>(nullptr), double(0));
        case 2: return body(static_cast<BFloat16*>(nullptr), float(0));
        default: return body(static_cast<Float16*>(nullptr), float(0));
    }
}

template <class T, class A>
Activation<A> activation(double slope, double gain, double clamp) {
    return {A(slope), A(gain), as_stored<T>(A(clamp))};
}

}  // namespace
}  // namespace spinegan

using namespace spinegan;

/// Hash of the sources this was built from, set by setup.py: cpu.py loads no other.
SPINEGAN_EXPORT unsigned long long spinegan_sources() { return SPINEGAN_SOURCES; }

/// y (N, C, out_height, out_width) = FIR filter of x (N, C, height, width). 0: out of memory, 1: done.
SPINEGAN_EXPORT int spinegan_fir(int type, int channels_last, const void* x, void* y, Index images, Index channels,
                                 int height, int width, int out_height, int out_width, const void* f, int f_height,
                                 int f_width, int up_x, int up_y, int down_x, int down_y, int pad_x, int pad_y,
                                 Parallel parallel, int threads) {
    return with_type(type, [&](auto* stored, auto number) -> int {
        using T = std::remove_pointer_t<decltype(stored)>;
        using A = decltype(number);
        const Fir<A> p{images, channels, height, width, out_height, out_width, static_cast<const A*>(f), f_height,
                       f_width, up_x, up_y, down_x, down_y, pad_x, pad_y};
        const T* from = static_cast<const T*>(x);
        T* to = static_cast<T*>(y);
        if (!channels_last) return fir_planes(p, from, to, {parallel, threads});
        fir_channels_last(p, from, to, {parallel, threads});
        return 1;
    });
}

/// y = activation(x * scale + noise + bias). clamp NaN: none. scale, noise, bias: as computed (float, double), or null.
SPINEGAN_EXPORT void spinegan_epilogue(int type, int channels_last, const void* x, void* y, Index images,
                                       Index channels, Index pixels, Index block, const void* scale, const void* noise,
                                       Index noise_images, const void* bias, double slope, double gain, double clamp,
                                       Parallel parallel, int threads) {
    with_type(type, [&](auto* stored, auto number) {
        using T = std::remove_pointer_t<decltype(stored)>;
        using A = decltype(number);
        const Epilogue<T, A> p{{images, channels, pixels, block}, activation<T, A>(slope, gain, clamp),
                               static_cast<const T*>(x), static_cast<const A*>(scale), static_cast<const A*>(noise),
                               static_cast<const A*>(bias), noise_images, static_cast<T*>(y)};
        const auto do_block = epilogue_block<T, A>(p.blocks, channels_last);
        run({parallel, threads}, p.blocks.tasks(), [&](Index task) { do_block(p, task); });
    });
}

/// Gradients of the epilogue; see Backward.
SPINEGAN_EXPORT void spinegan_epilogue_backward(int type, int channels_last, const void* dy, const void* y,
                                                const void* x, const void* scale, void* dx, void* dscale, void* dbias,
                                                void* dnoise, void* sums, Index images, Index channels, Index pixels,
                                                Index block, double slope, double gain, double clamp,
                                                Parallel parallel, int threads) {
    with_type(type, [&](auto* stored, auto number) {
        using T = std::remove_pointer_t<decltype(stored)>;
        using A = decltype(number);
        const Backward<T, A> p{{images, channels, pixels, block}, activation<T, A>(slope, gain, clamp),
                               static_cast<const T*>(dy), static_cast<const T*>(y), static_cast<const T*>(x),
                               static_cast<const A*>(scale), static_cast<T*>(dx), static_cast<A*>(dscale),
                               static_cast<A*>(dbias), static_cast<A*>(dnoise), static_cast<A*>(sums)};
        const auto do_block = backward_block<T, A>(p.blocks, channels_last);
        run({parallel, threads}, p.blocks.tasks(), [&](Index task) { do_block(p, task); });
        backward_finish(p);
    });
}
