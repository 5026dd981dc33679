// A compiled model as a C++17 object.
//
//     #include "digits.h"
//     #include "es_model.hpp"
//
//     es::model model(ES_MODEL_FUNCTIONS(digits));
//     es::span<float> image = model.input<float>("image");
//     ...
//     model.run();
//     es::span<const float> scores = model.output<float>("logits");
//
// A model owns its memory, its threads, and a buffer for each input and output. One object belongs to one thread at a time; any
// number of them may run at the same time. Errors are std::runtime_error, wrong names and types std::invalid_argument.
#ifndef ES_MODEL_HPP
#define ES_MODEL_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "es_abi.h"
#include "es_pool.h"

// The functions of a model by its name, which is the prefix of its C functions.
#define ES_MODEL_FUNCTIONS(name)                                                                                      \
    ::es::functions {                                                                                                 \
        name##_abi_version, name##_input_count, name##_input, name##_output_count, name##_output, name##_context_bytes, \
            name##_init, name##_prepare, name##_run                                                                   \
    }

namespace es {

struct functions {
    std::int32_t (*abi_version)();
    std::int32_t (*input_count)();
    const es_tensor_info *(*input)(std::int32_t);
    std::int32_t (*output_count)();
    const es_tensor_info *(*output)(std::int32_t);
    std::size_t (*context_bytes)(std::int32_t);
    es_context *(*init)(void *, std::size_t, std::int32_t, es_parallel_for, void *);
    void (*prepare)(es_context *);
    std::int32_t (*run)(es_context *, const void *const *, void *const *);
};

// Elements that belong to somebody else, as std::span of C++20.
template <class T>
class span {
public:
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class U, class = std::enable_if_t<std::is_same_v<T, const U>>>
    constexpr span(span<U> other) noexcept : span(other.data(), other.size()) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_;
    std::size_t size_;
};

// Whether elements of type T are those of a tensor's element type; the 16-bit floats are std::uint16_t, as their bits.
template <class T>
constexpr bool holds(std::int32_t dtype) noexcept {
    if constexpr (std::is_same_v<T, float>) return dtype == ES_F32;
    if constexpr (std::is_same_v<T, double>) return dtype == ES_F64;
    if constexpr (std::is_same_v<T, bool>) return dtype == ES_BOOL && sizeof(bool) == 1;
    if constexpr (std::is_same_v<T, std::uint8_t>) return dtype == ES_U8 || dtype == ES_BOOL;
    if constexpr (std::is_same_v<T, std::int8_t>) return dtype == ES_I8;
    if constexpr (std::is_same_v<T, std::uint16_t>) return dtype == ES_U16 || dtype == ES_F16 || dtype == ES_BF16;
    if constexpr (std::is_same_v<T, std::int16_t>) return dtype == ES_I16;
    if constexpr (std::is_same_v<T, std::uint32_t>) return dtype == ES_U32;
    if constexpr (std::is_same_v<T, std::int32_t>) return dtype == ES_I32;
    if constexpr (std::is_same_v<T, std::uint64_t>) return dtype == ES_U64;
    if constexpr (std::is_same_v<T, std::int64_t>) return dtype == ES_I64;
    return false;
}

class model {
public:
    explicit model(const functions &f, int threads = 1) : f_(f), inputs_(f.input_count(), f.input), outputs_(f.output_count(), f.output) {
        if (f_.abi_version() != ES_ABI_VERSION) throw std::runtime_error("the library has another ABI version than es_abi.h");
        es_pool *pool = nullptr;
        if (threads != 1 && es_pool_create(&pool, threads) != ES_POOL_OK) {
            throw std::runtime_error("cannot start " + std::to_string(threads) + " threads");
        }
        pool_.reset(pool);
        const std::size_t bytes = f_.context_bytes(threads);
        memory_ = allocate(bytes);
        context_ = f_.init(memory_.get(), bytes, threads, pool ? es_pool_parallel_for : nullptr, pool);
        if (!context_) throw std::runtime_error("the model refused its memory");
        f_.prepare(context_);
    }

    std::int32_t input_count() const { return f_.input_count(); }
    std::int32_t output_count() const { return f_.output_count(); }
    // Name, type and shape of input or output `i`.
    const es_tensor_info &input_info(std::int32_t i) const { return inputs_.info(i); }
    const es_tensor_info &output_info(std::int32_t i) const { return outputs_.info(i); }

    // The buffer of an input, dense, in the model's own order of dimensions; by position or by name.
    template <class T>
    span<T> input(std::int32_t i = 0) {
        return inputs_.template at<T>(i);
    }
    template <class T>
    span<T> input(const char *name) {
        return inputs_.template at<T>(inputs_.find(name));
    }

    // The buffer of an output, which the next run overwrites.
    template <class T>
    span<const T> output(std::int32_t i = 0) {
        return outputs_.template at<T>(i);
    }
    template <class T>
    span<const T> output(const char *name) {
        return outputs_.template at<T>(outputs_.find(name));
    }

    // Outputs from inputs.
    void run() {
        const std::int32_t status = f_.run(context_, inputs_.pointers(), outputs_.pointers());
        if (status != ES_OK) throw std::runtime_error("the model returned status " + std::to_string(status));
    }

private:
    struct release {
        void operator()(void *memory) const noexcept { ::operator delete(memory, std::align_val_t{ES_ALIGNMENT}); }
    };
    struct join {
        void operator()(es_pool *pool) const noexcept { es_pool_destroy(pool); }
    };
    using block = std::unique_ptr<void, release>;

    static block allocate(std::size_t bytes) {
        block memory(::operator new(bytes ? bytes : 1, std::align_val_t{ES_ALIGNMENT}));
        std::memset(memory.get(), 0, bytes);
        return memory;
    }

    class buffers {
    public:
        buffers(std::int32_t count, const es_tensor_info *(*tensor)(std::int32_t))
            : count_(count), info_(tensor) {
            for (std::int32_t i = 0; i < count; i++) {
                blocks_.push_back(allocate(tensor(i)->bytes));
                pointers_.push_back(blocks_.back().get());
            }
        }
        const es_tensor_info &info(std::int32_t i) const {
            if (i < 0 || i >= count_) throw std::invalid_argument("there is no tensor " + std::to_string(i));
            return *info_(i);
        }
        std::int32_t find(const char *name) const {
            for (std::int32_t i = 0; i < count_; i++) {
                if (!std::strcmp(info_(i)->name, name)) return i;
            }
            throw std::invalid_argument(std::string("there is no tensor ") + name);
        }
        template <class T>
        span<T> at(std::int32_t i) {
            const es_tensor_info &tensor = info(i);
            if (!holds<T>(tensor.dtype)) throw std::invalid_argument(std::string(tensor.name) + " has elements of another type");
            return {static_cast<T *>(pointers_[static_cast<std::size_t>(i)]), tensor.bytes / sizeof(T)};
        }
        void *const *pointers() const { return pointers_.data(); }

    private:
        std::int32_t count_;
        const es_tensor_info *(*info_)(std::int32_t);
        std::vector<block> blocks_;
        std::vector<void *> pointers_;
    };

    functions f_;
    buffers inputs_, outputs_;
    // Threads end before the memory goes.
    block memory_;
    std::unique_ptr<es_pool, join> pool_;
    es_context *context_ = nullptr;
};

}  // namespace es

#endif
