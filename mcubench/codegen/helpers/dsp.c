/* needs: compiler */
/* Instructions of the DSP extension. Functions in assembly stand beside the same in C, for compilers that don't know it
   and for tests on other machines. */
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' \
    && !defined(__ARM_BIG_ENDIAN)
#define DSP_ASSEMBLY 1
#if defined(__clang__)
#define NAKED static __attribute__((naked, noinline))
#else /* What is known of a function must not be taken from its body. */
#define NAKED static __attribute__((naked, noinline, noclone, noipa))
#endif
#else
#define DSP_ASSEMBLY 0
#endif

/* Words in memory, at any address: a compiler makes one load or store of them. */
INLINE uint32_t word_at(const void *from)
{
    const uint8_t *const b = (const uint8_t *)from;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

INLINE void put_word(void *to, uint32_t word)
{
    uint8_t *const b = (uint8_t *)to;
    b[0] = (uint8_t)word, b[1] = (uint8_t)(word >> 8), b[2] = (uint8_t)(word >> 16), b[3] = (uint8_t)(word >> 24);
}

INLINE int32_t low_half(uint32_t word) { return (int16_t)(word & 0xFFFFu); }
INLINE int32_t high_half(uint32_t word) { return (int16_t)(word >> 16); }
INLINE uint32_t halves(int32_t low, int32_t high) { return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16; }

/* Bytes 0 and 2 of a word, or 1 and 3, as signed halves. */
INLINE uint32_t even_bytes(uint32_t word)
{
#if DSP_ASSEMBLY
    uint32_t found;
    __asm__("sxtb16 %0, %1" : "=r"(found) : "r"(word));
    return found;
#else
    return halves((int8_t)(word & 0xFFu), (int8_t)(word >> 16 & 0xFFu));
#endif
}

INLINE uint32_t odd_bytes(uint32_t word)
{
#if DSP_ASSEMBLY
    uint32_t found;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(found) : "r"(word));
    return found;
#else
    return even_bytes(word >> 8);
#endif
}

/* A sum and the products of the low and of the high halves. */
INLINE uint32_t products(uint32_t a, uint32_t b, uint32_t sum)
{
    return sum + (uint32_t)(low_half(a) * low_half(b)) + (uint32_t)(high_half(a) * high_half(b));
}

INLINE int32_t as_signed(uint32_t word) { return (int32_t)word; }
