/* needs: compiler */
/* A window over an image, channels last, of which some are taken. */
struct window {
    int32_t height, width, channels, taken;
    int32_t rows, columns, row_step, column_step;
    int8_t outside;
};

/* The codes in the window whose first row and column may lie outside; where they follow each other in x, x itself.
   Whole columns side by side are taken in runs: those before the image, those in it, those behind. */
APART const int8_t *patch_of(const struct window *window, const int8_t *x, int32_t top, int32_t left, int8_t *patch)
{
    const int32_t channels = window->channels, width = window->width, columns = window->columns;
    const int32_t taken = window->taken, whole = window->column_step == 1 && taken == channels;
    const int32_t before = left < 0 ? -left : 0, behind = left + columns > width ? width - left : columns;
    int8_t *to = patch;
    int32_t row, column, count;
    if (whole && window->rows == 1 && top >= 0 && top < window->height && before == 0 && behind == columns)
        return x + (top * width + left) * channels;
    for (row = 0; row < window->rows; row++, top += window->row_step) {
        for (column = 0; column < columns;) {
            const int32_t at = left + column * window->column_step;
            const int32_t start = (top * width + at) * channels;
            const int32_t outside = top < 0 || top >= window->height || at < 0 || at >= width;
            int32_t end = column + 1;
            if (whole)
                end = column < before && before < columns ? before : column < behind ? behind : columns;
            count = (end - column) * taken;
            column = end;
            if (outside) {
                for (; count > 0; count--)
                    *to++ = window->outside;
            } else {
                const int8_t *from = x + start;
                for (; count > 0; count--)
                    *to++ = *from++;
            }
        }
    }
    return patch;
}
