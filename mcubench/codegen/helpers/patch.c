/* needs: compiler */
/* A window over an image, channels last, of which some are taken. */
struct window {
    int32_t height, width, channels, taken;
    int32_t rows, columns, row_step, column_step;
    int8_t outside;
};

/* Codes that follow each other. */
INLINE int8_t *copied(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count > 0; count--)
        *to++ = *from++;
    return to;
}

INLINE int8_t *filled(int8_t *to, int8_t code, int32_t count)
{
    for (; count > 0; count--)
        *to++ = code;
    return to;
}

/* The codes in the window whose first row and column may lie outside; where they follow each other in x, x itself. */
APART const int8_t *patch_of(const struct window *window, const int8_t *x, int32_t top, int32_t left, int8_t *patch)
{
    const int32_t channels = window->channels, width = window->width, columns = window->columns;
    const int32_t taken = window->taken, whole = window->column_step == 1 && taken == channels;
    const int32_t before = left < 0 ? -left : 0, beyond = left + columns - width, behind = beyond > 0 ? beyond : 0;
    int8_t *to = patch;
    int32_t row, column;
    if (whole && window->rows == 1 && top >= 0 && top < window->height && before + behind == 0)
        return x + (top * width + left) * channels;
    for (row = 0; row < window->rows; row++, top += window->row_step) {
        const int32_t from = (top * width + left) * channels;
        if (top < 0 || top >= window->height || (whole && before + behind >= columns)) {
            to = filled(to, window->outside, columns * taken);
        } else if (whole) {
            to = filled(to, window->outside, before * channels);
            to = copied(to, x + (from + before * channels), (columns - before - behind) * channels);
            to = filled(to, window->outside, behind * channels);
        } else {
            for (column = 0; column < columns; column++) {
                const int32_t step = column * window->column_step;
                if (left + step < 0 || left + step >= width)
                    to = filled(to, window->outside, taken);
                else
                    to = copied(to, x + (from + step * channels), taken);
            }
        }
    }
    return patch;
}
