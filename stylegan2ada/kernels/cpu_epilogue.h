// The epilogue of a layer and its gradients over all images, pixels and channels, on the CPU.
#pragma once

#include "cpu_loops.h"

namespace spinegan {

/// Images are cut into blocks of `block` pixels; a task is one block with all its channels.
struct Blocks {
    Index images, channels, pixels, block;

    Index per_image() const { return (pixels + block - 1) / block; }
    Index begin(Index task) const { return task % per_image() * block; }
    Index end(Index task) const { return std::min(pixels, begin(task) + block); }
};

template <class A>
struct Epilogue {
    Blocks blocks;
    Activation<A> activation;
    const A *scale, *noise, *bias;  // (N, C), (noise_images, pixels), (C,), or null
    Index noise_images;
};

template <class T, class A>
void epilogue(const Epilogue<A>& p, bool channels_last, const T* x, T* y, Team team) {
    const Index channels = p.blocks.channels, pixels = p.blocks.pixels;
    run(team, p.blocks.images * p.blocks.per_image(), [&](Index task) {
        const Index image = task / p.blocks.per_image(), begin = p.blocks.begin(task), end = p.blocks.end(task);
        const A* scale = p.scale ? p.scale + image * channels : nullptr;
        const A* noise = p.noise ? p.noise + (p.noise_images > 1 ? image * pixels : 0) : nullptr;
        const Activation<A> activation = p.activation;
        if (channels_last) {
            for (Index pixel = begin; pixel < end; ++pixel) {
                const Index at = (image * pixels + pixel) * channels;
                const A shift = noise ? noise[pixel] : A(0);
                across<A>(channels, [&](auto v, Index c) {
                    using V = decltype(v);
                    v = Memory<V, T>::load(x + at + c);
                    if (scale) v = v * Memory<V, A>::load(scale + c);
                    if (noise) v = v + Lanes<V>::splat(shift);
                    if (p.bias) v = v + Memory<V, A>::load(p.bias + c);
                    Memory<V, T>::store(y + at + c, activation.forward(v));
                });
            }
        } else {
            for (Index c = 0; c < channels; ++c) {
                const Index at = (image * channels + c) * pixels + begin;
                const A factor = scale ? scale[c] : A(1), shift = p.bias ? p.bias[c] : A(0);
                across<A>(end - begin, [&](auto v, Index i) {
                    using V = decltype(v);
                    v = Memory<V, T>::load(x + at + i) * Lanes<V>::splat(factor);
                    if (noise) v = v + Memory<V, A>::load(noise + begin + i);
                    Memory<V, T>::store(y + at + i, activation.forward(v + Lanes<V>::splat(shift)));
                });
            }
        }
    });
}

template <class T, class A>
struct Backward {
    Blocks blocks;
    Activation<A> activation;
    const T *dy, *y, *x;  // y null: no mask; x null: no gradient of the scale
    const A* scale;       // (N, C) or null
    T* dx;
    A *dscale, *dbias, *dnoise;  // (N, C), (C,), (N, pixels), or null
    A* sums;                     // scratch: (blocks, 2, C), per block and channel the sums of g*x and of g

    template <class V>
    SPINEGAN_HD V gradient(Index at) const {
        const V d = Memory<V, T>::load(dy + at);
        return y ? activation.backward(d, Memory<V, T>::load(y + at)) : activation.backward(d);
    }

    /// Channels [begin, end) of PIXELS neighbouring pixels in channels-last memory.
    template <class V, int PIXELS>
    SPINEGAN_HD void group(Index at, Index begin, Index end, const A* factor, A* sum_gx, A* sum_g, A* sum_pixel) const {
        V across_channels[PIXELS];
        for (auto& sum : across_channels) sum = Lanes<V>::splat(A(0));
        for (Index c = begin; c < end; c += Lanes<V>::count) {
            V gx = Memory<V, A>::load(sum_gx + c), g_sum = Memory<V, A>::load(sum_g + c);
            SPINEGAN_UNROLL for (int i = 0; i < PIXELS; ++i) {
                const Index here = at + i * blocks.channels + c;
                const V g = gradient<V>(here);
                if (x) gx = gx + g * Memory<V, T>::load(x + here);
                g_sum = g_sum + g;
                across_channels[i] = across_channels[i] + g;
                Memory<V, T>::store(dx + here, factor ? g * Memory<V, A>::load(factor + c) : g);
            }
            Memory<V, A>::store(sum_gx + c, gx);
            Memory<V, A>::store(sum_g + c, g_sum);
        }
        for (int i = 0; i < PIXELS; ++i) sum_pixel[i] += sum_of_lanes(across_channels[i]);
    }

    template <int PIXELS>
    void pixels_of_block(Index image, Index pixel, A* sum_gx, A* sum_g) const {
        const Index channels = blocks.channels, whole = channels - channels % Lanes<Wide<A>>::count;
        const Index at = (image * blocks.pixels + pixel) * channels;
        const A* factor = scale ? scale + image * channels : nullptr;
        A sum_pixel[PIXELS] = {};
        group<Wide<A>, PIXELS>(at, 0, whole, factor, sum_gx, sum_g, sum_pixel);
        group<A, PIXELS>(at, whole, channels, factor, sum_gx, sum_g, sum_pixel);
        if (dnoise) std::copy(sum_pixel, sum_pixel + PIXELS, dnoise + image * blocks.pixels + pixel);
    }

    void block_channels_last(Index task) const {
        const Index image = task / blocks.per_image(), end = blocks.end(task);
        A *sum_gx = sums + task * 2 * blocks.channels, *sum_g = sum_gx + blocks.channels;
        std::fill(sum_gx, sum_gx + 2 * blocks.channels, A(0));
        Index pixel = blocks.begin(task);
        for (; pixel + 4 <= end; pixel += 4) pixels_of_block<4>(image, pixel, sum_gx, sum_g);
        for (; pixel < end; ++pixel) pixels_of_block<1>(image, pixel, sum_gx, sum_g);
    }

    /// Pixels [begin, end) of one channel in NCHW memory.
    template <class V>
    SPINEGAN_HD void run_of_pixels(Index at, Index begin, Index end, A factor, A* noise, A& sum_gx, A& sum_g) const {
        V gx = Lanes<V>::splat(A(0)), g_sum = gx;
        for (Index i = begin; i < end; i += Lanes<V>::count) {
            const V g = gradient<V>(at + i);
            if (x) gx = gx + g * Memory<V, T>::load(x + at + i);
            g_sum = g_sum + g;
            if (noise) Memory<V, A>::store(noise + i, Memory<V, A>::load(noise + i) + g);
            Memory<V, T>::store(dx + at + i, g * Lanes<V>::splat(factor));
        }
        sum_gx += sum_of_lanes(gx);
        sum_g += sum_of_lanes(g_sum);
    }

    void block_planes(Index task) const {
        const Index image = task / blocks.per_image(), begin = blocks.begin(task), count = blocks.end(task) - begin;
        const Index whole = count - count % Lanes<Wide<A>>::count;
        A *sum_gx = sums + task * 2 * blocks.channels, *sum_g = sum_gx + blocks.channels;
        std::fill(sum_gx, sum_gx + 2 * blocks.channels, A(0));
        A* noise = dnoise ? dnoise + image * blocks.pixels + begin : nullptr;
        if (noise) std::fill(noise, noise + count, A(0));
        for (Index c = 0; c < blocks.channels; ++c) {
            const Index at = (image * blocks.channels + c) * blocks.pixels + begin;
            const A factor = scale ? scale[image * blocks.channels + c] : A(1);
            run_of_pixels<Wide<A>>(at, 0, whole, factor, noise, sum_gx[c], sum_g[c]);
            run_of_pixels<A>(at, whole, count, factor, noise, sum_gx[c], sum_g[c]);
        }
    }

    /// The sums of the blocks, in their order.
    void finish() const {
        const Index channels = blocks.channels;
        if (dscale) std::fill(dscale, dscale + blocks.images * channels, A(0));
        if (dbias) std::fill(dbias, dbias + channels, A(0));
        for (Index task = 0; task < blocks.images * blocks.per_image(); ++task) {
            const A *sum_gx = sums + task * 2 * channels, *sum_g = sum_gx + channels;
            A* of_image = dscale ? dscale + task / blocks.per_image() * channels : nullptr;
            for (Index c = 0; of_image && c < channels; ++c) of_image[c] += sum_gx[c];
            for (Index c = 0; dbias && c < channels; ++c) dbias[c] += sum_g[c];
        }
    }
};

}  // namespace spinegan
