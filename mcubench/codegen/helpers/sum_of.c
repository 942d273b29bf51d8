/* needs: compiler */
/* The sum of codes: of four in a word, two by two, where they lie so that words can be read. */
APART int32_t sum_of(const int8_t *x, int32_t count)
{
    int32_t sum = 0;
    if (((uintptr_t)x & 3u) == 0) {
        const uint32_t *words = (const uint32_t *)(const void *)x;
        const int32_t whole = count / 4;
        int32_t left = whole;
        while (left > 0) { /* 128 words at a time: 128 * 2 * 255 fits into a half */
            const uint32_t *const end = words + (left < 128 ? left : 128);
            uint32_t halves = 0;
            left -= 128;
            while (words < end) {
                const uint32_t word = *words++ ^ 0x80808080u;
                halves += (word & 0x00FF00FFu) + ((word >> 8) & 0x00FF00FFu);
            }
            sum += (int32_t)(halves & 0xFFFFu) + (int32_t)(halves >> 16);
        }
        sum -= 512 * whole;
        x += 4 * whole, count -= 4 * whole;
    }
    ROLLED for (; count > 0; count--)
        sum += *x++;
    return sum;
}
