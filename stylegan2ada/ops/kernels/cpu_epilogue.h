// The epilogue of a layer and its gradients over all images, pixels and channels, on the CPU.
#pragma once

#include "cpu_loops.h"

namespace spinegan {

/// Images are cut into blocks of `block` pixels; a task is one block with all its channels.
struct Blocks {
    Index images, channels, pixels, block;

    Index per_image() const { return (pixels + block - 1) / block; }
    Index tasks() const { return images * per_image(); }
    Index begin(Index task) const { return task % per_image() * block; }
    Index end(Index task) const { return std::min(pixels, begin(task) + block); }
};

// The functions that do a block take their parameters by value: a local copy cannot be what a store writes to, so the
// compiler keeps it in registers.

template <class T, class A>
struct Epilogue {
    Blocks blocks;
    Activation<A> activation;
    const T* x;
    const A *scale, *noise, *bias;  // (N, C), (noise_images, pixels), (C,), or null
    Index noise_images;
    T* y;

    const A* scale_of(Index image) const { return scale ? scale + image * blocks.channels : nullptr; }
    const A* noise_of(Index image) const {
        return noise ? noise + (noise_images > 1 ? image * blocks.pixels : 0) : nullptr;
    }
};

template <class T, class A>
void epilogue_channels_last(Epilogue<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), channels = p.blocks.channels;
    const A *scale = p.scale_of(image), *noise = p.noise_of(image);
    for (Index pixel = p.blocks.begin(task), end = p.blocks.end(task); pixel < end; ++pixel) {
        const Index at = (image * p.blocks.pixels + pixel) * channels;
        const A shift = noise ? noise[pixel] : A(0);
        across<A>(channels, [&](auto v, Index c) {
            using V = decltype(v);
            v = Memory<V, T>::load(p.x + at + c);
            if (scale) v = v * Memory<V, A>::load(scale + c);
            if (noise) v = v + Lanes<V>::splat(shift);
            if (p.bias) v = v + Memory<V, A>::load(p.bias + c);
            Memory<V, T>::store(p.y + at + c, p.activation.forward(v));
        });
    }
}

/// With fewer channels than lanes, vectors run on through the channels of `lanes` pixels, after which all repeats.
template <class A>
struct FewChannels {
    static constexpr int lanes = Lanes<Wide<A>>::count;
    A values[lanes * lanes];

    /// values (C,), or `missing`, once for each pixel.
    FewChannels(const A* of_channels, Index channels, A missing) {
        for (Index i = 0; i < lanes * channels; ++i) values[i] = of_channels ? of_channels[i % channels] : missing;
    }
};

template <class T, class A>
void epilogue_few_channels(Epilogue<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), end = p.blocks.end(task), channels = p.blocks.channels;
    const FewChannels<A> scale(p.scale_of(image), channels, A(1)), bias(p.bias, channels, A(0));
    const A* noise = p.noise_of(image);
    FewChannels<A> shift = bias;
    for (Index pixel = p.blocks.begin(task); pixel < end; pixel += shift.lanes) {
        const Index at = (image * p.blocks.pixels + pixel) * channels;
        const Index count = std::min<Index>(shift.lanes, end - pixel);
        for (Index i = 0; noise && i < count; ++i)
            for (Index c = 0; c < channels; ++c) shift.values[i * channels + c] = bias.values[c] + noise[pixel + i];
        across<A>(count * channels, [&](auto v, Index i) {
            using V = decltype(v);
            v = Memory<V, T>::load(p.x + at + i) * Memory<V, A>::load(scale.values + i);
            Memory<V, T>::store(p.y + at + i, p.activation.forward(v + Memory<V, A>::load(shift.values + i)));
        });
    }
}

template <class T, class A>
void epilogue_planes(Epilogue<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), begin = p.blocks.begin(task), count = p.blocks.end(task) - begin;
    const A *scale = p.scale_of(image), *noise = p.noise_of(image);
    for (Index c = 0; c < p.blocks.channels; ++c) {
        const Index at = (image * p.blocks.channels + c) * p.blocks.pixels + begin;
        const A factor = scale ? scale[c] : A(1), shift = p.bias ? p.bias[c] : A(0);
        across<A>(count, [&](auto v, Index i) {
            using V = decltype(v);
            v = Memory<V, T>::load(p.x + at + i) * Lanes<V>::splat(factor);
            if (noise) v = v + Memory<V, A>::load(noise + begin + i);
            Memory<V, T>::store(p.y + at + i, p.activation.forward(v + Lanes<V>::splat(shift)));
        });
    }
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
};

/// Channels [begin, end) of PIXELS neighbouring pixels in channels-last memory, the first at `at`.
template <class V, int PIXELS, class T, class A>
SPINEGAN_HD void backward_channels(const Backward<T, A>& p, Index at, Index begin, Index end, const A* factor,
                                   A* sum_gx, A* sum_g, A* sum_pixel) {
    V over_channels[PIXELS];
    SPINEGAN_UNROLL for (int i = 0; i < PIXELS; ++i) over_channels[i] = Lanes<V>::splat(A(0));
    for (Index c = begin; c < end; c += Lanes<V>::count) {
        V gx = Memory<V, A>::load(sum_gx + c), g_sum = Memory<V, A>::load(sum_g + c);
        SPINEGAN_UNROLL for (int i = 0; i < PIXELS; ++i) {
            const Index here = at + i * p.blocks.channels + c;
            const V g = p.template gradient<V>(here);
            if (p.x) gx = gx + g * Memory<V, T>::load(p.x + here);
            g_sum = g_sum + g;
            over_channels[i] = over_channels[i] + g;
            Memory<V, T>::store(p.dx + here, factor ? g * Memory<V, A>::load(factor + c) : g);
        }
        Memory<V, A>::store(sum_gx + c, gx);
        Memory<V, A>::store(sum_g + c, g_sum);
    }
    SPINEGAN_UNROLL for (int i = 0; i < PIXELS; ++i) sum_pixel[i] += sum_of_lanes(over_channels[i]);
}

template <int PIXELS, class T, class A>
SPINEGAN_HD void backward_pixels(const Backward<T, A>& p, Index image, Index pixel, A* sum_gx, A* sum_g) {
    const Index channels = p.blocks.channels, whole = channels - channels % Lanes<Wide<A>>::count;
    const Index at = (image * p.blocks.pixels + pixel) * channels;
    const A* factor = p.scale ? p.scale + image * channels : nullptr;
    A sum_pixel[PIXELS] = {};
    backward_channels<Wide<A>, PIXELS>(p, at, 0, whole, factor, sum_gx, sum_g, sum_pixel);
    backward_channels<A, PIXELS>(p, at, whole, channels, factor, sum_gx, sum_g, sum_pixel);
    if (p.dnoise) std::copy(sum_pixel, sum_pixel + PIXELS, p.dnoise + image * p.blocks.pixels + pixel);
}

template <class T, class A>
void backward_channels_last(Backward<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), end = p.blocks.end(task);
    A *sum_gx = p.sums + task * 2 * p.blocks.channels, *sum_g = sum_gx + p.blocks.channels;
    std::fill(sum_gx, sum_gx + 2 * p.blocks.channels, A(0));
    constexpr int together = 4;
    Index pixel = p.blocks.begin(task);
    for (; pixel + together <= end; pixel += together) backward_pixels<together>(p, image, pixel, sum_gx, sum_g);
    for (; pixel < end; ++pixel) backward_pixels<1>(p, image, pixel, sum_gx, sum_g);
}

template <class T, class A>
void backward_few_channels(Backward<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), end = p.blocks.end(task), channels = p.blocks.channels;
    const FewChannels<A> scale(p.scale ? p.scale + image * channels : nullptr, channels, A(1));
    FewChannels<A> sum_gx(nullptr, channels, A(0)), sum_g = sum_gx, gradients = sum_gx;
    for (Index pixel = p.blocks.begin(task); pixel < end; pixel += scale.lanes) {
        const Index first = image * p.blocks.pixels + pixel, count = std::min<Index>(scale.lanes, end - pixel);
        across<A>(count * channels, [&](auto v, Index i) {
            using V = decltype(v);
            using M = Memory<V, A>;
            const V g = p.template gradient<V>(first * channels + i);
            if (p.x) {
                v = M::load(sum_gx.values + i) + g * Memory<V, T>::load(p.x + first * channels + i);
                M::store(sum_gx.values + i, v);
            }
            M::store(sum_g.values + i, M::load(sum_g.values + i) + g);
            M::store(gradients.values + i, g);
            Memory<V, T>::store(p.dx + first * channels + i, g * M::load(scale.values + i));
        });
        for (Index i = 0; p.dnoise && i < count; ++i) {
            A sum = 0;
            for (Index c = 0; c < channels; ++c) sum += gradients.values[i * channels + c];
            p.dnoise[first + i] = sum;
        }
    }
    A *of_gx = p.sums + task * 2 * channels, *of_g = of_gx + channels;
    std::fill(of_gx, of_gx + 2 * channels, A(0));
    for (Index i = 0; i < scale.lanes * channels; ++i) {
        of_gx[i % channels] += sum_gx.values[i];
        of_g[i % channels] += sum_g.values[i];
    }
}

/// Pixels [begin, end) of one channel in NCHW memory, the channel's part of the block at `at`.
template <class V, class T, class A>
SPINEGAN_HD void backward_run(const Backward<T, A>& p, Index at, Index begin, Index end, A factor, A* noise, A& sum_gx,
                              A& sum_g) {
    V gx = Lanes<V>::splat(A(0)), g_sum = gx;
    for (Index i = begin; i < end; i += Lanes<V>::count) {
        const V g = p.template gradient<V>(at + i);
        if (p.x) gx = gx + g * Memory<V, T>::load(p.x + at + i);
        g_sum = g_sum + g;
        if (noise) Memory<V, A>::store(noise + i, Memory<V, A>::load(noise + i) + g);
        Memory<V, T>::store(p.dx + at + i, g * Lanes<V>::splat(factor));
    }
    sum_gx += sum_of_lanes(gx);
    sum_g += sum_of_lanes(g_sum);
}

template <class T, class A>
void backward_planes(Backward<T, A> p, Index task) {
    const Index image = task / p.blocks.per_image(), begin = p.blocks.begin(task), count = p.blocks.end(task) - begin;
    const Index whole = count - count % Lanes<Wide<A>>::count;
    A *sum_gx = p.sums + task * 2 * p.blocks.channels, *sum_g = sum_gx + p.blocks.channels;
    A* noise = p.dnoise ? p.dnoise + image * p.blocks.pixels + begin : nullptr;
    if (noise) std::fill(noise, noise + count, A(0));
    for (Index c = 0; c < p.blocks.channels; ++c) {
        const Index at = (image * p.blocks.channels + c) * p.blocks.pixels + begin;
        const A factor = p.scale ? p.scale[image * p.blocks.channels + c] : A(1);
        A gx = 0, g = 0;
        backward_run<Wide<A>>(p, at, 0, whole, factor, noise, gx, g);
        backward_run<A>(p, at, whole, count, factor, noise, gx, g);
        sum_gx[c] = gx;
        sum_g[c] = g;
    }
}

/// The sums of the blocks, in their order, into the gradients of scale and bias.
template <class T, class A>
void backward_finish(const Backward<T, A>& p) {
    const Index channels = p.blocks.channels;
    if (p.dscale) std::fill(p.dscale, p.dscale + p.blocks.images * channels, A(0));
    if (p.dbias) std::fill(p.dbias, p.dbias + channels, A(0));
    for (Index task = 0; task < p.blocks.tasks(); ++task) {
        const A *sum_gx = p.sums + task * 2 * channels, *sum_g = sum_gx + channels;
        A* of_image = p.dscale ? p.dscale + task / p.blocks.per_image() * channels : nullptr;
        for (Index c = 0; of_image && c < channels; ++c) of_image[c] += sum_gx[c];
        for (Index c = 0; p.dbias && c < channels; ++c) p.dbias[c] += sum_g[c];
    }
}

/// The function that does a block.
template <class T, class A>
auto epilogue_block(const Blocks& blocks, bool channels_last) {
    if (!channels_last) return epilogue_planes<T, A>;
    return blocks.channels < Lanes<Wide<A>>::count ? epilogue_few_channels<T, A> : epilogue_channels_last<T, A>;
}

template <class T, class A>
auto backward_block(const Blocks& blocks, bool channels_last) {
    if (!channels_last) return backward_planes<T, A>;
    return blocks.channels < Lanes<Wide<A>>::count ? backward_few_channels<T, A> : backward_channels_last<T, A>;
}

}  // namespace spinegan
