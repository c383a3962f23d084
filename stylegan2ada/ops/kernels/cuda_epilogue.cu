// The epilogue of a layer and its gradient for CUDA: which thread computes what. The arithmetic is in bodies.h.
//
// Compiled and launched as cuda_fir.cu. `..._pixels` is for channels-last memory: N channels of a pixel per thread;
// `..._planes` for NCHW: N pixels of a channel per thread. Sums are formed in a fixed order, first over the pixels (or
// channels) of a block, here, then over blocks, by torch.sum: the same bits on every run and every GPU.
#include "cuda_memory.h"

namespace spinegan {

constexpr int PLANE_CHANNELS = 16;  // of one block of epilogue_backward_planes

struct EpilogueParams {
    const void *x, *scale, *noise, *bias;  // scale, noise, bias may be null
    void* y;
    double slope, gain, clamp;  // clamp NaN: none
    int images, pixels, channels;
    int noise_images;      // 1: the same noise for every image
    int pixels_per_block;
};

struct EpilogueBackwardParams {
    const void *dy, *y, *x, *scale;  // y may be null where slope is 1 and clamp NaN; x unless dscale is wanted; scale
    void* dx;
    void *dscale, *dbias;  // (images, gridDim.x, channels): partial sums over a block's pixels, or null
    void* dnoise;          // (gridDim.y, images, pixels): partial sums over a block's channels, or null
    double slope, gain, clamp;
    int images, pixels, channels;
    int pixels_per_block;
};

template <class T, class P>
SPINEGAN_HD Activation<typename Wide<T>::type> activation(const P& p) {
    using A = typename Wide<T>::type;
    return {static_cast<A>(p.slope), static_cast<A>(p.gain), as_stored<T>(static_cast<A>(p.clamp))};
}

/// Channels last. Threads: x over channels, y over pixels; blockIdx: pixels, channels, images.
template <class T, int N>
SPINEGAN_HD void epilogue_pixels(const EpilogueParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    const auto act = activation<T>(p);
    const A *scales = static_cast<const A*>(p.scale), *noise = static_cast<const A*>(p.noise);
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (c >= p.channels) return;
    const V bias = p.bias ? Memory<V, A>::load(static_cast<const A*>(p.bias) + c) : Lanes<V>::splat(A(0));
    const int begin = blockIdx.x * p.pixels_per_block, end = smaller(begin + p.pixels_per_block, p.pixels);
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        const Index image = static_cast<Index>(n) * p.pixels;
        const Index noise_image = p.noise_images == 1 ? 0 : image;
        const V scale = scales ? Memory<V, A>::load(scales + static_cast<Index>(n) * p.channels + c)
                               : Lanes<V>::splat(A(1));
        const T* x = static_cast<const T*>(p.x) + image * p.channels + c;
        T* y = static_cast<T*>(p.y) + image * p.channels + c;
#pragma unroll 4
        for (int i = begin + threadIdx.y; i < end; i += blockDim.y) {
            const Index offset = static_cast<Index>(i) * p.channels;
            const V shift = bias + Lanes<V>::splat(noise ? read(noise + noise_image + i) : A(0));
            Memory<V, T>::store(y + offset, act.forward(Memory<V, T>::load(x + offset) * scale + shift));
        }
    }
}

/// NCHW. Threads: x over pixels; blockIdx: pixels, planes (image and channel).
template <class T, int N>
SPINEGAN_HD void epilogue_planes(const EpilogueParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    const auto act = activation<T>(p);
    const A *scales = static_cast<const A*>(p.scale), *noise = static_cast<const A*>(p.noise);
    const A* biases = static_cast<const A*>(p.bias);
    const int begin = blockIdx.x * p.pixels_per_block, end = smaller(begin + p.pixels_per_block, p.pixels);
    const int planes = p.images * p.channels;
    for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        const int n = plane / p.channels, c = plane - n * p.channels;
        const V scale = Lanes<V>::splat(scales ? read(scales + plane) : A(1));
        const V bias = Lanes<V>::splat(biases ? read(biases + c) : A(0));
        const Index start = static_cast<Index>(plane) * p.pixels;
        const Index noise_image = p.noise_images == 1 ? 0 : static_cast<Index>(n) * p.pixels;
        const T* x = static_cast<const T*>(p.x) + start;
        T* y = static_cast<T*>(p.y) + start;
#pragma unroll 4
        for (int i = begin + threadIdx.x * N; i < end; i += blockDim.x * N) {
            const V shift = noise ? bias + Memory<V, A>::load(noise + noise_image + i) : bias;
            Memory<V, T>::store(y + i, act.forward(Memory<V, T>::load(x + i) * scale + shift));
        }
    }
}

/// The gradient of what the activation was applied to, of N neighbours at `offset`.
template <class V, class T, class A>
SPINEGAN_HD V gradient(const Activation<A>& act, const EpilogueBackwardParams& p, Index offset) {
    const V dy = Memory<V, T>::load(static_cast<const T*>(p.dy) + offset);
    return p.y ? act.backward(dy, Memory<V, T>::load(static_cast<const T*>(p.y) + offset)) : act.backward(dy);
}

/// Sums each thread's v over threadIdx.y, in a fixed order, and stores the row of channels at `out`.
template <class V, class A>
SPINEGAN_HD void store_channel_sums(A* shared, A* out, const V& v, int channels) {
    constexpr int N = Lanes<V>::count;
    const int row = blockDim.x * N;
    SPINEGAN_UNROLL for (int i = 0; i < N; ++i) shared[threadIdx.y * row + threadIdx.x * N + i] = Lanes<V>::get(v, i);
    __syncthreads();
    for (int i = thread_of_block(); i < smaller(row, channels); i += blockDim.x * blockDim.y) {
        A sum = shared[i];
        for (int j = 1; j < static_cast<int>(blockDim.y); ++j) sum = sum + shared[j * row + i];
        out[i] = sum;
    }
    __syncthreads();
}

/// Channels last. Threads: x over channels (a power of two, at most 32), y over pixels, whole warps; blockIdx: pixels,
/// channels, images. No thread leaves early: all take part in the sums.
template <class T, int N>
SPINEGAN_HD void epilogue_backward_pixels(const EpilogueBackwardParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    __shared__ A shared[THREADS * N];
    const auto act = activation<T>(p);
    const A* scales = static_cast<const A*>(p.scale);
    A *dscale = static_cast<A*>(p.dscale), *dbias = static_cast<A*>(p.dbias), *dnoise = static_cast<A*>(p.dnoise);
    const int first_channel = blockIdx.y * blockDim.x * N, c = first_channel + threadIdx.x * N;
    const bool has_channel = c < p.channels;
    const int begin = blockIdx.x * p.pixels_per_block, end = smaller(begin + p.pixels_per_block, p.pixels);
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        const Index image = static_cast<Index>(n) * p.pixels;
        const V scale = scales && has_channel ? Memory<V, A>::load(scales + static_cast<Index>(n) * p.channels + c)
                                              : Lanes<V>::splat(A(1));
        V sum_g = Lanes<V>::splat(A(0)), sum_gx = sum_g;
#pragma unroll 4
        for (int top = begin; top < end; top += blockDim.y) {
            const int i = top + threadIdx.y;
            V g = Lanes<V>::splat(A(0));
            if (has_channel && i < end) {
                const Index offset = (image + i) * p.channels + c;
                g = gradient<V, T>(act, p, offset);
                Memory<V, T>::store(static_cast<T*>(p.dx) + offset, g * scale);
                if (dbias) sum_g = sum_g + g;
                if (dscale) sum_gx = sum_gx + g * Memory<V, T>::load(static_cast<const T*>(p.x) + offset);
            }
            if (dnoise) {
                const A sum = sum_of_threads(sum_of_lanes(g), blockDim.x);
                if (threadIdx.x == 0 && i < end)
                    dnoise[(static_cast<Index>(blockIdx.y) * p.images + n) * p.pixels + i] = sum;
            }
        }
        const Index partial = (static_cast<Index>(n) * gridDim.x + blockIdx.x) * p.channels + first_channel;
        if (dbias) store_channel_sums(shared, dbias + partial, sum_g, p.channels - first_channel);
        if (dscale) store_channel_sums(shared, dscale + partial, sum_gx, p.channels - first_channel);
    }
}

/// NCHW. Threads: x over pixels, whole warps, N pixels each; blockIdx: pixels, groups of channels, images.
template <class T, int N>
SPINEGAN_HD void epilogue_backward_planes(const EpilogueBackwardParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    constexpr int WARPS = THREADS / 32;
    __shared__ A sums[2][PLANE_CHANNELS][WARPS];
    const auto act = activation<T>(p);
    const A* scales = static_cast<const A*>(p.scale);
    A *dscale = static_cast<A*>(p.dscale), *dbias = static_cast<A*>(p.dbias), *dnoise = static_cast<A*>(p.dnoise);
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const bool first_lane = threadIdx.x % 32 == 0;
    const int pixel = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    const int first_channel = blockIdx.y * PLANE_CHANNELS;
    const int channels = smaller(PLANE_CHANNELS, p.channels - first_channel);
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        V sum_over_channels = Lanes<V>::splat(A(0));
        for (int k = 0; k < channels; ++k) {
            const Index plane = static_cast<Index>(n) * p.channels + first_channel + k;
            A sum_g = A(0), sum_gx = A(0);
            if (pixel < p.pixels) {
                const Index offset = plane * p.pixels + pixel;
                const V g = gradient<V, T>(act, p, offset);
                const V scale = Lanes<V>::splat(scales ? read(scales + plane) : A(1));
                Memory<V, T>::store(static_cast<T*>(p.dx) + offset, g * scale);
                sum_over_channels = sum_over_channels + g;
                sum_g = sum_of_lanes(g);
                if (dscale) sum_gx = sum_of_lanes(g * Memory<V, T>::load(static_cast<const T*>(p.x) + offset));
            }
            if (dbias) sum_g = sum_of_threads(sum_g, 32);
            if (dscale) sum_gx = sum_of_threads(sum_gx, 32);
            if (first_lane) {
                sums[0][k][warp] = sum_g;
                sums[1][k][warp] = sum_gx;
            }
        }
        if (dnoise && pixel < p.pixels) {
            A* out = dnoise + (static_cast<Index>(blockIdx.y) * p.images + n) * p.pixels + pixel;
            SPINEGAN_UNROLL for (int i = 0; i < N; ++i) out[i] = Lanes<V>::get(sum_over_channels, i);
        }
        __syncthreads();
        const Index partial = (static_cast<Index>(n) * gridDim.x + blockIdx.x) * p.channels + first_channel;
        for (int i = threadIdx.x; i < 2 * channels; i += blockDim.x) {
            A* out = i < channels ? dbias : dscale;
            const int k = i < channels ? i : i - channels;
            if (!out) continue;
            A sum = A(0);
            for (int j = 0; j < warps; ++j) sum = sum + sums[i < channels ? 0 : 1][k][j];
            out[partial + k] = sum;
        }
        __syncthreads();
    }
}

}  // namespace spinegan
