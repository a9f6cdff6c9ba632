// Walking a scan over sequences chunk by chunk, forwards and backwards, with states in, out and kept.
#pragma once
#include "rows.h"

// What the calls of all scans have in common. A state is `before`, `last` (b ..), `states` (b k ..).
struct Walk {
    int64_t batch, time, threads;
    const int64_t* lengths;  // (b) or null
    const int64_t* keep;     // increasing steps
    int64_t kept;
    void *before, *last, *states;  // before may be null
    void* checkpoints;             // (b chunks padded state), or null without gradient
    void *grad_last, *grad_states, *grad_before;
};

namespace WIDTH {

// Scan: the state at `h` of `size` numbers as padded and `numbers` as torch has it; enter and leave
// between the two; read, piece, write for a chunk; blank for padding. With gradients: grad_h, into,
// read_gradient, adjoint, write_gradient, blank_gradient.
template <class T, class Scan> struct Walker {
    const Walk& walk;
    Scan& scan;
    int64_t size = scan.size(), numbers = scan.numbers();
    int64_t chunks = (walk.time + CHUNK - 1) / CHUNK;

    int64_t length(int64_t b) const { return walk.lengths ? walk.lengths[b] : walk.time; }
    T* checkpoint(int64_t b, int64_t t0) const {
        return (T*)walk.checkpoints + (b * chunks + t0 / CHUNK) * size;
    }
    T* state(void* p, int64_t i) const { return p ? (T*)p + i * numbers : nullptr; }

    void forward(int64_t b) {
        const int64_t end = length(b);
        int64_t next = 0;
        scan.enter(state(walk.before, b), scan.h());
        for (int64_t t0 = 0; t0 < end; t0 += CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            if (walk.checkpoints) memcpy(checkpoint(b, t0), scan.h(), size * sizeof(T));
            scan.read(b, t0, steps);
            // A state to keep ends a piece: its state is that of the scan after the piece.
            int from = 0;
            for (; next < walk.kept && walk.keep[next] < t0 + steps; next++) {
                int to = int(walk.keep[next] + 1 - t0);
                if (to > from) scan.piece(from, to);
                scan.leave(scan.h(), state(walk.states, b * walk.kept + next));
                from = to;
            }
            if (steps > from) scan.piece(from, steps);
            scan.write(b, t0, steps);
        }
        for (; next < walk.kept; next++) scan.leave(scan.h(), state(walk.states, b * walk.kept + next));
        // Chunks in the padding: never read, and yet not to be left as they were found.
        const int64_t done = (end + CHUNK - 1) / CHUNK;
        if (walk.checkpoints) memset(checkpoint(b, done * CHUNK), 0, (chunks - done) * size * sizeof(T));
        scan.leave(scan.h(), state(walk.last, b));
        scan.blank(b, end);
    }

    // into: room for `kept` padded states; at: for as many steps.
    void backward(int64_t b, T* into, int64_t* at) {
        const int64_t end = length(b);
        int64_t later = walk.kept;
        scan.enter(state(walk.grad_last, b), scan.grad_h());
        for (int64_t k = 0; k < walk.kept; k++) {
            scan.enter(state(walk.grad_states, b * walk.kept + k), into + k * size);
            // A state kept in the padding is the last one.
            at[k] = walk.keep[k] < end ? walk.keep[k] : end - 1;
        }
        // Two kept states of one step are added into one.
        for (int64_t k = walk.kept - 1; k > 0; k--)
            if (at[k] == at[k - 1])
                for (int64_t i = 0; i < size; i++) {
                    into[(k - 1) * size + i] += into[k * size + i];
                    into[k * size + i] = 0;
                }
        for (int64_t t0 = (end - 1) / CHUNK * CHUNK; end > 0 && t0 >= 0; t0 -= CHUNK) {
            int steps = int(end - t0 < CHUNK ? end - t0 : CHUNK);
            scan.read(b, t0, steps);
            memcpy(scan.h(), checkpoint(b, t0), size * sizeof(T));
            scan.read_gradient(b, t0, steps);
            int64_t first = later;
            while (first > 0 && at[first - 1] >= t0) first--;
            // Steps within the chunk; doubles in the padding count once.
            int64_t local[CHUNK], count = 0;
            for (int64_t k = first; k < later; k++)
                if (k == first || at[k] != at[k - 1]) local[count++] = at[k] - t0;
            scan.adjoint(steps, into + first * size, local, count);
            later = first;
            scan.write_gradient(b, t0, steps);
        }
        for (int64_t k = 0; end == 0 && k < walk.kept; k++)
            for (int64_t i = 0; i < size; i++) scan.grad_h()[i] += into[k * size + i];
        scan.leave(scan.grad_h(), state(walk.grad_before, b));
        scan.blank_gradient(b, end);
    }

    // Memory of `into` and `at`.
    static int64_t room(const Walk& walk, int64_t size) {
        return walk.kept * (size * int64_t(sizeof(T)) + 8) + 256;
    }
};

// The sequences of a batch, each walked forwards.
template <class T, class Run, class Call> int walk_forward(const Call& call) {
    return in_parts(call.walk.batch, call.walk.threads, Run::room(call),
                    [&](Arena arena, int64_t, Part part) {
                        Run run(call, arena);
                        Walker<T, Run> walker{call.walk, run};
                        for (int64_t b = part.first; b < part.end; b++) walker.forward(b);
                    });
}
// And backwards; `size` numbers of a padded state, gradients of weights into `all`.
template <class T, class Run, class Call>
int walk_backward(const Call& call, int64_t size, const Sums<T>& all) {
    int64_t room = Run::room(call) + Walker<T, Run>::room(call.walk, size);
    return in_parts(call.walk.batch, call.walk.threads, room, [&](Arena arena, int64_t i, Part part) {
        Run run(call, arena);
        run.with_gradient(arena, all.part(i), all.exact_part(i));
        T* into = arena.take<T>(call.walk.kept * size);
        int64_t* at = arena.take<int64_t>(call.walk.kept);
        Walker<T, Run> walker{call.walk, run};
        for (int64_t b = part.first; b < part.end; b++) walker.backward(b, into, at);
    });
}

}  // namespace WIDTH
