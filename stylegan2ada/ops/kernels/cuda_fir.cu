// The FIR filter for CUDA: which thread computes what. The arithmetic is in bodies.h, shared with the CPU.
//
// NVRTC compiles this at run time (nvrtc.py); cuda.py appends an `extern "C"` entry point per instantiation, launches it,
// and mirrors the structure that every kernel takes. T: what is stored; N: channels per thread, 16 bytes' worth where
// memory is aligned so, else 1.
//
// Images lie as (image, row, column, channel). An NCHW image is N*C images of one channel: channels do not meet here.
// Threads: x over channels, y over columns, z over rows (or tiles of rows). blockIdx: columns and channels, rows, images.
#include "cuda_memory.h"

namespace spinegan {

constexpr int LARGEST_FILTER = 1024;  // taps
constexpr int TILE = 4;               // outputs of one thread of fir_4x4, one below the other

struct FirParams {
    const void *x, *f;
    void* y;
    double gain;
    int images, channels, height, width, out_height, out_width;
    int filter_height, filter_width, flip_filter;
    int up_x, up_y, down_x, down_y, pad_x, pad_y;
    int channel_blocks;  // blocks side by side along the channels: the fastest part of blockIdx.x
};

/// Flips f where asked, multiplies it by the gain, transposes it where asked, for the whole block.
template <class A>
SPINEGAN_HD void load_filter(A* filter, const FirParams& p, bool transpose) {
    const int taps = p.filter_height * p.filter_width, threads = blockDim.x * blockDim.y * blockDim.z;
    for (int i = thread_of_block(); i < taps; i += threads) {
        const A tap = static_cast<const A*>(p.f)[p.flip_filter ? i : taps - 1 - i] * static_cast<A>(p.gain);
        filter[transpose ? (i % p.filter_width) * p.filter_height + i / p.filter_width : i] = tap;
    }
    __syncthreads();
}

/// Any filter of up to LARGEST_FILTER taps, any up and down; one output (of N channels) per thread.
template <class T, int N>
SPINEGAN_HD void fir(const FirParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    __shared__ A filter[LARGEST_FILTER];
    load_filter(filter, p, false);
    const int c = (blockIdx.x % p.channel_blocks * blockDim.x + threadIdx.x) * N;
    const int column = blockIdx.x / p.channel_blocks * blockDim.y + threadIdx.y;
    const int row = blockIdx.y * blockDim.z + threadIdx.z;
    if (c >= p.channels || column >= p.out_width || row >= p.out_height) return;
    const Index pixel = p.channels, line = pixel * p.width;
    const Window rows = window(row, p.up_y, p.down_y, p.pad_y, p.filter_height, p.height);
    const Window columns = window(column, p.up_x, p.down_x, p.pad_x, p.filter_width, p.width);
    const T* x = static_cast<const T*>(p.x) + rows.pixel * line + columns.pixel * pixel + c;
    T* y = static_cast<T*>(p.y) + (static_cast<Index>(row) * p.out_width + column) * pixel + c;
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        const V sum = fir_window<V>(x + n * line * p.height, line, pixel, rows, columns, filter, p.filter_width, p.up_x,
                                    p.up_y);
        Memory<V, T>::store(y + n * pixel * p.out_width * p.out_height, sum);
    }
}

/// A tile of rows none of whose outputs reaches beyond the image's top or bottom; FIRST as for fir_tile.
/// The tile stands upright: fir_tile's rows are columns here, so that neighbouring threads read neighbouring memory.
template <class T, int N, int UP, int DOWN, int FIRST>
SPINEGAN_HD void fir_inside(const T* x, T* y, Index line, Index pixel, Index out_line, Window columns,
                            const typename Wide<T>::type* filter) {
    using V = typename Several<typename Wide<T>::type, N>::type;
    V sum[TILE];
    fir_tile<4, UP, DOWN, FIRST, TILE>(x, pixel, line, columns, filter, UP, sum);
    SPINEGAN_UNROLL for (int i = 0; i < TILE; ++i) Memory<V, T>::store(y + i * out_line, sum[i]);
}

/// 4x4 taps, the same UP and DOWN in 1, 2 along both axes: the resampling of all networks.
template <class T, int N, int UP, int DOWN>
SPINEGAN_HD void fir_4x4(const FirParams& p) {
    using A = typename Wide<T>::type;
    using V = typename Several<A, N>::type;
    __shared__ A filter[16], upright[16];
    load_filter(filter, p, false);
    load_filter(upright, p, true);
    const int c = (blockIdx.x % p.channel_blocks * blockDim.x + threadIdx.x) * N;
    const int column = blockIdx.x / p.channel_blocks * blockDim.y + threadIdx.y;
    const int row = (blockIdx.y * blockDim.z + threadIdx.z) * TILE;
    if (c >= p.channels || column >= p.out_width || row >= p.out_height) return;

    const Index pixel = p.channels, line = pixel * p.width, out_line = pixel * p.out_width;
    const Window columns = window(column, UP, DOWN, p.pad_x, 4, p.width);
    const Window first = window(row, UP, DOWN, p.pad_y, 4, p.height);
    const int pixels = (3 - first.tap + (TILE - 1) * DOWN) / UP + 1;  // below each other, that a tile inside reads
    const bool inside = first.count > 0 && row * DOWN >= p.pad_y && first.pixel + pixels <= p.height &&
                        row + TILE <= p.out_height;
    const int tile_rows = smaller(TILE, p.out_height - row);
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        const T* x = static_cast<const T*>(p.x) + n * line * p.height + columns.pixel * pixel + c;
        T* y = static_cast<T*>(p.y) + (n * static_cast<Index>(p.out_height) + row) * out_line + column * pixel + c;
        if (inside && first.tap == 0) {
            fir_inside<T, N, UP, DOWN, 0>(x + first.pixel * line, y, line, pixel, out_line, columns, upright);
        } else if (UP == 2 && inside) {  // the same for all threads: TILE is even
            fir_inside<T, N, UP, DOWN, UP - 1>(x + first.pixel * line, y, line, pixel, out_line, columns, upright);
        } else {
            for (int i = 0; i < tile_rows; ++i) {
                const Window rows = window(row + i, UP, DOWN, p.pad_y, 4, p.height);
                Memory<V, T>::store(y + i * out_line, fir_window<V>(x + rows.pixel * line, line, pixel, rows, columns,
                                                                    filter, 4, UP, UP));
            }
        }
    }
}


}  // namespace spinegan
