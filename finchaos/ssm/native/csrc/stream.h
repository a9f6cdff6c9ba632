// A stack of layers as a stream: weights packed once, states kept between calls, all layers in one
// call. The memory is the caller's; what lies in it points into itself and must not be moved.
#pragma once
#include <new>
#include "mamba.h"
#include "mamba2.h"

struct StreamCall {
    int64_t layers;
    const int64_t* kinds;            // of each layer, a LayerKind
    const void* const* parts;        // and its MambaParts or Mamba2Parts
    int64_t stack_room, stream_room;  // out of stream_sizes: bytes of the two
    void *stack, *stream;             // packed weights, which streams may have in common; one stream
    int64_t count;
    const void* x;  // (count m)
    void* y;
    int64_t layer;    // whose state, for stream_read and stream_write
    void *conv, *ssm;  // (w-1 c), the scan's
};

enum LayerKind : int64_t { KIND_MAMBA = 1, KIND_MAMBA2 = 2 };
constexpr int STREAM_NOT_FINITE = 2;

namespace WIDTH {

// A layer of one stream, with its state.
template <class T> struct StreamLayer {
    virtual void forward(T* x, int steps, T* y) = 0;
    virtual void read(T* conv, T* ssm) const = 0;
    virtual void write(const T* conv, const T* ssm) = 0;
};

template <class T, class Chunk> struct OpenLayer final : StreamLayer<T> {
    Chunk f;
    int64_t before, row, c;

    // Layers take turns, so all but their states is in memory that they share.
    OpenLayer(const typename Chunk::Weights& q, T* h, T* extended, Arena shared)
        : f(q, shared), before(q.w - 1), row(Chunk::conv_row(q)), c(f.conv_channels()) {
        f.c.h = h, f.extended = extended;
        memset(h, 0, Chunk::size(q) * sizeof(T));
        memset(extended, 0, before * row * sizeof(T));
    }
    // Bytes that layers share, and those that are a layer's own.
    static int64_t room(const typename Chunk::Weights& q) { return Chunk::room(q); }
    static int64_t own(const typename Chunk::Weights& q) {
        int64_t numbers = Chunk::size(q) + (CHUNK + q.w - 1) * Chunk::conv_row(q);
        return sizeof(OpenLayer) + numbers * sizeof(T) + 64 * 3;
    }
    void forward(T* x, int steps, T* y) override {
        f.x = x;
        f.forward(steps, y);
        f.remember(steps);
    }
    void read(T* conv, T* ssm) const override {
        for (int64_t i = 0; i < before; i++) f.leave_row(f.extended + i * row, conv + i * c);
        f.leave(f.c.h, ssm);
    }
    void write(const T* conv, const T* ssm) override {
        for (int64_t i = 0; i < before; i++) f.enter_row(conv + i * c, f.extended + i * row);
        f.enter(ssm, f.c.h);
    }
};

// A layer's packed weights.
template <class T> struct StackLayer {
    virtual StreamLayer<T>* open(Arena& own, Arena shared) const = 0;
};

template <class T, class Chunk> struct PackedLayer final : StackLayer<T> {
    typedef typename Chunk::Weights Weights;
    typedef OpenLayer<T, Chunk> Open;
    Weights q;

    PackedLayer(const Weights& q) : q(q) {}
    StreamLayer<T>* open(Arena& own, Arena shared) const override {
        Open* at = own.take<Open>(1);
        T *h = own.take<T>(Chunk::size(q)), *extended = own.take<T>((CHUNK + q.w - 1) * Chunk::conv_row(q));
        return new (at) Open(q, h, extended, shared);
    }
    static int64_t packed_room(const Weights& q) { return sizeof(PackedLayer) + q.room(false) + 64; }
};

template <class L> struct Kind { typedef L Layer; };

// use(the kind of a layer of the call, its parts)
template <class T, class Use> void of_layer(const StreamCall& call, int64_t i, Use use) {
    const void* parts = call.parts[i];
    if (call.kinds[i] == KIND_MAMBA2) use(Kind<PackedLayer<T, Mamba2Chunk<T>>>{}, *(const Mamba2Parts*)parts);
    else use(Kind<PackedLayer<T, MambaChunk<T>>>{}, *(const MambaParts*)parts);
}

template <class T> struct Stack {
    int64_t layers, m, width, shared;  // width: a row as padded; bytes that a stream's layers share
    StackLayer<T>** layer;

    static int64_t room(const StreamCall& call) {
        int64_t bytes = sizeof(Stack) + call.layers * sizeof(void*) + 64 * 3;
        for (int64_t i = 0; i < call.layers; i++)
            of_layer<T>(call, i, [&](auto kind, const auto& parts) {
                typedef typename decltype(kind)::Layer Layer;
                bytes += Layer::packed_room(Layer::Weights::sizes(parts));
            });
        return bytes;
    }
    static void pack(const StreamCall& call) {
        Arena arena{(char*)call.stack};
        Stack* stack = new (arena.take<Stack>(1)) Stack{};
        stack->layers = call.layers, stack->layer = arena.take<StackLayer<T>*>(call.layers);
        for (int64_t i = 0; i < call.layers; i++)
            of_layer<T>(call, i, [&](auto kind, const auto& parts) {
                typedef typename decltype(kind)::Layer Layer;
                Layer* at = arena.take<Layer>(1);
                auto q = Layer::Weights::read(parts, arena, false);
                stack->layer[i] = new (at) Layer(q);
                int64_t room = Layer::Open::room(q);
                stack->m = q.m, stack->width = q.M;
                stack->shared = room > stack->shared ? room : stack->shared;
            });
    }
    static const Stack& at(const StreamCall& call) {
        return *Arena{(char*)call.stack}.template take<Stack>(1);
    }
};

template <class T> struct Stream {
    const Stack<T>& stack;
    T *rows[2];  // [CHUNK][width] into a layer and out of it
    StreamLayer<T>** layer;

    static int64_t room(const StreamCall& call) {
        int64_t bytes = sizeof(Stream) + call.layers * sizeof(void*) + 64 * 6, shared = 0, width = 0;
        for (int64_t i = 0; i < call.layers; i++)
            of_layer<T>(call, i, [&](auto kind, const auto& parts) {
                typedef typename decltype(kind)::Layer Layer;
                auto q = Layer::Weights::sizes(parts);
                int64_t room = Layer::Open::room(q);
                bytes += Layer::Open::own(q), shared = room > shared ? room : shared, width = q.M;
            });
        return bytes + shared + 2 * CHUNK * width * sizeof(T);
    }
    Stream(const Stack<T>& stack, Arena& arena) : stack(stack) {
        for (T*& r : rows) r = arena.take<T>(CHUNK * stack.width);
        layer = arena.take<StreamLayer<T>*>(stack.layers);
        Arena shared{arena.take<char>(stack.shared)};
        for (int64_t i = 0; i < stack.layers; i++) layer[i] = stack.layer[i]->open(arena, shared);
    }
    static Stream& at(const StreamCall& call) {
        return *Arena{(char*)call.stream}.template take<Stream>(1);
    }
    // From rows[0] to rows[0].
    INLINE void forward(int steps) {
        for (int64_t i = 0; i < stack.layers; i++) {
            layer[i]->forward(rows[0], steps, rows[1]);
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
    const int64_t m = stream.stack.m, width = stream.stack.width;
    const Moving<T> x{(T*)call.x, 0, m}, y{(T*)call.y, 0, m};
    if (!all_finite(x.p, call.count * m)) return STREAM_NOT_FINITE;
    FlushToZero mode;
    for (int64_t t = 0; t < call.count; t += CHUNK) {
        int steps = int(call.count - t < CHUNK ? call.count - t : CHUNK);
        gather(x, 0, t, steps, m, stream.rows[0], width);
        stream.forward(steps);
        scatter(stream.rows[0], width, y, 0, t, steps, m);
    }
    return 0;
}
template <class T> int stream_read(StreamCall& call) {
    return Stream<T>::at(call).layer[call.layer]->read((T*)call.conv, (T*)call.ssm), 0;
}
template <class T> int stream_write(StreamCall& call) {
    return Stream<T>::at(call).layer[call.layer]->write((T*)call.conv, (T*)call.ssm), 0;
}

}  // namespace WIDTH
