// Products of blocks by oneDNN, made once for each shape.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>

#include <dnnl.hpp>
#if __has_include(<omp.h>)
#include <omp.h>
#else  // clang++ beside g++'s OpenMP
extern "C" void omp_set_num_threads(int);
extern "C" int omp_get_max_threads(void);
#endif

#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

#if DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP && DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_SEQ
#error \
    "dssl::OneDnnProducts: this oneDNN brings threads that cannot be held to one; OpenMP's or a sequential one can"
#endif

namespace dssl::cpu::onednn {

/// While it lives, OpenMP, and so oneDNN, keeps to the calling thread; the number belongs to this thread
/// alone.
class OneThread {
 public:
  OneThread() : x_before(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(x_before); }

 private:
  int x_before;
};

/// Bytes rounded up to whole cache lines.
[[nodiscard]] constexpr std::size_t lines(std::size_t bytes) {
  return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
}

/// A factor as it lies in the backend's memory.
struct Plain {
  Index stride = 0;
  bool transposed = false;
  auto operator<=>(const Plain&) const = default;

  /// Of `rows` x `cols` floats.
  [[nodiscard]] dnnl::memory::desc desc(Index rows, Index cols) const {
    using Dims = dnnl::memory::dims;
    return {Dims{rows, cols}, dnnl::memory::data_type::f32, transposed ? Dims{1, stride} : Dims{stride, 1}};
  }
};

/// What a kernel is made for.
struct KernelKey {
  Index rows = 0;
  Index cols = 0;
  Index depth = 0;
  Plain a;
  Plain b;
  Index c_stride = 0;
  Onto onto = Onto::assign;
  bool bias = false;
  bool bf16 = false;          ///< operands are rounded to bf16
  bool shared_right = false;  ///< b comes packed, as the kernel of `packed_for` rows wants it
  Index packed_for = 0;
  auto operator<=>(const KernelKey&) const = default;
};

/// A block of c = or += a b [+ bias] by one primitive, on the calling thread; can be run by several threads
/// at once.
///
/// Factors are brought into the layout that the primitive likes best unless it takes them as they lie: a
/// within `run`, b there or by `pack_right`.
class Kernel {
 public:
  /// `like`: the kernel whose packing of b this one takes too; null for none.
  Kernel(const dnnl::engine& engine, const KernelKey& key, const Kernel* like) : x_engine(engine) {
    using Desc = dnnl::memory::desc;
    using Type = dnnl::memory::data_type;
    const auto type = key.bf16 ? Type::bf16 : Type::f32;
    const Desc plain_a = key.a.desc(key.rows, key.depth);
    const Desc plain_b = key.b.desc(key.depth, key.cols);
    const auto packed = [&](Index rows, Index cols, dnnl::memory::format_tag tag) {
      return Desc(dnnl::memory::dims{rows, cols}, type, tag);
    };
    // A transposed factor stays so: turning it round costs more than the primitive gains. (dW of 1608 rows,
    // 384 to 1536, one core: 65 GFLOP/s in float and 87 in bf16, but 139 and 341 with the dense transposed
    // block.)
    using Tag = dnnl::memory::format_tag;
    const Desc a = key.a.transposed ? packed(key.rows, key.depth, Tag::ba)
                   : key.bf16       ? packed(key.rows, key.depth, Tag::any)
                                    : plain_a;
    const Desc b = like != nullptr                ? like->x_b
                   : key.bf16 || key.shared_right ? packed(key.depth, key.cols, Tag::any)
                                                  : plain_b;
    const Desc c = Plain{key.c_stride, false}.desc(key.rows, key.cols);
    const Desc bias = key.bias ? Plain{key.cols, false}.desc(1, key.cols) : Desc();
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (key.onto == Onto::sum) {
      dnnl::post_ops after;
      after.append_sum(1.0F);
      attributes.set_post_ops(after);
    }
    const auto how = x_how(a, b, bias, c, attributes);
    x_multiply = dnnl::matmul(how);
    x_plain_a = plain_a;
    x_plain_b = plain_b;
    x_a = how.src_desc();
    x_b = how.weights_desc();
    x_bias = bias;
    x_c = c;
    x_scratch = how.scratchpad_desc();
    if (x_a != x_plain_a) x_pack_a = x_reorder(x_plain_a, x_a);
    if (x_b != x_plain_b) x_pack_b = x_reorder(x_plain_b, x_b);
    x_packs_b = x_pack_b && !key.shared_right;
    x_has_bias = key.bias;
  }

  /// Bytes of scratch of `run`.
  [[nodiscard]] std::size_t scratch_bytes() const {
    return lines(x_scratch.get_size()) + (x_pack_a ? lines(x_a.get_size()) : 0) +
           (x_packs_b ? lines(x_b.get_size()) : 0);
  }
  /// Bytes of b as `pack_right` leaves it.
  [[nodiscard]] std::size_t right_bytes() const { return lines(x_b.get_size()); }

  void pack_right(std::byte* packed, const float* b) const {
    const OneThread one;
    dnnl::stream stream(x_engine);
    if (x_pack_b) return x_run_reorder(x_pack_b, stream, x_plain_b, b, x_b, packed);
    const auto* const bytes = reinterpret_cast<const std::byte*>(b);
    std::copy_n(bytes, x_b.get_size(), packed);
  }

  /// Whether `run` leaves a packed at the beginning of its scratch, as that of `other` does.
  [[nodiscard]] bool packs_left_as(const Kernel& other) const {
    return x_pack_a && other.x_pack_a && x_a == other.x_a && x_plain_a == other.x_plain_a;
  }

  /// `b`: floats, or what `pack_right` left. `left_packed`: the scratch begins with a, packed by another
  /// kernel.
  void run(float* c, const float* a, const void* b, const float* bias, std::byte* scratch,
           bool left_packed) const {
    const OneThread one;
    dnnl::stream stream(x_engine);
    const void* left = a;
    if (x_pack_a) {
      if (!left_packed) x_run_reorder(x_pack_a, stream, x_plain_a, a, x_a, scratch);
      left = scratch;
      scratch += lines(x_a.get_size());
    }
    if (x_packs_b) {
      x_run_reorder(x_pack_b, stream, x_plain_b, b, x_b, scratch);
      b = scratch;
      scratch += lines(x_b.get_size());
    }
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, x_memory(x_a, left)},
                                                    {DNNL_ARG_WEIGHTS, x_memory(x_b, b)},
                                                    {DNNL_ARG_DST, x_memory(x_c, c)},
                                                    {DNNL_ARG_SCRATCHPAD, x_memory(x_scratch, scratch)}};
    if (x_has_bias) arguments.emplace(DNNL_ARG_BIAS, x_memory(x_bias, bias));
    x_multiply.execute(stream, arguments);
  }

 private:
  [[nodiscard]] dnnl::matmul::primitive_desc x_how(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                                   const dnnl::memory::desc& bias,
                                                   const dnnl::memory::desc& c,
                                                   const dnnl::primitive_attr& attributes) const {
#if DNNL_VERSION_MAJOR >= 3
    return {x_engine, a, b, bias, c, attributes};
#else
    return {dnnl::matmul::desc(a, b, bias, c), attributes, x_engine};
#endif
  }

  [[nodiscard]] dnnl::reorder x_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) const {
    return dnnl::reorder(dnnl::reorder::primitive_desc(x_engine, from, x_engine, to));
  }

  /// The library takes memory that it only reads as if it wrote there.
  [[nodiscard]] dnnl::memory x_memory(const dnnl::memory::desc& desc, const void* data) const {
    return {desc, x_engine, const_cast<void*>(data)};
  }

  void x_run_reorder(const dnnl::reorder& reorder, dnnl::stream& stream, const dnnl::memory::desc& from,
                     const void* source, const dnnl::memory::desc& to, void* packed) const {
    dnnl::memory in = x_memory(from, source);
    dnnl::memory out = x_memory(to, packed);
    reorder.execute(stream, in, out);
  }

  dnnl::engine x_engine;
  dnnl::matmul x_multiply;
  dnnl::reorder x_pack_a, x_pack_b;  // empty where the factor is taken as it lies
  dnnl::memory::desc x_plain_a, x_plain_b, x_a, x_b, x_bias, x_c, x_scratch;
  bool x_packs_b = false;
  bool x_has_bias = false;
};

/// Kernels by what they are for; each is made at its first use.
class Kernels {
 public:
  Kernels() : x_engine(dnnl::engine::kind::cpu, 0) {}

  /// Throws `Error` where the library has no such product.
  [[nodiscard]] const Kernel& find(const KernelKey& key, const Kernel* like = nullptr) {
    if (const auto it = x_kernels.find(key); it != x_kernels.end()) return it->second;
    const OneThread one;
    try {
      return x_kernels.try_emplace(key, x_engine, key, like).first->second;
    } catch (const dnnl::error& error) {
      throw Error(join("oneDNN has no product ", key.rows, " x ", key.cols, ", depth ", key.depth,
                       key.bf16 ? ", in bf16: " : ", in float: ", error.message));
    }
  }

 private:
  dnnl::engine x_engine;
  std::map<KernelKey, Kernel> x_kernels;
};

}  // namespace dssl::cpu::onednn
