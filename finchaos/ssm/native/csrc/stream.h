// A stack of layers as a stream: weights packed once, states kept between calls, all layers in one
// call. The memory is the caller's; what lies in it points into itself and must not be moved.
#pragma once
#include <new>
#include "mamba.h"

struct StreamCall {
    int64_t layers;
    const void* const* parts;        // MambaParts of each layer
    int64_t stack_room, stream_room;  // out of stream_sizes: bytes of the two
    void *stack, *stream;             // packed weights, which streams may have in common; one stream
    int64_t count;
    const void* x;  // (count m)
    void* y;
    int64_t layer;    // whose state, for stream_read and stream_write
    void *conv, *ssm;  // (w-1 d), (d n)
};

constexpr int STREAM_NOT_FINITE = 2;

namespace WIDTH {

template <class T> struct Stack {
    int64_t layers, width;  // width: the widest row as padded
    MambaWeights<T>* q;

    static int64_t room(const StreamCall& call) {
        int64_t bytes = sizeof(Stack) + call.layers * sizeof(MambaWeights<T>) + 64 * 3;
        for (int64_t i = 0; i < call.layers; i++)
            bytes += MambaWeights<T>::sizes(*(const MambaParts*)call.parts[i]).room(false);
        return bytes;
    }
    static void pack(const StreamCall& call) {
        Arena arena{(char*)call.stack};
        Stack* stack = new (arena.take<Stack>(1)) Stack{};
        stack->layers = call.layers, stack->q = arena.take<MambaWeights<T>>(call.layers);
        for (int64_t i = 0; i < call.layers; i++)
            stack->q[i] = MambaWeights<T>::read(*(const MambaParts*)call.parts[i], arena, false);
        stack->width = stack->q[0].M;
    }
    static const Stack& at(const StreamCall& call) {
        return *Arena{(char*)call.stack}.template take<Stack>(1);
    }
};

template <class T> struct Stream {
    const Stack<T>& stack;
    T *rows[2];  // [CHUNK][M] into a layer and out of it
    MambaChunk<T>* f;

    static int64_t room(const StreamCall& call) {
        int64_t bytes = sizeof(Stream) + call.layers * sizeof(MambaChunk<T>) + 64 * 3, shared = 0, M = 0;
        for (int64_t i = 0; i < call.layers; i++) {
            auto q = MambaWeights<T>::sizes(*(const MambaParts*)call.parts[i]);
            int64_t work = MambaChunk<T>::room(q);
            shared = work > shared ? work : shared, M = q.M;
            bytes += (q.N * q.D + (CHUNK + q.w - 1) * q.D) * sizeof(T) + 64 * 2;
        }
        return bytes + shared + (2 * CHUNK * M) * sizeof(T) + 64 * 2;
    }
    Stream(const Stack<T>& stack, Arena& arena) : stack(stack) {
        for (T*& r : rows) r = arena.take<T>(CHUNK * stack.width);
        f = arena.take<MambaChunk<T>>(stack.layers);
        for (int64_t i = 0; i < stack.layers; i++) {
            const MambaWeights<T>& q = stack.q[i];
            T *h = arena.take<T>(q.N * q.D), *extended = arena.take<T>((CHUNK + q.w - 1) * q.D);
            memset(h, 0, q.N * q.D * sizeof(T));
            memset(extended, 0, (q.w - 1) * q.D * sizeof(T));
            f[i].c.h = h, f[i].extended = extended;
        }
        // Layers take turns, so they work in the same memory.
        for (int64_t i = 0; i < stack.layers; i++) {
            Arena shared = arena;
            T *h = f[i].c.h, *extended = f[i].extended;
            new (f + i) MambaChunk<T>(stack.q[i], shared);
            f[i].c.h = h, f[i].extended = extended;
        }
    }
    static Stream& at(const StreamCall& call) {
        return *Arena{(char*)call.stream}.template take<Stream>(1);
    }
    // From rows[0] to rows[0].
    INLINE void forward(int steps) {
        for (int64_t i = 0; i < stack.layers; i++) {
            f[i].x = rows[0];
            f[i].forward(steps, rows[1]);
            f[i].remember(steps);
            T* next = rows[1];
            rows[1] = rows[0], rows[0] = next;
        }
    }
};

template <class T> bool all_finite(const T* x, int64_t count) {
    T sum = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i] * T(0);
    return sum == T(0);
}

template <class T> int stream_sizes(StreamCall& call) {
    call.stack_room = Stack<T>::room(call), call.stream_room = Stream<T>::room(call);
    return 0;
}
template <class T> int stream_pack(StreamCall& call) { return Stack<T>::pack(call), 0; }
template <class T> int stream_open(StreamCall& call) {
    Arena arena{(char*)call.stream};
    Stream<T>* stream = arena.take<Stream<T>>(1);
    new (stream) Stream<T>(Stack<T>::at(call), arena);
    return 0;
}
template <class T> int stream_advance(StreamCall& call) {
    Stream<T>& stream = Stream<T>::at(call);
    const int64_t m = stream.stack.q[0].m, M = stream.stack.width;
    const Moving<T> x{(T*)call.x, 0, m}, y{(T*)call.y, 0, m};
    if (!all_finite(x.p, call.count * m)) return STREAM_NOT_FINITE;
    FlushToZero mode;
    for (int64_t t = 0; t < call.count; t += CHUNK) {
        int steps = int(call.count - t < CHUNK ? call.count - t : CHUNK);
        gather(x, 0, t, steps, m, stream.rows[0], M);
        stream.forward(steps);
        scatter(stream.rows[0], M, y, 0, t, steps, m);
    }
    return 0;
}
template <class T> int stream_read(StreamCall& call) {
    const MambaChunk<T>& f = Stream<T>::at(call).f[call.layer];
    const MambaWeights<T>& q = f.q;
    scatter(f.extended, q.D, Moving<T>{(T*)call.conv, 0, q.d}, 0, 0, int(q.w) - 1, q.d);
    turn_back(f.c.h, q.D, (T*)call.ssm, q.d, q.n);
    return 0;
}
template <class T> int stream_write(StreamCall& call) {
    const MambaChunk<T>& f = Stream<T>::at(call).f[call.layer];
    const MambaWeights<T>& q = f.q;
    gather(Moving<T>{(T*)call.conv, 0, q.d}, 0, 0, int(q.w) - 1, q.d, f.extended, q.D);
    turn<T>((T*)call.ssm, q.d, q.n, f.c.h, q.D, q.N);
    return 0;
}

}  // namespace WIDTH
