// The FIR filter over all images, rows and channels, on the CPU.
#pragma once

#include <memory>
#include <new>
#include <numeric>

#include "cpu_loops.h"

namespace spinegan {

template <class A>
struct Fir {
    Index images, channels;
    int height, width, out_height, out_width;
    const A* f;  // (f_height, f_width), a correlation with the gain inside
    int f_height, f_width, up_x, up_y, down_x, down_y, pad_x, pad_y;  // padding left and above

    Window rows(int y) const { return window(y, up_y, down_y, pad_y, f_height, height); }
    Window columns(int x) const { return window(x, up_x, down_x, pad_x, f_width, width); }
};

constexpr int tile = 4;

/// The outputs of some rows in channels-last memory: x, y of one image. By value: see cpu_epilogue.h.
template <class T, class A>
struct Rows {
    const Fir<A> p;
    const T* x;
    T* y;
    const Index stride = p.width * p.channels, out_stride = p.out_width * p.channels;

    const T* pixel(Index row, Index column) const { return x + row * stride + column * p.channels; }
    T* output(Index row, Index column) const { return y + row * out_stride + column * p.channels; }

    SPINEGAN_HD void single(int row, int column) const {
        const Window rows = p.rows(row), columns = p.columns(column);
        const T* from = pixel(rows.pixel, columns.pixel);
        T* to = output(row, column);
        across<A>(p.channels, [&](auto v, Index c) {
            using V = decltype(v);
            const V sum = fir_window<V>(from + c, stride, p.channels, rows, columns, p.f, p.f_width, p.up_x, p.up_y);
            Memory<V, T>::store(to + c, sum);
        });
    }
};

/// Any filter.
template <class T, class A>
void fir_rows(Rows<T, A> rows, int begin, int end) {
    for (int row = begin; row < end; ++row)
        for (int column = 0; column < rows.p.out_width; ++column) rows.single(row, column);
}

/// First output whose filter lies inside the image and meets a pixel with its first tap, and the end of the outputs
/// whose filter lies inside the image.
struct Inside {
    int begin, end;
};

inline Inside inside(int outputs, int up, int down, int pad, int taps, int pixels) {
    int begin = 0;
    while (begin < outputs && (begin * down < pad || (begin * down - pad) % up)) ++begin;
    const int room = pixels * up - taps + pad;  // position of the last filter inside
    return {begin, std::max(begin, room < 0 ? 0 : std::min(outputs, room / down + 1))};
}

/// A filter of TAPS x TAPS, up and down the same along x and y. TILE_Y rows are done together where more than one pays.
template <int TAPS, int UP, int DOWN, int TILE_Y, class T, class A>
void fir_rows_in_tiles(Rows<T, A> rows, int begin, int end) {
    const Fir<A>& p = rows.p;
    const Index channels = p.channels;
    const Inside inside_y = inside(p.out_height, UP, DOWN, p.pad_y, TAPS, p.height);
    const Inside inside_x = inside(p.out_width, UP, DOWN, p.pad_x, TAPS, p.width);
    const int last_tile = inside_x.end - tile;
    constexpr int reach = (TAPS - 1 + (TILE_Y - 1) * DOWN) / UP + 1;  // rows of pixels that a block reads
    int row = begin;
    while (row < end) {
        const bool block = TILE_Y > 1 && row >= inside_y.begin && (row - inside_y.begin) % UP == 0 &&
                           row + TILE_Y <= std::min(inside_y.end, end);
        const int height = block ? TILE_Y : 1;
        const Window window = p.rows(row);
        int column = 0;
        for (; column < inside_x.begin; ++column)
            for (int i = 0; i < height; ++i) rows.single(row + i, column);
        for (; column <= last_tile; column += tile) {
            const T* from = rows.pixel(window.pixel, (column * DOWN - p.pad_x) / UP);
            T* to = rows.output(row, column);
            across<A>(channels, [&](auto v, Index c) {
                using V = decltype(v);
                if (TILE_Y > 1 && block) {
                    V sum[TILE_Y][tile];
                    SPINEGAN_UNROLL for (int o = 0; o < TILE_Y * tile; ++o) {  // for the next rows, this column
                        prefetch<false>(from + (reach + o / tile) * rows.stride + o % tile * channels + c);
                        prefetch<true>(to + (TILE_Y + o / tile) * rows.out_stride + o % tile * channels + c);
                    }
                    fir_block<TAPS, UP, DOWN>(from + c, rows.stride, channels, p.f, sum);
                    SPINEGAN_UNROLL for (int i = 0; i < TILE_Y; ++i)
                        SPINEGAN_UNROLL for (int o = 0; o < tile; ++o)
                            Memory<V, T>::store(to + i * rows.out_stride + o * channels + c, sum[i][o]);
                } else {
                    V sum[tile];
                    fir_tile<TAPS, UP, DOWN, 0>(from + c, rows.stride, channels, window, p.f, UP, sum);
                    SPINEGAN_UNROLL for (int o = 0; o < tile; ++o) Memory<V, T>::store(to + o * channels + c, sum[o]);
                }
            });
        }
        for (; column < p.out_width; ++column)
            for (int i = 0; i < height; ++i) rows.single(row + i, column);
        row += height;
    }
}

template <class T, class A>
void fir_channels_last(const Fir<A>& p, const T* x, T* y, Team team) {
    auto filter = fir_rows<T, A>;
    if (p.f_width == 4 && p.f_height == 4 && p.up_x == p.up_y && p.down_x == p.down_y) {
        if (p.up_x == 1 && p.down_x == 1) filter = fir_rows_in_tiles<4, 1, 1, 2, T, A>;
        if (p.up_x == 2 && p.down_x == 1) filter = fir_rows_in_tiles<4, 2, 1, 2, T, A>;
        if (p.up_x == 1 && p.down_x == 2) filter = fir_rows_in_tiles<4, 1, 2, 1, T, A>;
    }
    // Few, tall bands: neighbouring rows share what they read.
    const Index bands = std::min<Index>(p.out_height, 1 + 8 * team.threads / std::max<Index>(p.images, 1));
    run(team, p.images * bands, [&](Index task) {
        const Index image = task / bands, band = task % bands;
        filter({p, x + image * p.height * p.width * p.channels, y + image * p.out_height * p.out_width * p.channels},
               int(band * p.out_height / bands), int((band + 1) * p.out_height / bands));
    });
}

/// NCHW: neighbours are outputs of a row. Outputs phase, phase + phases, ... have the same taps and meet pixels `step`
/// apart. Rows are unpacked first: as numbers, with zeros on both sides, pixels `step` apart side by side.
template <class T, class A>
struct Plane {
    const Fir<A>& p;
    int phases, step, low, length;  // unpacked pixels: low, low+1, ..., in `step` runs of `length`

    explicit Plane(const Fir<A>& fir) : p(fir) {
        const int common = std::gcd(p.up_x, p.down_x);
        phases = p.up_x / common;
        step = p.down_x / common;
        low = first(0).pixel;
        int high = low;
        for (int phase = 0; phase < phases; ++phase) {
            const Window w = first(phase);
            low = std::min(low, w.pixel);
            high = std::max(high, w.pixel + std::max(w.count, 1) - 1 + (outputs() - 1) * step);
        }
        length = (high - low) / step + 1;
    }

    /// Outputs of a phase, rounded up to whole vectors.
    int outputs() const {
        constexpr int lanes = Lanes<Wide<A>>::count;
        return ((p.out_width + phases - 1) / phases + lanes - 1) / lanes * lanes;
    }

    /// The window of output `phase`, as if the row had no ends; its pixel may be negative.
    Window first(int phase) const {
        const int start = phase * p.down_x - p.pad_x, tap = ((-start) % p.up_x + p.up_x) % p.up_x;
        return {tap, (start + tap) / p.up_x, tap < p.f_width ? (p.f_width - 1 - tap) / p.up_x + 1 : 0};
    }

    void unpack(const T* x, A* row) const {
        for (int run = 0; run < step; ++run, row += length) {
            // pixel low + run + m*step, m = 0, 1, ...; inside the image from `begin` to `end`
            const int origin = low + run;
            const int begin = std::min(length, origin < 0 ? (-origin + step - 1) / step : 0);
            const int end = std::min(length, origin < p.width ? (p.width - 1 - origin) / step + 1 : 0);
            std::fill(row, row + begin, A(0));
            const T* from = x + origin;
            if (step == 1)
                across<A>(end - begin, [&](auto v, Index i) {
                    using V = decltype(v);
                    Memory<V, A>::store(row + begin + i, Memory<V, T>::load(from + begin + i));
                });
            else if (step == 2)
                for (int m = begin; m < end; ++m) row[m] = Memory<A, T>::load(from + 2 * m);
            else
                for (int m = begin; m < end; ++m) row[m] = Memory<A, T>::load(from + Index(m) * step);
            std::fill(row + std::max(begin, end), row + length, A(0));
        }
    }

    /// The outputs of one row into `sums` (phases, outputs()). rows: unpacked, from the first of `window` on.
    void filter(const A* rows, Window window, A* sums) const {
        for (int phase = 0; phase < phases; ++phase) {
            const Window whole = first(phase);
            for (int j = 0; j < outputs(); j += Lanes<Wide<A>>::count, sums += Lanes<Wide<A>>::count) {
                Wide<A> sum = Lanes<Wide<A>>::splat(A(0));
                for (int k = 0; k < std::min(step, whole.count); ++k) {  // taps k, k+step, ... lie in one run
                    const int offset = whole.pixel + k - low;
                    const Window part{whole.tap + k * p.up_x, 0, (whole.count - 1 - k) / step + 1};
                    const A* x = rows + Index(offset % step) * length + offset / step + j;
                    sum = sum + fir_window<Wide<A>>(x, Index(step) * length, 1, window, part, p.f, p.f_width,
                                                    p.up_x * step, p.up_y);
                }
                Memory<Wide<A>, A>::store(sums, sum);
            }
        }
    }

    void pack(const A* sums, T* y) const {
        if (phases == 1)
            across<A>(p.out_width, [&](auto v, Index i) {
                using V = decltype(v);
                Memory<V, T>::store(y + i, Memory<V, A>::load(sums + i));
            });
        else
            for (int phase = 0; phase < phases; ++phase, sums += outputs())
                for (int j = 0, i = phase; i < p.out_width; ++j, i += phases) Memory<A, T>::store(y + i, sums[j]);
    }
};

template <class T, class A>
bool fir_planes(const Fir<A>& p, const T* x, T* y, Team team) {
    const Plane<T, A> plane(p);
    const int band = 16;
    const Index bands = (p.out_height + band - 1) / band, row_size = Index(plane.step) * plane.length;
    std::atomic<bool> enough_memory{true};
    run(team, p.images * p.channels * bands, [&](Index task) {
        const Index image = task / bands;
        const int begin = int(task % bands) * band, end = std::min(begin + band, p.out_height);
        int low = p.height, high = 0;  // the rows of pixels that the band needs
        for (int i = begin; i < end; ++i) {
            const Window rows = p.rows(i);
            if (rows.count) low = std::min(low, rows.pixel), high = std::max(high, rows.pixel + rows.count);
        }
        const Index sums = std::max(high - low, 0) * row_size;
        std::unique_ptr<A[]> memory(new (std::nothrow) A[sums + Index(plane.phases) * plane.outputs()]);
        if (!memory) return enough_memory.store(false);
        for (int i = low; i < high; ++i)
            plane.unpack(x + (image * p.height + i) * p.width, memory.get() + (i - low) * row_size);
        for (int i = begin; i < end; ++i) {
            const Window rows = p.rows(i);
            plane.filter(memory.get() + (rows.count ? rows.pixel - low : 0) * row_size, rows, memory.get() + sums);
            plane.pack(memory.get() + sums, y + (image * p.out_height + i) * p.out_width);
        }
    });
    return enough_memory;
}

}  // namespace spinegan
