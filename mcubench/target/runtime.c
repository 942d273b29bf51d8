/* What compilers call where they see a copy: there is no C library in the emulator. Words where both ends allow it. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    if ((((uintptr_t)a | (uintptr_t)b) & 3) == 0)
        for (; size >= 4; size -= 4, a += 4, b += 4)
            *(volatile uint32_t *)(void *)a = *(const uint32_t *)(const void *)b;
    for (; size; size--)
        *(volatile uint8_t *)a++ = *b++;
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *a = to;
    const uint32_t word = (uint8_t)value * 0x01010101u;
    for (; size && ((uintptr_t)a & 3); size--)
        *(volatile uint8_t *)a++ = (uint8_t)value;
    for (; size >= 4; size -= 4, a += 4)
        *(volatile uint32_t *)(void *)a = word;
    for (; size; size--)
        *(volatile uint8_t *)a++ = (uint8_t)value;
    return to;
}
