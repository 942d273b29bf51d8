#if defined(__GNUC__)
/* Unused is what assembly takes the place of. */
#define INLINE static inline __attribute__((always_inline, unused))
#define APART static __attribute__((noinline, unused))
#else
#define INLINE static
#define APART static
#endif
/* Cores without a product of 64 bits, and those that can't also add to one. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__) || defined(__AVR__)
#define LONG_PRODUCTS 0
#else
#define LONG_PRODUCTS 1
#endif
#if LONG_PRODUCTS && !(defined(__riscv_xlen) && __riscv_xlen == 32)
#define LONG_SUMS 1
#else
#define LONG_SUMS 0
#endif
/* Before loops whose code is better short than fast. */
#if defined(__clang__)
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED
#endif
