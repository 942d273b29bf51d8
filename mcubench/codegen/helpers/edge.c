/* needs: dsp */
/* Four codes of each of some rows of an image with one channel; outside lie those of 0, four of them a word. */
APART void edge_of(const int8_t *x, int32_t height, int32_t width, uint32_t outside, int32_t top, int32_t left,
    uint32_t *patch, int32_t rows)
{
    const int32_t beyond = left + 4 - width;
    ROLLED
    for (; rows > 0; rows--, top++, patch++) {
        uint32_t word = outside;
        if (top >= 0 && top < height) {
            const int8_t *const row = x + top * width;
            if (left < 0)
                word = word_at(row) << (-8 * left) | outside >> (32 + 8 * left);
            else if (beyond > 0)
                word = word_at(row + width - 4) >> (8 * beyond) | outside << (32 - 8 * beyond);
            else
                word = word_at(row + left);
        }
        put_word(patch, word);
    }
}
