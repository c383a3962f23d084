// Threads, and loops over neighbours, for the CPU.
//
// Work is cut into tasks whose results do not depend on who does them, so any number of threads gives the same bits.
// Threads are those of the OpenMP pool that torch has already (a second pool would fight it): its GOMP_parallel is
// handed in, or null.
#pragma once

#include <algorithm>
#include <atomic>

#include "cpu_lanes.h"

namespace spinegan {

using Parallel = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);  // GOMP_parallel

/// Either one thread or all that torch uses: a smaller team would make the OpenMP library end the others, which the next
/// operation of torch would have to start again.
struct Team {
    Parallel parallel;  // or null
    int threads;
};

/// Calls body(0) ... body(tasks - 1), each once, in no particular order.
template <class Body>
void run(Team team, Index tasks, const Body& body) {
    std::atomic<Index> next{0};
    auto work = [&] {
        for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) body(task);
    };
    if (!team.parallel || team.threads < 2 || tasks < 2) return work();
    team.parallel([](void* p) { (*static_cast<decltype(work)*>(p))(); }, &work, unsigned(team.threads), 0);
}

/// Calls body(V{}, i) for groups of neighbours i, i+1, ... that cover 0 ... count-1: whole vectors, then single ones.
template <class A, class Body>
SPINEGAN_HD void across(Index count, const Body& body) {
    Index i = 0;
    for (; i + Lanes<Wide<A>>::count <= count; i += Lanes<Wide<A>>::count) body(Wide<A>{}, i);
    for (; i < count; ++i) body(A{}, i);
}

template <class V>
SPINEGAN_HD typename Lanes<V>::Number sum_of_lanes(V v) {
    auto sum = Lanes<V>::get(v, 0);
    for (int i = 1; i < Lanes<V>::count; ++i) sum = sum + Lanes<V>::get(v, i);
    return sum;
}

}  // namespace spinegan
