// Enough of CUDA to run the kernels' own sources on a CPU: every thread of a block is a coroutine, blocks run one after
// the other. A barrier that not all threads reach is an error, as on a GPU (where it may be a hang).
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

struct Dim3 {
    unsigned int x, y, z;
};

inline Dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulator {

enum class State { running, at_warp_barrier, at_block_barrier, done };

struct Thread {
    ucontext_t context;
    State state;
    Dim3 index;
    std::vector<char> stack = std::vector<char>(1 << 16);
};

inline std::vector<Thread> threads;
inline std::vector<double> warp_values;
inline ucontext_t scheduler;
inline size_t current;
inline std::function<void()> kernel;

inline void wait(State barrier) {
    Thread& self = threads[current];
    self.state = barrier;
    swapcontext(&self.context, &scheduler);
}

inline void thread_main() {
    kernel();
    threads[current].state = State::done;
}

/// Lets threads [begin, end) go on if all wait at `barrier` (those that are done do not count); whether any did.
inline bool release(size_t begin, size_t end, State barrier) {
    bool any = false;
    for (size_t i = begin; i < end; ++i) {
        if (threads[i].state == State::done) continue;
        if (threads[i].state != barrier) return false;
        any = true;
    }
    for (size_t i = begin; i < end; ++i)
        if (threads[i].state == barrier) threads[i].state = State::running;
    return any;
}

/// Whether all threads of one block came to their end.
inline bool run_block() {
    const size_t count = threads.size();
    for (size_t i = 0; i < count; ++i) {
        Thread& thread = threads[i];
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = &scheduler;
        makecontext(&thread.context, thread_main, 0);
        const unsigned int n = static_cast<unsigned int>(i);
        thread.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
        thread.state = State::running;
    }
    for (;;) {
        bool all_done = true, moved = false;
        for (current = 0; current < count; ++current) {
            if (threads[current].state == State::running) {
                threadIdx = threads[current].index;
                swapcontext(&scheduler, &threads[current].context);
                moved = true;
            }
            all_done = all_done && threads[current].state == State::done;
        }
        if (all_done) return true;
        for (size_t warp = 0; warp < count; warp += 32)
            moved = release(warp, warp + 32 < count ? warp + 32 : count, State::at_warp_barrier) || moved;
        moved = release(0, count, State::at_block_barrier) || moved;
        if (!moved) return false;
    }
}

/// Whether all blocks came to their end.
inline bool run(const unsigned int* grid, const unsigned int* block, std::function<void()> body) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    kernel = std::move(body);
    threads.resize(block[0] * block[1] * block[2]);
    warp_values.resize(threads.size() + 32);
    // Last block first: one that writes beyond its part, which is mostly upwards, spoils what is there already.
    for (unsigned int z = grid[2]; z-- > 0;)
        for (unsigned int y = grid[1]; y-- > 0;)
            for (unsigned int x = grid[0]; x-- > 0;) {
                blockIdx = {x, y, z};
                if (!run_block()) return false;
            }
    return true;
}

}  // namespace emulator

#define __global__
#define __shared__ static  // one block at a time
#define __launch_bounds__(threads)

inline void __syncthreads() {
    emulator::wait(emulator::State::at_block_barrier);
    threadIdx = emulator::threads[emulator::current].index;
}

template <class A>
A __shfl_xor_sync(unsigned int, A value, int distance) {
    using namespace emulator;
    const size_t self = current;
    warp_values[self] = value;
    wait(State::at_warp_barrier);
    const A other = static_cast<A>(warp_values[self ^ static_cast<size_t>(distance)]);
    wait(State::at_warp_barrier);
    threadIdx = threads[self].index;
    return other;
}
